"""The notation of a scenario: ``parse`` reads the text, ``write`` is its inverse.

One line is one frame::

    A = 10.0.0.1:40000                      # an endpoint; IPv6 as [2001:db8::1]:40000
    link raw                                # ethernet (the default) or raw IP
    start 1700000000.25                     # capture time of 0, in seconds since 1970
    0.000   A > B  S  100:100(0) win 65535 <mss 1460, sackOK, TS 1000 0, nop, wscale 7>
    +0.002  A < B  S. 500:500(0) ack 101 win 65535 <mss 1460>
    +0      A > B  .  101:101(0) ack 501
    +0.001  dup                             # the frame before once more; ``dup 2`` repeats frame 2

A time with a sign counts from the frame before, one without counts from ``start``. Sequence numbers are the
ones on the wire, modulo 2**32, and ``first:last(length)`` says the same thing twice on purpose. Flags are
``S F R P . U E W`` as tcpdump prints them. After them may stand ``ack N``, ``win N``, ``id N`` (IPv4
identification), ``ttl N``, ``vlan N`` and ``cut N`` (captured bytes); ``dup`` takes ``ttl`` and ``vlan`` too.

``repeat 20 every 0.05 A`` and ``end`` enclose a block that happens twenty times, one beginning 0.05 s after the
other, each time from the next port of A and with the timestamp clocks so much later; ``repeat 20 every 0.05 A by 2``
takes every second port.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

FLAG_BITS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128}
MODULUS = 1 << 32


class ScenarioError(ValueError):
    """A line of a scenario that cannot be read; the message begins with its number."""


class Peer(NamedTuple):
    """One side of a conversation."""

    ip: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 address."""
        return ":" in self.ip

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.is_ipv6 else f"{self.ip}:{self.port}"


class Options(NamedTuple):
    """TCP options by meaning; None where an option is absent."""

    mss: int | None = None
    sack_ok: bool = False
    ts: tuple[int, int] | None = None
    wscale: int | None = None
    sack: tuple[tuple[int, int], ...] = ()
    cookie: bytes | None = None
    """The Fast Open cookie (RFC 7413); empty for a request."""


NO_OPTIONS = Options()


@dataclass(frozen=True)
class Frame:
    """One frame of a capture, before it is bytes."""

    time_ns: int
    src: Peer
    dst: Peer
    flags: int
    seq: int
    payload_len: int = 0
    ack: int = 0
    window: int = 65535
    options: Options = NO_OPTIONS
    ip_id: int = 0
    ttl: int = 64
    vlan: int | None = None
    cut: int | None = None

    @property
    def seg_len(self) -> int:
        """SEG.LEN: payload, SYN and FIN."""
        return self.payload_len + bool(self.flags & 1) + bool(self.flags & 2)


@dataclass
class Scenario:
    """What a text says: its frames in order, and how they are to be packed."""

    frames: list[Frame]
    link: str = "ethernet"
    names: dict[str, Peer] = field(default_factory=dict)


def parse(text: str) -> Scenario:
    """Read a scenario; raises ``ScenarioError`` with the number of the line that is wrong."""
    reader = _Reader()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        try:
            reader.take(line)
        except ScenarioError as problem:
            raise ScenarioError(f"line {number}: {problem}: {raw.strip()!r}") from None
    return Scenario(reader.frames, reader.link, reader.names)


def count_frames(text: str) -> int:
    """How many frames a scenario has, without making them."""
    count, times = 0, 1
    for line in text.splitlines():
        if match := re.match(r"\s*(?:repeat\s+(\d+)|(end)|[+-]?\d)", line):
            count += times if match.lastindex is None else 0
            times = int(match[1]) if match[1] else 1 if match[2] else times
    return count


_SEGMENT = re.compile(
    r"(?P<left>\w+)\s*(?P<arrow>[<>])\s*(?P<right>\w+)\s+(?P<flags>[SFRP.UEW]+|-)\s+"
    r"(?P<first>\d+):(?P<last>\d+)\((?P<length>\d+)\)(?P<rest>.*)"
)


