"""What a command reads and how: captures, settings, policy, and whether progress is shown; every pass begins here."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcptrace_tw.cli import run

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.pipeline import Settings, Sink, Summary
    from tcptrace_tw.report.pages.ladder import Step


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

    @property
    def names(self) -> list[str]:
        """What a command to paste calls the captures."""
        return run.glob_for([self.save if self.save and name == "-" else name for name in self.captures])

    @cached_property
    def folder(self) -> Path | None:
        """The folder that ``analyze`` wrote, if that is what was given."""
        return run.written_folder(self.captures)

    @property
    def has_several_files(self) -> bool:
        """Whether a frame number needs its file beside it."""
        return run.has_several_files(self.captures)

    def again(self) -> "Reading":
        """The same for another pass, in which what was said is not said again."""
        return Reading(self.captures, self.settings, self.policy, True, self.quiet or self.no_progress)

    def analyze(self, sinks: "Sequence[Sink]", wanted_later: str = "") -> "Summary":
        """One pass; the sinks get what the policy leaves of the findings."""
        with run.saving(self.save):
            return run.analyze(
                self.captures, self.settings, sinks, self.quiet, self.no_progress, wanted_later, policy=self.policy
            )

    def ladders(
        self, numbers: Iterable[int], connections: Callable[[Any], None] | None = None
    ) -> "dict[int, list[Step]]":
        """The segments of some connections, in one pass."""
        from tcptrace_tw import pipeline

        return pipeline.ladders(self.captures, self.settings, numbers, connections)

    def export(self, numbers: Sequence[int], file: "AtomicFile") -> int:
        """Copy the frames of some connections and count them."""
        from tcptrace_tw import pipeline

        return pipeline.export(self.captures, self.settings, numbers, file, None if self.quiet else run.warn)
