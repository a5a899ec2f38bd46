"""What holds for all tests: examples may take their time, because a busy machine must not fail a property."""

import importlib.util
import os
import signal

import pytest
from hypothesis import settings

from tcptrace_tw.kernels import build, library

settings.register_profile("project", deadline=None)
settings.load_profile("project")

# A shell without job control starts what runs in its background without SIGINT, and nohup without SIGHUP: every command
# under test would inherit it.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    """Once for all workers: kernels that were changed since they were compiled are compiled again, for a minute."""
    if hasattr(config, "workerinput") or os.environ.get(library.VARIABLE) == "interpreted":
        return
    try:
        library.Library(library.FOLDER)
    except library.Unfit as unfit:
        if importlib.util.find_spec("numba") is not None:
            build.build()
        else:  # whoever tests an installed package without numba sees how it runs then
            os.environ[library.VARIABLE] = "interpreted"
            print(f"the kernels run interpreted: {unfit}")