class _Reader:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.names: dict[str, Peer] = {}
        self.link = "ethernet"
        self.start_ns = 1_700_000_000 * 10**9
        self.now_ns: int | None = None
        self.ids: dict[str, int] = {}
        self.block: list[str] | None = None
        self.block_head: tuple[int, int, str] = (1, 0, "")
        self.turn = 0
        self.stride = 1

    def take(self, line: str) -> None:
        if match := re.fullmatch(r"repeat\s+(\d+)\s+every\s+(\d+(?:\.\d+)?)\s+(\w+)(?:\s+by\s+(\d+))?", line):
            self.stride = int(match[4] or 1)
            self.block, self.block_head = [], (int(match[1]), _nanoseconds(match[2]), match[3])
        elif line == "end" and self.block is not None:
            self._play_block(self.block)
            self.block = None
        elif self.block is not None:
            self.block.append(line)
        else:
            self.read(line)

    def _play_block(self, block: list[str]) -> None:
        times, every_ns, _ = self.block_head
        begin_ns = self.start_ns if self.now_ns is None else self.now_ns
        for self.turn in range(times):
            self.now_ns = begin_ns + self.turn * every_ns
            for line in block:
                self.read(line)
        self.turn = 0

    def read(self, line: str) -> None:
        if match := re.fullmatch(r"(\w+)\s*=\s*(\S+)", line):
            self.names[match[1]] = _peer(match[2])
        elif match := re.fullmatch(r"link\s+(ethernet|raw)", line):
            self.link = match[1]
        elif match := re.fullmatch(r"start\s+(\d+(?:\.\d+)?)", line):
            self.start_ns = _nanoseconds(match[1])
        elif match := re.fullmatch(r"([+-]?\d+(?:\.\d+)?)\s+(.*)", line):
            self._frame(self._time(match[1]), match[2])
        else:
            raise ScenarioError("neither an endpoint, nor a setting, nor a time and a segment")

    def _time(self, word: str) -> int:
        if word[0] in "+-":
            before = self.start_ns if self.now_ns is None else self.now_ns
            time_ns = before + _nanoseconds(word[1:]) * (-1 if word[0] == "-" else 1)
        else:
            time_ns = self.start_ns + _nanoseconds(word)
        self.now_ns = time_ns
        return time_ns

    def _frame(self, time_ns: int, words: str) -> None:
        if words.split()[0] == "dup":
            self._repeat(time_ns, words)
            return
        match = _SEGMENT.fullmatch(words)
        if not match:
            raise ScenarioError("a segment reads: A > B S. 500:500(0) ack 101 win 65535 <mss 1460>")
        src, dst = self._endpoints(match)
        first, last, length = (int(match[name]) for name in ("first", "last", "length"))
        if (first + length) % MODULUS != last % MODULUS:
            raise ScenarioError(f"{first} and {length} bytes end at {(first + length) % MODULUS}, not at {last}")
        flags = sum(FLAG_BITS[letter] for letter in set(match["flags"]) - {"-"})
        rest, options = _split_options(match["rest"])
        options = self._later(options)
        numbers = _numbers(rest, ("ack", "win", "id", "ttl", "vlan", "cut"))
        if ("ack" in numbers) != bool(flags & 16):
            raise ScenarioError("the flag . and the word ack belong together")
        self.frames.append(
            Frame(
                time_ns, src, dst, flags, first % MODULUS, length, numbers.get("ack", 0) % MODULUS,
                numbers.get("win", 65535), options, numbers.get("id", self._next_id(src)),
                numbers.get("ttl", 64), numbers.get("vlan"), numbers.get("cut"),
            )
        )  # fmt: skip

    def _repeat(self, time_ns: int, words: str) -> None:
        match = re.fullmatch(r"dup(?:\s+(\d+))?((?:\s+(?:ttl|vlan)\s+\d+)*)", words)
        number = int(match[1]) if match and match[1] else len(self.frames)
        if not match or not 1 <= number <= len(self.frames):
            raise ScenarioError("a repetition reads: dup, or dup and the number of an earlier frame")
        changes = _numbers(match[2], ("ttl", "vlan"))
        self.frames.append(replace(self.frames[number - 1], time_ns=time_ns, **changes))

    def _endpoints(self, match: re.Match[str]) -> tuple[Peer, Peer]:
        for name in (match["left"], match["right"]):
            if name not in self.names:
                raise ScenarioError(f"endpoint {name} has no address; say {name} = 10.0.0.1:40000 first")
        left, right = (self._nth(match[side]) for side in ("left", "right"))
        if left.is_ipv6 != right.is_ipv6:
            raise ScenarioError("one endpoint has an IPv4 address, the other an IPv6 address")
        return (left, right) if match["arrow"] == ">" else (right, left)

    def _nth(self, name: str) -> Peer:
        peer = self.names[name]
        return peer._replace(port=peer.port + self.turn * self.stride) if name == self.block_head[2] else peer

    def _later(self, options: Options) -> Options:
        ticks = self.turn * self.block_head[1] // 10**6
        if not options.ts or not ticks:
            return options
        value, echo = options.ts
        return options._replace(ts=((value + ticks) % MODULUS, (echo + ticks) % MODULUS if echo else 0))

    def _next_id(self, src: Peer) -> int:
        if src.is_ipv6:
            return 0
        self.ids[src.ip] = self.ids.get(src.ip, 0) % 65535 + 1
        return self.ids[src.ip]


