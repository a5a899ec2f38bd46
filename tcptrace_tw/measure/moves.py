"""What goes on under another 4-tuple: a SYN that a NAT sends from another port, a connection whose mapping it forgot.

A retry has the ISN of a SYN that came to nothing, from another port. A connection that goes on has, in its first
segment, exactly the numbers where another one stood, which was silent from then on. And a SYN is challenged with the
numbers of a connection from the same port to another address: a load balancer led both to one server. And a segment
that a NAT did not translate comes to a socket's address and port from a stranger, and acknowledges bytes that this
socket has sent, or its SYN. None of these happens by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.traits import LEFT_OPEN, MIDSTREAM, ORDINARY, TOLD_APART
from tcptrace_tw.schema.columns import MOVES, Table
from tcptrace_tw.schema.words import (
    CLOSE_REFUSED,
    MOVE_OTHER_ADDRESS,
    MOVE_REBINDING,
    MOVE_RETRY,
    MOVE_UNTRANSLATED,
    MOVE_UNTRANSLATED_ANSWER,
    OPENED_HANDSHAKE,
)

MOST_KEPT = 1 << 16
"""So many rows of each kind are remembered; what comes later is not linked."""

MOST_LINKS = 1 << 12
"""So many are linked, no more: where all are alike, somebody plays with the numbers."""

MOST_ALIKE = 16
"""Connections with the same numbers that are looked at; between other hosts they are chance."""

MASK = 0xFFFFFFFF

GAP_NS = 1_000_000_000
"""The same segment before and behind a NAT is no move; where a RST shows that it is one, it may come sooner."""

FEW = 8
"""An untranslated segment is sent again so often at the most: what goes on for longer is a connection."""

NEAR = 1 << 24
"""Its sequence number may be out of the window, but not farther from what was sent than this."""

RETRY_NS = 130_000_000_000
"""The last SYN of a connect comes so long after the first at the most."""

KEPT = ("connection_id", "orig_ip_hi", "orig_ip_lo", "orig_port", "resp_ip_hi", "resp_ip_lo", "resp_port", "first_time",
        "last_time", "first_frame", "last_frame", "orig_isn", "resp_isn", "orig_nxt", "resp_nxt", "rst_frame",
        "established_time", "orig_syn_tsval", "orig_syn_has_ts", "close", "orig_segments", "resp_segments",
        "orig_payload_bytes")  # fmt: skip


class Moves:
    """Fed with rows of ``connections``; gives rows of ``moves``."""

    def __init__(self) -> None:
        self._open = _Few(MOST_KEPT)
        self._midstream = _Few(MOST_KEPT)
        self._opened = _Few(MOST_KEPT)
        self._asked = _Few(MOST_LINKS)
        self._unasked = _Few(MOST_LINKS)
        self._challenged: list[Any] = []

    @property
    def refused(self) -> int:
        """How many rows of connections without an end, or without a beginning, were not remembered for want of room."""
        return self._open.refused + self._midstream.refused

    def see(self, rows: Any, traits: NDArray[np.uint8]) -> None:
        """Take finished rows of ``connections``."""
        self._open.keep(rows, np.flatnonzero(traits & LEFT_OPEN))
        self._midstream.keep(rows, np.flatnonzero(traits & MIDSTREAM))
        if self._opened.room:
            self._opened.keep(rows, np.flatnonzero(traits & TOLD_APART))
        left = np.flatnonzero((traits & ORDINARY) == 0)
        if left.size:
            self._see_answers(rows[left])

    def _see_answers(self, rows: Any) -> None:
        """Keep SYNs that were repeated and not answered, and SYN+ACKs without a SYN of their own."""
        is_vain = (rows.opened == OPENED_HANDSHAKE) & (rows.established_time < 0) & (rows.orig_payload_bytes == 0)
        is_asked = is_vain & (rows.orig_syn_frame >= 0) & (rows.syn_retries > 0) & (rows.resp_segments == 0)
        self._asked.keep(rows, np.flatnonzero(is_asked))
        self._unasked.keep(rows, np.flatnonzero(is_vain & (rows.orig_syn_frame < 0) & (rows.resp_syn_frame >= 0)))

    def see_reuses(self, rows: Any) -> None:
        """Take finished rows of ``reuses``: of those that met a connection which is not under their own 4-tuple."""
        room = MOST_KEPT - len(self._challenged)
        is_unseen = (rows.previous_connection_id < 0) & (rows.opened_frame >= 0)
        for place in np.flatnonzero(is_unseen)[:room].tolist():
            self._challenged.append(rows[place].copy())

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        found = [*self._rebindings(), *self._untranslated(), *self._answers(), *self._retries(), *self._met()]
        if found:
            rows: Any = np.concatenate(found).view(np.recarray)
            rows = rows[np.lexsort((rows.connection_id, rows.time))]
            yield MOVES, rows

    def _rebindings(self) -> Iterator[NDArray[Any]]:
        """Connections from mid-stream that begin where another one, open and silent since, stood."""
        later, before = self._midstream.rows(), self._open.rows()
        for is_same, names in ((True, ("orig_nxt", "resp_nxt")), (False, ("resp_nxt", "orig_nxt"))):
            stood = _joined(before[names[0]], before[names[1]])
            for probe in (0, 1):  # a keep-alive probe begins one below
                begins = _joined((later.orig_isn + probe) & MASK, later.resp_isn)
                known = np.flatnonzero(np.isin(stood, begins))
                places: dict[int, list[int]] = {}
                for place in known[:MOST_LINKS].tolist():
                    places.setdefault(int(stood[place]), []).append(place)
                for place in np.flatnonzero(np.isin(begins, stood))[:MOST_LINKS].tolist():
                    row = later[place]
                    for old in (before[other] for other in places.get(int(begins[place]), [])[:MOST_ALIKE]):
                        if _is_rebinding(old, row, same=is_same):
                            yield _move(old, row, MOVE_UNTRANSLATED if _is_from_stranger(old, row) else MOVE_REBINDING)
                            break

    def _untranslated(self) -> Iterator[NDArray[Any]]:
        """Segments to the address and port of a living connection, but not from its peer, which a RST answered."""
        rows = self._midstream.rows()
        strays = rows[(rows.rst_frame >= 0) & _is_reply(rows)]
        if not strays.size:
            return
        living = self._opened.rows()
        ends = [_client_ends(each) for each in (strays, living)]
        known = np.flatnonzero(np.isin(ends[1], ends[0]))
        places: dict[int, list[int]] = {}
        for place in known[:MOST_LINKS].tolist():
            places.setdefault(int(ends[1][place]), []).append(place)
        for place in np.flatnonzero(np.isin(ends[0], ends[1]))[:MOST_LINKS].tolist():
            row = strays[place]
            for old in (living[other] for other in places.get(int(ends[0][place]), [])[-MOST_ALIKE:]):
                if _is_from_stranger(old, row) and _is_within(old, row):
                    yield _move(old, row, MOVE_UNTRANSLATED)
                    break

    def _answers(self) -> Iterator[NDArray[Any]]:
        """SYN+ACKs to the address and port of a SYN that waits, and of its ISN, but not from where it was sent."""
        asked, unasked = self._asked.rows(), self._unasked.rows()
        places: dict[tuple[int, int], list[int]] = {}
        for place in np.flatnonzero(np.isin(asked.orig_isn, unasked.orig_isn)).tolist():
            places.setdefault((int(asked.orig_isn[place]), int(asked.orig_port[place])), []).append(place)
        for row in unasked:
            for old in (asked[place] for place in places.get((int(row.orig_isn), int(row.orig_port)), [])[:MOST_ALIKE]):
                is_same_client = old.orig_ip_hi == row.orig_ip_hi and old.orig_ip_lo == row.orig_ip_lo
                if is_same_client and old.first_time <= row.first_time <= old.last_time + GAP_NS:
                    yield _move(old, row, MOVE_UNTRANSLATED_ANSWER)
                    break

    def _met(self) -> Iterator[NDArray[Any]]:
        """SYNs that were challenged with the numbers of a connection from the same port to another address."""
        if not self._challenged:
            return
        opened = self._opened.rows()
        ports = np.array([int(row.port) for row in self._challenged])
        own = {int(number): place for place, number in enumerate(opened.connection_id.tolist())}
        places: dict[tuple[int, ...], list[int]] = {}
        for place in np.flatnonzero(np.isin(opened.orig_port, ports)).tolist():
            key = tuple(int(opened[name][place]) for name in ("orig_ip_hi", "orig_ip_lo", "orig_port", "resp_port"))
            places.setdefault(key, []).append(place)
        known = np.isin([int(row.connection_id) for row in self._challenged], opened.connection_id)
        for number in np.flatnonzero(known)[:MOST_LINKS].tolist():
            row = self._challenged[number]
            key = tuple(int(row[name]) for name in ("ip_hi", "ip_lo", "port", "peer_port"))
            new = opened[own[int(row.connection_id)]]
            for old in (opened[place] for place in places.get(key, [])[-MOST_ALIKE:]):
                if _is_met(old, new, row):
                    yield _meeting(old, row)
                    break

    def _retries(self) -> Iterator[NDArray[Any]]:
        """Connects with the ISN of the one before of the same address to the same service, which came to nothing."""
        opened = self._opened.rows()
        is_vain = _is_vain(opened)
        if not is_vain.any():
            return
        opened = opened[np.isin(opened.orig_isn, opened.orig_isn[is_vain])]  # few are worth sorting
        names = ("orig_isn", "resp_port", "resp_ip_lo", "resp_ip_hi", "orig_ip_lo", "orig_ip_hi")
        order = np.lexsort((opened.first_frame, opened.first_time, *(opened[name] for name in names)))
        opened = opened[order]
        is_same = np.ones(max(opened.size - 1, 0), np.bool_)
        for name in names:
            is_same &= opened[name][1:] == opened[name][:-1]
        is_same &= (opened.orig_port[1:] != opened.orig_port[:-1]) & _is_vain(opened)[:-1]
        first_time, last = -1, -1
        for place in np.flatnonzero(is_same)[:MOST_LINKS].tolist():
            old, row = opened[place], opened[place + 1]
            if _is_later(old, row):
                first_time = first_time if last == place else int(old.first_time)
                last = place + 1
                move: Any = _move(old, row, MOVE_RETRY).view(np.recarray)
                move.cost_ns = row.established_time - first_time if row.established_time >= 0 else -1
                yield move


class _Few:
    """Some rows, no more than ``most``."""

    def __init__(self, most: int) -> None:
        self._chunks: list[NDArray[Any]] = []
        self.room = most
        self.refused = 0

    def keep(self, rows: Any, places: NDArray[np.intp]) -> None:
        """Keep the rows at these places, as far as there is room."""
        self.refused += max(0, places.size - self.room)
        places = places[: self.room]
        if places.size:
            kept = np.zeros(places.size, [(name, "i8") for name in KEPT])
            for name in KEPT:
                kept[name] = rows[name][places]
            self._chunks.append(kept)
            self.room -= kept.size

    def rows(self) -> Any:
        """The rows in the order in which they came."""
        if not self._chunks:
            return np.zeros(0, [(name, "i8") for name in KEPT]).view(np.recarray)
        self._chunks = [np.concatenate(self._chunks)]
        return self._chunks[0].view(np.recarray)


def _joined(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Two numbers of 32 bits as one of 64."""
    return one << 32 | other


