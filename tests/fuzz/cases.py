"""Case ``n`` of the kernel fuzzer: always the same files and settings for the same number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tcptrace_tw.protocol.profiles import PROFILES, profile
from tests import capture_bytes as cb
from tests.fuzz.talks import Capture, habits

MS = 10**6


@dataclass(frozen=True)
class Case:
    """Files of frames, and what the pipeline is told besides."""

    number: int
    files: tuple[tuple[cb.Record, ...], ...]
    settings: dict[str, Any]
    batch_size: int
    archive_from: int
    linger_ns: int
    idle_after_ns: int
    has_transitions: bool
    is_pcapng: bool

    @property
    def segments(self) -> int:
        return sum(map(len, self.files))

    def write(self, folder: Path) -> list[str]:
        """Write the files; returns their paths."""
        paths = [folder / f"{number:03d}.pcap" for number in range(len(self.files))]
        for path, frames in zip(paths, self.files, strict=True):
            path.write_bytes(_pcapng(frames) if self.is_pcapng else cb.pcap(frames, nano=True, snaplen=262144))
        return list(map(str, paths))

    def without(self, begin: int, end: int) -> Case:
        """The same without some frames, counted over all files; a file that has none left goes as well."""
        kept, at = [], 0
        for frames in self.files:
            kept.append(tuple(f for n, f in enumerate(frames, at) if not begin <= n < end))
            at += len(frames)
        return replace(self, files=tuple(frames for frames in kept if frames))

    def __str__(self) -> str:
        told = {k: v for k, v in vars(self).items() if k != "files"}
        return f"{told}, {self.segments} frames in {len(self.files)} files"


def case(number: int, run: int = 0) -> Case:
    """The case of this number."""
    random = Random(f"kernels/{run}/{number}")
    pick = random.choice
    settings: dict[str, Any] = {
        "profile": pick(("linux", "linux", *(p.name for p in PROFILES))),
        "two_msl_s": pick((None, None, None, 1.0, 0.001)),
        "keep_duplicates": random.random() < 0.2,
        "ignore_vlan": random.random() < 0.1,
        "since": pick(("",) * 8 + ("+1s",)),
        "until": pick(("",) * 8 + ("+100s",)),
    }
    two_msl_ns = profile(settings["profile"], settings["two_msl_s"]).two_msl_ns
    frames = Capture(random, habits(random, two_msl_ns)).run()
    return Case(
        number=number,
        files=pieces(random, frames),
        settings=settings,
        batch_size=pick((1, 2, 3, 7, 64, 16384)),
        archive_from=pick((0, 0, 1, 2, 5, 20, 4096)),
        linger_ns=pick((100 * MS, 100 * MS, 0, 10 * MS)),
        idle_after_ns=pick((1000 * MS, 1000 * MS, 0, 10 * MS)),
        has_transitions=random.random() < 0.6,
        is_pcapng=random.random() < 0.2,
    )


def pieces(random: Random, frames: list[cb.Record]) -> tuple[tuple[cb.Record, ...], ...]:
    """One file, a ring of some, or of tiny ones."""
    count = min(random.choice((1, 1, 1, 2, 5, 20)), max(1, len(frames)))
    ends = sorted(random.randrange(len(frames) + 1) for _ in range(count - 1))
    parts = [tuple(frames[a:b]) for a, b in zip([0, *ends], [*ends, len(frames)], strict=True)]
    return tuple(part for part in parts if part) or ((),)


def _pcapng(frames: tuple[cb.Record, ...]) -> bytes:
    data = cb.section() + cb.interface(tsresol=9)
    return data + b"".join(cb.packet(f.frame, f.time_ns, wirelen=f.wirelen) for f in frames)
