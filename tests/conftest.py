"""What holds for all tests: examples may take their time, because a busy machine must not fail a property."""

import signal

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what runs in its background so, and every command under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