def _is_vain(rows: Any) -> NDArray[np.bool_]:
    """Connects that came to nothing, and were not refused."""
    vain: NDArray[np.bool_] = (rows.established_time < 0) & (rows.close != CLOSE_REFUSED)
    return vain


def _is_later(old: Any, row: Any) -> bool:
    """Whether a SYN may be an earlier one, sent again: a little later, by the clock of its sender too."""
    if not 0 < row.first_time - old.first_time <= RETRY_NS:
        return False
    if not (row.orig_syn_has_ts and old.orig_syn_has_ts):
        return True  # cut off
    return 0 < (int(row.orig_syn_tsval) - int(old.orig_syn_tsval)) % (1 << 32) < 1 << 31


def _client_ends(rows: Any) -> NDArray[np.int64]:
    """Address and port of the clients, mixed into one number; the addresses are compared again."""
    mixed: NDArray[np.int64] = (rows.orig_ip_lo * 0x9E3779B1 ^ rows.orig_ip_hi) << 16 ^ rows.orig_port
    return mixed


def _is_reply(rows: Any) -> NDArray[np.bool_]:
    """Few segments with data from the other side, and no data of the client."""
    is_few = (rows.resp_segments > 0) & (rows.orig_segments + rows.resp_segments <= FEW)
    replies: NDArray[np.bool_] = is_few & (rows.orig_payload_bytes == 0)
    return replies


