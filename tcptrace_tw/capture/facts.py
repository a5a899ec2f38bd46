"""What is known about the capture itself: formats, times, what was skipped, what is damaged."""

from dataclasses import dataclass, field
from typing import Any

from tcptrace_tw.capture.damage import Damage
from tcptrace_tw.capture.name import Name
from tcptrace_tw.errors import printable


@dataclass
class FileFacts:
    """One file of the capture. Times are ns since 1970 UTC; None where there is no frame.

    Texts are kept as they are shown, whoever sets them: they may come from outside.
    """

    name: str
    format: str = ""
    compression: str = ""
    links: tuple[str, ...] = ()
    snaplen: int = 0
    size: int | None = None
    frames: int = 0
    captured_bytes: int = 0
    wire_bytes: int = 0
    tcp_segments: int = 0
    first_time: int | None = None
    last_time: int | None = None
    backward_steps: int = 0
    truncated_options: int = 0
    unfit_times: int = 0
    """Frames with a time before 1970 or after 2115, which was replaced (see ``frames``)."""
    damaged_segments: int = 0
    """Segments that no TCP stack sends (see ``damage``), whether a filter keeps them or not."""
    lost_frames: int = 0
    absurd_loss: int = 0
    """The highest count of lost frames that is not believed; 0 if there is none."""
    skipped: dict[str, int] = field(default_factory=dict)
    damage: str | None = None
    """One line: byte offset, what is wrong, and what was kept; None for a sound file."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, str):
            value = Name(value) if name == "name" else printable(value)
        super().__setattr__(name, value)


@dataclass
class CaptureFacts:
    """All files that were read, in the order of their first frames, and remarks about the set."""

    files: list[FileFacts] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)
    """Segments that no stack sends, as they are seen."""

    def see(self, batch: Any) -> None:
        """Look for damage in a batch: only from the first damaged segment on, so that sound captures cost nothing."""
        if any(f.damaged_segments for f in self.files):
            self.damage.see(batch)

    @property
    def frames(self) -> int:
        """Frames in all files."""
        return sum(f.frames for f in self.files)

    @property
    def tcp_segments(self) -> int:
        """TCP segments in all files."""
        return sum(f.tcp_segments for f in self.files)

    @property
    def first_time(self) -> int | None:
        """Time of the earliest frame."""
        return min((f.first_time for f in self.files if f.first_time is not None), default=None)

    @property
    def last_time(self) -> int | None:
        """Time of the latest frame."""
        return max((f.last_time for f in self.files if f.last_time is not None), default=None)

    @property
    def skipped(self) -> dict[str, int]:
        """Frames that are no analysed TCP segment, by reason."""
        total: dict[str, int] = {}
        for f in self.files:
            for reason, count in f.skipped.items():
                total[reason] = total.get(reason, 0) + count
        return total
