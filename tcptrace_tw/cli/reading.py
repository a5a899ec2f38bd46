"""What a command reads and how: captures, settings, policy, and whether progress is shown; every pass begins here."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tcptrace_tw.cli import policy, run

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.cli.options import Shared
    from tcptrace_tw.cli.targets import Target
    from tcptrace_tw.cluster.run import Means
    from tcptrace_tw.pipeline import Settings, Sink, Summary
    from tcptrace_tw.report.pages.ladder import Step
    from tcptrace_tw.storage import Place


@dataclass
class Reading:
    """Captures and all that is needed to read them, once or several times."""

    captures: list[str]
    settings: "Settings"
    policy: "Plan | None"
    quiet: bool
    no_progress: bool
    save: str = ""
    """Where stdin is kept, if anywhere."""
    means: "Means | None" = None
    """With what the work is done; None for this process."""
    is_again: bool = False
    """Whether an earlier pass has said all there is to say."""

    @property
    def names(self) -> list[str]:
        """What a command to paste calls the captures."""
        return run.glob_for([self.save if self.save and name == "-" else name for name in self.captures])

    @cached_property
    def folder(self) -> "Place | None":
        """The folder that ``analyze`` wrote, if that is what was given."""
        folder = run.written_folder(self.captures)
        if folder is not None:
            run.keep_whole(folder, self.settings)
        return folder

    @property
    def has_several_files(self) -> bool:
        """Whether a frame number needs its file beside it."""
        return run.has_several_files(self.captures)

    def again(self) -> "Reading":
        """The same for another pass, in which what was said is not said again."""
        return replace(self, is_again=True)

    def analyze(self, sinks: "Sequence[Sink]", wanted_later: str = "") -> "Summary":
        """One pass; the sinks get what the policy leaves of the findings."""
        with run.saving(self.save):
            return run.analyze(
                self.captures, self.settings, sinks, self.quiet, self.no_progress, wanted_later, self.policy,
                "reading again" if self.is_again else "reading", says=not self.is_again, means=self.means,
            )  # fmt: skip

    def ladders(
        self,
        numbers: Iterable[int],
        connections: Callable[[Any], None] | None = None,
        transitions: Callable[[Any], None] | None = None,
    ) -> "dict[int, list[Step]]":
        """The segments of some connections, in one pass."""
        from tcptrace_tw import pipeline

        with run.progress_of(self.quiet, self.no_progress, "reading segments") as progress:
            return pipeline.ladders(
                self.captures, self.settings, numbers, connections, progress=progress, transitions=transitions
            )

    def export(self, numbers: Sequence[int], file: "AtomicFile") -> int:
        """Copy the frames of some connections and count them."""
        from tcptrace_tw import pipeline

        notice = None if self.quiet else run.warn
        with run.progress_of(self.quiet, self.no_progress, "copying") as progress:
            return pipeline.export(self.captures, self.settings, numbers, file, notice, progress)

    def busy(self, label: str) -> AbstractContextManager[None]:
        """Within it a terminal shows that work goes on."""
        from tcptrace_tw.cli.progress import busy

        return busy(label, enabled=not (self.quiet or self.no_progress) and sys.stderr.isatty())


def prepared(
    captures: list[str], shared: "Shared", written: "Iterable[Target]" = (), save: str = "", **instead: Any
) -> Reading:
    """What a command reads under its options and its policy; nothing that it writes replaces what it reads.

    ``instead`` are fields of ``Settings`` that the command sets itself.
    """
    from tcptrace_tw.cli import targets

    settings, plan = policy.obeyed(shared, **instead)
    targets.keep_apart(written, captures, policy.also_read(shared.files_from, plan))
    return Reading(captures, settings, plan, shared.quiet, shared.no_progress, save)