def _is_from_stranger(old: Any, row: Any) -> bool:
    """Whether segments came to the client of a connection from somebody else than its peer."""
    is_same_client = all(old[name] == row[name] for name in ("orig_ip_hi", "orig_ip_lo", "orig_port"))
    is_same_peer = all(old[name] == row[name] for name in ("resp_ip_hi", "resp_ip_lo", "resp_port"))
    return is_same_client and not is_same_peer and bool(_is_reply(row))


def _is_within(old: Any, row: Any) -> bool:
    """Whether a segment fits into a connection that lived then: it acknowledges what its client had sent."""
    if not (old.established_time >= 0 and old.established_time <= row.first_time <= old.last_time):
        return False
    acked = (int(row.orig_isn) - int(old.orig_isn) - 1) & MASK
    sent = (int(old.orig_nxt) - int(old.orig_isn) - 1) & MASK
    ahead = (int(row.resp_isn) - int(old.resp_nxt) + NEAR) & MASK
    return acked <= sent and ahead <= 2 * NEAR


def _is_rebinding(old: Any, row: Any, *, same: bool) -> bool:
    """Whether a row from mid-stream goes on where an open one stood, and nothing more was heard of that."""
    least = 0 if row.rst_frame >= 0 else GAP_NS
    if old.connection_id == row.connection_id or row.first_time - old.last_time < least:
        return False
    if not (row.orig_isn and row.resp_isn):
        return False
    service = ("resp_ip_hi", "resp_ip_lo", "resp_port")
    ends = service if same else ("orig_ip_hi", "orig_ip_lo", "orig_port")
    client = ("orig_ip_hi", "orig_ip_lo") if same else ("resp_ip_hi", "resp_ip_lo")
    is_same_service = all(old[a] == row[b] for a, b in zip(service, ends, strict=True))
    is_same_client = all(old[a] == row[b] for a, b in zip(("orig_ip_hi", "orig_ip_lo"), client, strict=True))
    return is_same_service or is_same_client