def _peer(word: str) -> Peer:
    match = re.fullmatch(r"\[(.+)\]:(\d+)|([\d.]+):(\d+)", word)
    try:
        address = ipaddress.ip_address((match[1] or match[3]) if match else "")
    except ValueError:
        raise ScenarioError("an address reads 10.0.0.1:40000 or [2001:db8::1]:40000") from None
    assert match
    return Peer(str(address), int(match[2] or match[4]))


@lru_cache
def _nanoseconds(word: str) -> int:
    whole, _, fraction = word.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)


@lru_cache  # a block is read as often as it happens
def _split_options(rest: str) -> tuple[str, Options]:
    match = re.fullmatch(r"([^<]*)(?:<([^>]*)>)?\s*", rest)
    if not match:
        raise ScenarioError("options stand between < and >, at the end of the line")
    return match[1], _options(match[2] or "")


def _options(text: str) -> Options:
    options = Options()
    for item in filter(None, (part.strip() for part in text.split(","))):
        word, *values = item.split()
        try:
            options = options._replace(**_option(word, values))
        except (KeyError, ValueError, IndexError):
            raise ScenarioError(f"option {item!r} is not known") from None
    return options


def _option(word: str, values: list[str]) -> dict[str, object]:
    if word == "mss":
        return {"mss": int(values[0])}
    if word == "sackOK":
        return {"sack_ok": True}
    if word == "TS":
        return {"ts": (int(values[0]) % MODULUS, int(values[1]) % MODULUS)}
    if word == "wscale":
        return {"wscale": int(values[0])}
    if word == "sack":
        pairs = (value.split(":") for value in values)
        return {"sack": tuple((int(left) % MODULUS, int(right) % MODULUS) for left, right in pairs)}
    if word == "tfo":
        return {"cookie": bytes.fromhex(values[0]) if values else b""}
    if word == "nop":
        return {}
    raise KeyError(word)


@lru_cache
def _numbers(text: str, words: tuple[str, ...]) -> dict[str, int]:
    items = text.split()
    numbers = {}
    for word, value in zip(items[::2], items[1::2], strict=False):
        if word not in words or not value.isdigit():
            raise ScenarioError(f"{word} {value} is not understood")
        numbers[word] = int(value)
    if len(items) % 2:
        raise ScenarioError(f"{items[-1]} lacks its number")
    return numbers


def write(frames: Iterable[Frame], names: dict[str, Peer] | None = None) -> str:
    """The text of some frames, every number written out; ``parse`` reads it back to the same frames."""
    frames = list(frames)
    names = names or _invent_names(frames)
    name_of = {peer: name for name, peer in names.items()}
    lines = [f"{name} = {peer}" for name, peer in names.items()]
    start_ns = frames[0].time_ns if frames else 0
    lines.append(f"start {_seconds(start_ns)}")
    before_ns = start_ns
    for frame in frames:
        step = frame.time_ns - before_ns
        lines.append(f"{'-' if step < 0 else '+'}{_seconds(abs(step))}  {write_segment(frame, name_of)}")
        before_ns = frame.time_ns
    return "\n".join(lines) + "\n"


def write_segment(frame: Frame, name_of: dict[Peer, str]) -> str:
    """One segment without its time."""
    left, right = sorted((frame.src, frame.dst), key=lambda peer: name_of[peer])
    arrow = ">" if frame.src == left else "<"
    letters = "".join(letter for letter in "SFRP.UEW" if frame.flags & FLAG_BITS[letter]) or "-"
    last = (frame.seq + frame.payload_len) % MODULUS
    words = [f"{name_of[left]} {arrow} {name_of[right]}  {letters:<2} {frame.seq}:{last}({frame.payload_len})"]
    words += [f"ack {frame.ack}"] if frame.flags & 16 else []
    words += [f"win {frame.window}", f"id {frame.ip_id}"]
    words += [f"ttl {frame.ttl}"] if frame.ttl != 64 else []
    words += [f"vlan {frame.vlan}"] if frame.vlan is not None else []
    words += [f"cut {frame.cut}"] if frame.cut is not None else []
    words += [f"<{text}>"] if (text := _write_options(frame.options)) else []
    return " ".join(words)


def _write_options(options: Options) -> str:
    words = []
    if options.mss is not None:
        words.append(f"mss {options.mss}")
    if options.sack_ok:
        words.append("sackOK")
    if options.ts is not None:
        words.append("TS {} {}".format(*options.ts))
    if options.wscale is not None:
        words.append(f"wscale {options.wscale}")
    if options.sack:
        words.append("sack " + " ".join(f"{left}:{right}" for left, right in options.sack))
    if options.cookie is not None:
        words.append(f"tfo {options.cookie.hex()}".strip())
    return ", ".join(words)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def _invent_names(frames: list[Frame]) -> dict[str, Peer]:
    peers = dict.fromkeys(peer for frame in frames for peer in (frame.src, frame.dst))
    return {f"P{number}": peer for number, peer in enumerate(peers)}
