"""How the records of an incarnation that is over are packed, lossless, into a third of their room.

Every field is written as its distance from what it most likely is: a frame from the incarnation's first frame, RCV.NXT
from the peer's SND.NXT. Nearly all distances are 0 or small, and take 0, 1, 2 or 4 units of 16 bits; two bits a field
say how many, and one word says of eight fields that there is nothing to write. A table says what a field is measured
from; a field that it does not name is measured from 0, or, by its name, from the first time or frame. Another says
which fields stand together. The kernels are made from the tables, so a new field needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.kernels.marks import inlined, lazy_kernel
from tcptrace_tw.tcp.store.access import set_unit, set_word, word_at  # noqa: F401 -- the kernels made here use them
from tcptrace_tw.tcp.store.records import CONNECTION, FIN_SENT, PENDING_CAUSE, SPAN, TCB, KernelState  # noqa: F401 -- so is FIN_SENT

SIGN = 1 << 31

PEERS = "peer.{} * is_second"
"""What the peer has; the peer of the endpoint that is packed first is not there yet when it is unpacked."""

BASES = {
    "tuple_id": "conn.id",
    "iss": "record.snd_nxt",
    "snd_una": "record.snd_nxt",
    "snd_nxt": PEERS.format("rcv_nxt"),
    "rcv_nxt": PEERS.format("snd_nxt"),
    "last_ack": "record.rcv_nxt",
    "earlier_ack": "record.last_ack * (record.earlier_frame >= 0)",
    "ttl_low": "record.ttl",
    "ttl_high": "record.ttl",
    "last_seq": "record.snd_nxt",
    "fin_seq": "record.snd_nxt * (record.bits & FIN_SENT != 0)",
    "last_tsval": PEERS.format("ts_recent"),
    "ts_recent": PEERS.format("last_tsval"),
    "ts_echoed": "record.ts_recent",
    "first_tsval": "record.last_tsval",
    "ts_echoed_s": PEERS.format("ts_echoed_s"),
}
"""Fields that are near another one. Those of 32 bits are numbers modulo 2**32."""

FRAMES = ("again_since",)
"""Fields that hold a frame, though their names do not end so."""

TOGETHER = {
    "CONNECTION": (
        ("id", "first_time", "first_frame", "tuple_id", "slot", "incarnation", "bits", "opened"),
        ("established_time", "history_lo", "history_len", "history_hi", "completeness", "orig_is_b", "fin_ms"),
        ("duplicates", "stale", "stale_rows", "reset", "reset_rows", "rst_frame", "anomaly", "reuse", "old_syn_frame"),
    ),
    "TCB": (
        ("snd_nxt", "rcv_nxt", "last_tsval", "ts_recent", "bits", "state", "pending", "history_seen"),
        ("last_time", "last_frame", "segments", "last_flags", "window_max", "ttl", "mss_256", "wscale"),
        ("iss", "first_tsval", "syn_frame", "last_seq", "snd_una", "last_ip_id", "ts_run", "rtt_us"),
        ("payload_bytes", "payload_time", "last_len", "last_ack", "ts_echoed", "ts_echoed_s", "echo_frame",
         "ts_recent_frame"),
        ("fin_frame", "fin_seq", "fin_acked_time", "fin_acked_frame", "earlier_frame", "earlier_time", "earlier_ack",
         "unacceptable_run"),
        ("pending_event", "pending_from", "unanswered", "reset_state"),
    ),
    "SPAN": (("start", "start_frame", "fin_frame", "start_basis", "end", "end_frame", "end_reason", "answered_frame"),),
    "PENDING_CAUSE": (),
}  # fmt: skip
"""Fields that are mostly used together, in groups of eight numbers. A field comes before those measured from it."""

NOT_KEPT = {
    "CONNECTION": ("due", "previous", "queue_previous", "queue_next"),
    "TCB": ("span",),
    "SPAN": ("next",),
    "PENDING_CAUSE": (),
}
"""What has no meaning while an incarnation lies packed."""


class Field(NamedTuple):
    """One number of a record: where it stands, and how its distance is taken and turned back (Python expressions)."""

    place: str
    distance: str
    value: str


def fields(name: str, dtype: np.dtype[Any]) -> list[Field]:
    """The numbers of a record in the order in which they are packed."""
    order = [each for group in TOGETHER[name] for each in group]
    kept = [each for each in dtype.names or () if each not in NOT_KEPT[name]]
    kept.sort(key=lambda each: order.index(each) if each in order else len(order))
    return [field for each in kept for field in _fields(name, each, dtype[each])]


def _fields(record: str, name: str, dtype: np.dtype[Any]) -> list[Field]:
    if dtype.subdtype is not None:
        base, (count,) = dtype.subdtype
        places = [f"record.{name}[{j}]" for j in range(count)]
        near = _near(record, name, base)
        return [
            Field(at, f"{near.distance.format(at=f'np.int64({at})')} if {j} < pending else 0", near.value)
            for j, at in enumerate(places)
        ]
    at = f"record.{name}"
    near = _near(record, name, dtype)
    return [Field(at, near.distance.format(at=at), near.value)]


def _near(record: str, name: str, dtype: np.dtype[Any]) -> Field:
    if name in BASES and dtype == np.uint32:
        return Field(name, f"around({{at}} - {BASES[name]})", f"({BASES[name]} + d) & 0xFFFFFFFF")
    if name in BASES:
        return Field(name, f"{{at}} - {BASES[name]}", f"{BASES[name]} + d")
    if name in ("first_time", "first_frame", "id"):
        return Field(name, "{at}", "d")
    if dtype == np.int64 and (name.endswith("frame") or name in FRAMES):
        return Field(name, "since({at}, conn.first_frame)", "later(d, conn.first_frame)")
    if dtype == np.int64 and (name.endswith("time") or record == "SPAN"):
        return Field(name, "since({at}, conn.first_time)", "later(d, conn.first_time)")
    if dtype == np.int32:  # a place in a pool, or -1
        return Field(name, "{at} + 1", "d - 1")
    return Field(name, "{at}", "d")


@inlined
def around(x: int) -> int:
    """A distance modulo 2**32 with its sign."""
    return ((x + SIGN) & 0xFFFFFFFF) - SIGN


@inlined
def since(value: int, base: int) -> int:
    """A time or frame as its distance from ``base``, moved by one: 0 is "none" (-1)."""
    return (value - base + (value >= base)) * (value >= 0)


@inlined
def later(distance: int, base: int) -> int:
    """``since`` turned back."""
    if distance == 0:
        return -1
    return base + distance - 1 if distance > 0 else base + distance


@inlined
def width(distance: int) -> int:
    """How many units a distance takes, as two bits: 0, 1, 2, and 3 for four; without branches, for all widths occur."""
    size = distance ^ (distance >> 63)
    return int(distance != 0) + int(size >= 0x8000) + int(size >= SIGN)


@inlined
def taken(st: KernelState, at: int, bits: int) -> int:
    """The distance at unit ``at`` that takes as many units as the two bits say."""
    if bits == 0:
        return 0
    word = word_at(st, at)
    if bits == 1:
        return ((word & 0xFFFF) ^ 0x8000) - 0x8000
    return around(word & 0xFFFFFFFF) if bits == 2 else word


_HEAD = "{name}(st, record, peer, conn, is_second, pending, at)"


EIGHT = 8
"""Fields that one tag tells of."""


def _packer(name: str, found: list[Field]) -> Callable[..., Any]:
    """A kernel that packs one record at unit ``at`` and returns the unit behind it."""
    lines = [f"def {_HEAD.format(name=name)}:", f"    end = at + {tag_units(found)}"]
    for g in range(tag_units(found)):
        group = found[EIGHT * g : EIGHT * (g + 1)]
        lines += [f"    d{j} = {field.distance}" for j, field in enumerate(group)]
        lines += ["    tag = 0", f"    if {' | '.join(f'd{j}' for j in range(len(group)))}:"]
        for j in range(len(group)):
            lines += [
                f"        bits = width(d{j})",
                f"        set_word(st, end, d{j})",
                "        end += bits + (bits >> 1 & bits)",
                f"        tag |= bits << {2 * j}",
            ]
        lines.append(f"    set_unit(st, at + {g}, tag)")
    return _made(name, [*lines, "    return end"])


def _unpacker(name: str, found: list[Field]) -> Callable[..., Any]:
    """The kernel that does the opposite."""
    lines = [f"def {_HEAD.format(name=name)}:", f"    end = at + {tag_units(found)}"]
    for g in range(tag_units(found)):
        group = found[EIGHT * g : EIGHT * (g + 1)]
        lines += [f"    tag = word_at(st, at + {g}) & 0xFFFF", "    if tag == 0:", "        d = 0"]
        lines += [f"        {field.place} = {field.value}" for field in group]
        lines.append("    else:")
        for j, field in enumerate(group):
            lines += [
                f"        bits = tag >> {2 * j} & 3",
                "        d = taken(st, end, bits)",
                "        end += bits + (bits >> 1 & bits)",
                f"        {field.place} = {field.value}",
            ]
    return _made(name, [*lines, "    return end"])


def _made(name: str, lines: list[str]) -> Callable[..., Any]:
    scope: dict[str, Any] = dict(globals())
    exec(compile("\n".join(lines), __file__, "exec"), scope)
    scope[name].__module__ = __name__
    return scope[name]


def tag_units(found: list[Field]) -> int:
    """Units that the widths of so many fields take."""
    return -(-len(found) // EIGHT)


def most_units(found: list[Field]) -> int:
    """Units that a record takes at the most."""
    return tag_units(found) + 4 * len(found)


CONNECTION_FIELDS = fields("CONNECTION", CONNECTION)
TCB_FIELDS = fields("TCB", TCB)
SPAN_FIELDS = fields("SPAN", SPAN)
CAUSE_FIELDS = fields("PENDING_CAUSE", PENDING_CAUSE)


def _both(name: str, found: list[Field]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return lazy_kernel(partial(_packer, name, found)), lazy_kernel(partial(_unpacker, name, found))


pack_connection, unpack_connection = _both("connection", CONNECTION_FIELDS)
pack_tcb, unpack_tcb = _both("tcb", TCB_FIELDS)
pack_span, unpack_span = _both("span", SPAN_FIELDS)
pack_cause, unpack_cause = _both("cause", CAUSE_FIELDS)

MOST_UNITS = sum(
    count * most_units(found)
    for count, found in ((1, CONNECTION_FIELDS), (2, TCB_FIELDS), (2, SPAN_FIELDS), (2, CAUSE_FIELDS))
)
"""Units that an incarnation takes at the most."""