def _is_met(old: Any, new: Any, row: Any) -> bool:
    """Whether the SYN of ``new`` was challenged with the numbers of an earlier connection to another address."""
    is_other = (int(old.resp_ip_hi), int(old.resp_ip_lo)) != (int(new.resp_ip_hi), int(new.resp_ip_lo))
    if not is_other or old.first_time >= row.time:
        return False
    acked, sent = int(new.orig_isn) - int(row.isn_delta), int(new.resp_isn) - int(row.answer_isn_delta)
    pairs = (("orig_isn", "orig_nxt", acked), ("resp_isn", "resp_nxt", sent))
    return all(
        0 < (number - int(old[isn])) & MASK <= (int(old[nxt]) - int(old[isn])) & MASK for isn, nxt, number in pairs
    )


def _meeting(old: Any, row: Any) -> NDArray[Any]:
    found: Any = np.zeros(1, MOVES.dtype).view(np.recarray)
    one = found[0]
    one.connection_id, one.previous_connection_id = row.connection_id, old.connection_id
    for name in ("ip_hi", "ip_lo", "port", "peer_ip_hi", "peer_ip_lo", "peer_port"):
        one[name] = row[name]
    one.previous_peer_ip_hi, one.previous_peer_ip_lo = old.resp_ip_hi, old.resp_ip_lo
    one.previous_peer_port = old.resp_port
    one.time, one.frame = row.time, row.syn_frame
    one.previous_frame, one.previous_port = old.first_frame, old.orig_port
    one.gap_ns = row.time - old.first_time
    one.move = MOVE_OTHER_ADDRESS
    one.cost_ns = -1
    return found


def _move(old: Any, row: Any, move: int) -> NDArray[Any]:
    found: Any = np.zeros(1, MOVES.dtype).view(np.recarray)
    one = found[0]
    one.connection_id, one.previous_connection_id = row.connection_id, old.connection_id
    for end, side in (("", "orig"), ("peer_", "resp")):
        for name in ("ip_hi", "ip_lo", "port"):
            one[f"{end}{name}"] = row[f"{side}_{name}"]
    one.time, one.frame = row.first_time, row.first_frame
    one.previous_frame, one.previous_port = min(old.last_frame, row.first_frame), old.orig_port
    one.previous_peer_ip_hi, one.previous_peer_ip_lo = old.resp_ip_hi, old.resp_ip_lo
    one.previous_peer_port = old.resp_port
    one.gap_ns = max(row.first_time - old.last_time, -1)
    one.move = move
    one.is_reset = row.rst_frame >= 0
    one.cost_ns = -1
    return found
