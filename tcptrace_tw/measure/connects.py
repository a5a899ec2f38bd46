"""Connects that came to nothing, by client and service; scans and floods apart from them (docs/semantics.md: silence).

A SYN that is sent once and not answered says little: the capture may end, a browser may try two addresses at once, a
scanner asks and goes. So a pair of client and service is only remembered where a SYN was answered, refused or repeated;
of the others the sender and the service are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.picked import Picked
from tcptrace_tw.measure.tallies import LATEST, Ints, Tallies
from tcptrace_tw.measure.traits import ORDINARY
from tcptrace_tw.protocol.states import CLOSED, LISTEN, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.columns import CONNECTS, FLOODS, SCANS, Table
from tcptrace_tw.schema.words import (
    ANSWER_NONE,
    BOTH,
    CLOSE_ABORT,
    CLOSE_OPEN,
    CLOSE_REFUSED,
    CLOSE_UNANSWERED,
    NOBODY_ANSWERED,
    NULL_WORD,
    OPENED_HANDSHAKE,
    RESP,
)

MOST_KEYS = 1 << 16

RETRIES = 2
WAIT_NS = 1_980_000_000
"""A connect that repeated its SYN so often, and for so long (stacks count in coarse ticks), has failed."""

REFUSALS = 3
"""From this number on, refused connects of one client to one service are reported."""

REMEMBERED_NS = 240_000_000_000
"""No TIME-WAIT lasts longer (RFC 9293 3.4.2), nor do devices on the path remember what was closed (RFC 5382 REQ-5)."""

SCAN_SERVICES = 12
SCAN_CONNECTS = 20
FLOOD_CONNECTS = 50
MOSTLY = 4
"""A scan or a flood comes to nothing so many times more often than not."""

ACK_BIT = 4
SYN_AND_RST = 1 | 32
PLAIN = ACK_BIT | 8
TALK = PLAIN | 16
"""Of ``completeness``: an ACK or data; or a FIN, too. Who sends these has heard the other side."""

COLUMNS = (
    *("opened", "orig_syn_frame", "orig_segments", "resp_segments", "completeness", "orig_ip_hi", "orig_ip_lo"),
    *("resp_ip_hi", "resp_ip_lo", "resp_port", "first_time", "last_time", "first_frame", "last_frame", "connection_id"),
    *("established_time", "rst_frame", "close", "syn_retries", "synack_retries", "resp_syn_frame", "orig_state"),
    *("resp_payload_bytes", "resp_fin_frame"),
)

PAIR = ("connects", "answered", "refused", "unanswered", "failed", "syns", "half_open", "first_time", "last_time",
        "first_frame", "last_frame", "first_id", "longest_wait_ns", "told", "told_failed", "misreset", "reused",
        "reused_answered")  # fmt: skip
CLIENT = ("vain", "retried", "answered", "first_time", "last_time", "first_frame", "first_id")
SERVICE = ("answered", "one_way", "two_way", "vain", "first_unread", "first_time", "last_time", "first_frame",
           "first_id")  # fmt: skip
ADDRESS = ("heard",)


class Connects:
    """Fed with rows of ``connections``; gives rows of ``connects``, ``scans`` and ``floods``."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        def tallies(fields: tuple[str, ...]) -> Tallies:
            return Tallies(MOST_KEYS, fields, compiled=compiled, seed=seed)

        self._pairs = tallies(PAIR)
        self._clients = tallies(CLIENT)
        self._services = tallies(SERVICE)
        self._addresses = tallies(ADDRESS)
        self._unread = Tallies(MOST_KEYS, ("count",), compiled=compiled, seed=seed)
        self._waiting = Tallies(MOST_KEYS, (), compiled=compiled, seed=seed)
        self._one_way = self._two_way = self._plain = 0

    def see(self, rows: Any, traits: NDArray[np.uint8]) -> None:
        """Take finished rows of ``connections``; those with the trait ``ORDINARY`` are counted elsewhere."""
        left = np.flatnonzero((traits & ORDINARY) == 0)
        if not left.size:
            return
        picked = Picked(rows[left], COLUMNS)
        self._hear(picked)
        picked = picked.where((picked.opened == OPENED_HANDSHAKE) & (picked.orig_syn_frame >= 0))
        if not picked.size:
            return
        kinds = _Kinds(picked)
        self._count_pairs(picked.where(kinds.is_told), kinds.of(kinds.is_told))
        self._count_clients(picked, kinds)
        self._count_services(picked, kinds)

    @property
    def refused(self) -> int:
        """How many rows are those of clients, or of pairs of a client and a service, for which there was no room."""
        return max(self._pairs.keys.refused, self._clients.keys.refused)

    def take_ordinary(self, parts: list[Ints], counts: Ints, plain: int) -> None:
        """Add the ordinary connections to the tallies of their pairs, addresses, clients and services, at the end.

        ``parts``: the clients and services as five columns; ``counts``: how many connections each has; ``plain``: how
        many of all have an ACK or data.
        """
        self._pairs.take(self._pairs.numbers(*parts), connects=counts, answered=counts)
        for address in (parts[:2], parts[2:4]):
            self._addresses.take(self._addresses.numbers(*address), heard=counts)
        self._clients.take(self._clients.numbers(*parts[:2]), answered=counts)
        self._services.take(self._services.numbers(*parts[2:]), answered=counts, two_way=counts)
        self._two_way += int(counts.sum())
        self._plain += plain

    def see_reuses(self, rows: Any) -> None:
        """Take rows of ``reuses``: what became of a SYN that met another connection, its own rules tell (RU, LA).

        Not where the service answered nobody: then they say nothing.
        """
        self._count_reused(rows)
        is_alone = rows.meanwhile != NOBODY_ANSWERED
        is_told = (rows.receiver_state != CLOSED) & (rows.receiver_state != LISTEN) & (rows.syn_retries > 0)
        rows = rows[is_told & ((rows.answer != ANSWER_NONE) | is_alone)]
        if rows.size:
            numbers = self._pairs.numbers(rows.ip_hi, rows.ip_lo, rows.peer_ip_hi, rows.peer_ip_lo, rows.peer_port)
            self._pairs.take(numbers, told=1, told_failed=rows.syn_retries >= RETRIES)

    def _count_reused(self, rows: Any) -> None:
        """SYNs on ports of connections that were closed not long before, by the server first: it was in TIME-WAIT."""
        is_over = ((rows.receiver_state == CLOSED) | (rows.receiver_state == TIME_WAIT)) & (rows.is_previous_reset == 0)
        is_held = (rows.holder == RESP) | (rows.holder == BOTH)
        soon = is_over & is_held & (rows.gap_ns >= 0) & (rows.gap_ns <= REMEMBERED_NS)
        is_vain = (rows.answer == ANSWER_NONE) & (rows.opened_frame < 0) & (rows.syn_retries > 0)
        is_vain &= (rows.receiver_state == CLOSED) & (rows.meanwhile != NOBODY_ANSWERED)
        is_taken = (rows.opened_frame >= 0) & (rows.syn_retries == 0)
        chosen = soon & (is_vain | is_taken)
        if chosen.any():
            rows, is_vain = rows[chosen], is_vain[chosen]
            numbers = self._pairs.numbers(rows.ip_hi, rows.ip_lo, rows.peer_ip_hi, rows.peer_ip_lo, rows.peer_port)
            self._pairs.take(numbers, reused=is_vain, reused_answered=~is_vain)

    def _hear(self, rows: Any) -> None:
        """Which addresses have sent anything, and whether both directions of the talk were captured."""
        is_own = (rows.orig_ip_hi == rows.resp_ip_hi) & (rows.orig_ip_lo == rows.resp_ip_lo)
        for segments, hi, lo in (
            (rows.orig_segments, rows.orig_ip_hi, rows.orig_ip_lo),
            (rows.resp_segments, rows.resp_ip_hi, rows.resp_ip_lo),
        ):
            # What an address says to itself is no sign that it answers.
            spoke = (segments > 0) & ((rows.resp_segments > 0) | ~is_own)
            if spoke.any():
                self._addresses.take(self._addresses.numbers(hi[spoke], lo[spoke]), heard=1)
        both = (rows.orig_segments > 0) & (rows.resp_segments > 0)
        alone = ~both & ((rows.completeness & TALK != 0) | (rows.orig_segments == 0))
        self._two_way += int(both.sum())
        self._plain += int((rows.completeness & PLAIN != 0).sum())
        self._one_way += int(alone.sum())
        if (both | alone).any():
            seen = rows.where(both | alone)
            numbers = self._services.numbers(*_service(seen))
            is_both = both[both | alone]
            self._services.take(numbers, two_way=is_both, one_way=~is_both)

    def _count_pairs(self, rows: Any, kinds: _Kinds) -> None:
        if not rows.size:
            return
        numbers = self._pairs.numbers(rows.orig_ip_hi, rows.orig_ip_lo, *_service(rows))
        pairs, wait = self._pairs, np.where(kinds.is_unanswered, rows.last_time - rows.first_time, -1)
        pairs.take(
            numbers, connects=1, answered=kinds.is_answered, refused=kinds.is_refused, unanswered=kinds.is_unanswered,
            failed=kinds.is_failed, half_open=kinds.is_half_open, longest_wait_ns=wait, misreset=kinds.is_misreset,
            syns=np.where(kinds.is_unanswered, rows.syn_retries + 1, 0),
        )  # fmt: skip
        vain = ~kinds.is_answered | kinds.is_half_open
        rows, numbers = rows.where(vain), numbers[vain]
        pairs.take(
            numbers, first_time=rows.first_time, last_time=rows.last_time, first_frame=rows.first_frame,
            last_frame=rows.last_frame, first_id=rows.connection_id,
        )  # fmt: skip

    def _count_clients(self, rows: Any, kinds: _Kinds) -> None:
        numbers = self._clients.numbers(rows.orig_ip_hi, rows.orig_ip_lo)
        self._clients.take(numbers, answered=kinds.is_answered, retried=kinds.is_failed)
        vain = kinds.is_refused | kinds.is_silent
        if not vain.any():
            return
        rows, numbers = rows.where(vain), numbers[vain]
        _note_vain(self._clients, numbers, rows)
        self._clients.mark(numbers, *_service(rows))

    def _count_services(self, rows: Any, kinds: _Kinds) -> None:
        numbers = self._services.numbers(*_service(rows))
        self._services.take(numbers, answered=kinds.is_answered)
        unread = kinds.is_unread
        if unread.any():
            self._services.take(numbers[unread], first_unread=rows.established_time[unread])
            self._unread.take(self._unread.numbers(*_service(rows.where(unread))), count=1)
        vain = (kinds.is_silent & (rows.syn_retries == 0)) | kinds.is_half_open
        if not vain.any():
            return
        rows, numbers = rows.where(vain), numbers[vain]
        _note_vain(self._services, numbers, rows)
        self._services.mark(numbers, rows.orig_ip_hi, rows.orig_ip_lo)

    def close(
        self, clocks: Any, told: set[tuple[int, ...]], waiting: list[Ints]
    ) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture.

        ``clocks``: the rows of that table, or None where there are none. ``told``: client and service of the connects
        that an ICMP error is about. ``waiting``: which address held TIME-WAIT for which other, as columns.
        """
        self._waiting.numbers(*waiting)
        rows = self._connect_rows(clocks)
        keys = zip(rows.ip_hi, rows.ip_lo, rows.peer_ip_hi, rows.peer_ip_lo, rows.peer_port, strict=True)
        if told:
            rows.has_icmp_error = [tuple(map(int, key)) in told for key in keys]
        yield from _some(CONNECTS, rows)
        yield from _some(SCANS, self._scan_rows())
        yield from _some(FLOODS, self._flood_rows())

    def _connect_rows(self, clocks: Any) -> Any:
        pairs, parts = self._pairs, self._pairs.keys.column
        services = self._services.numbers(parts(2), parts(3), parts(4))
        unanswered = np.maximum(pairs["unanswered"] - pairs["told"], 0)
        failed = np.maximum(pairs["failed"] - pairs["told_failed"], 0)
        vain = (unanswered > 0) | (pairs["half_open"] > 0) | (pairs["refused"] >= REFUSALS)
        chosen = np.flatnonzero(vain & ~self._is_hidden(services))
        services = services[chosen]
        rows: Any = np.zeros(chosen.size, CONNECTS.dtype).view(np.recarray)
        for word, name in enumerate(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo", "peer_port")):
            rows[name] = parts(word)[chosen]
        rows.unanswered, rows.failed = unanswered[chosen], failed[chosen]
        for name in ("connects", "answered", "refused", "syns", "half_open", "longest_wait_ns", "misreset", "reused",
                     "reused_answered"):  # fmt: skip
            rows[name] = pairs[name][chosen]
        for name, of in (("connection_id", "first_id"), ("time", "first_time"), ("end_time", "last_time"),
                         ("syn_frame", "first_frame"), ("last_frame", "last_frame")):  # fmt: skip
            rows[name] = pairs[of][chosen]
        rows.service_answered = _at(self._services["answered"], services)
        self._note_unread(rows, services)
        addresses = self._addresses.numbers(rows.peer_ip_hi, rows.peer_ip_lo)
        rows.address_heard = _at(self._addresses["heard"], addresses)
        clients = self._clients.numbers(rows.ip_hi, rows.ip_lo)
        rows.is_scan = _at(self._is_scan().astype(np.int64), clients)
        _note_clocks(rows, clocks)
        known = len(self._waiting)
        holders = self._waiting.numbers(rows.peer_ip_hi, rows.peer_ip_lo, rows.ip_hi, rows.ip_lo)
        rows.is_waiting = (holders >= 0) & (holders < known)
        rows.suspect = NULL_WORD
        if not self._plain:
            rows.half_open = 0  # a filter may have left the ACKs out
        return rows

    def _note_unread(self, rows: Any, services: Ints) -> None:
        """How many connections the service left unread, if the first of them is older than the first vain SYN."""
        numbers = self._unread.numbers(rows.peer_ip_hi, rows.peer_ip_lo, rows.peer_port)
        is_before = _at(self._services["first_unread"], services, LATEST) <= rows.time
        rows.service_unread = np.where(is_before, _at(self._unread["count"], numbers), 0)

    def _is_hidden(self, services: Ints) -> NDArray[np.bool_]:
        """Whether the answers of a service would not have been captured: somebody talked to it, and it is not heard."""
        if self._one_way and not self._two_way:
            return np.ones(services.size, np.bool_)
        one, two = _at(self._services["one_way"], services), _at(self._services["two_way"], services)
        return (one > 0) & (two == 0)

    def _is_scan(self) -> NDArray[np.bool_]:
        clients = self._clients
        enough = (clients["vain"] >= SCAN_CONNECTS) & (clients.different() >= SCAN_SERVICES)
        return enough & (clients["vain"] >= MOSTLY * clients["answered"])

    def scanners(self) -> set[tuple[int, int]]:
        """The addresses that tried many services in vain."""
        chosen = np.flatnonzero(self._is_scan())
        return {(int(self._clients.keys.column(0)[n]), int(self._clients.keys.column(1)[n])) for n in chosen}

    def _scan_rows(self) -> Any:
        clients, chosen = self._clients, np.flatnonzero(self._is_scan())
        rows = _vain_rows(SCANS, clients, chosen)
        rows.retried = clients["retried"][chosen]
        rows.services = clients.different()[chosen]
        return rows

    def _flood_rows(self) -> Any:
        services = self._services
        enough = (services["vain"] >= FLOOD_CONNECTS) & (services["vain"] >= MOSTLY * services["answered"])
        chosen = np.flatnonzero(enough)
        rows = _vain_rows(FLOODS, services, chosen)
        rows.port = services.keys.column(2)[chosen]
        rows.clients = services.different()[chosen]
        return rows


class _Kinds:
    """What became of the connects in some rows."""

    def __init__(self, rows: Any) -> None:
        never = (rows.established_time < 0) & (rows.rst_frame < 0)
        # Only RSTs came that the client must ignore: they do not acknowledge its SYN (RFC 9293 3.10.7.3).
        is_open = (rows.close == CLOSE_OPEN) & (rows.resp_syn_frame < 0) & (rows.established_time < 0)
        is_reset = (rows.completeness & ~ACK_BIT == SYN_AND_RST) & (rows.resp_segments > 0)  # a RST may have ACK
        self.is_misreset = is_open & is_reset & (rows.orig_segments == rows.syn_retries + 1)
        is_given_up = (rows.close == CLOSE_ABORT) & (rows.completeness == SYN_AND_RST) & (rows.syn_retries > 0)
        is_vain = (rows.close == CLOSE_UNANSWERED) | is_given_up  # some stacks end a connect in vain with a RST
        self.is_silent = (is_vain & (rows.resp_segments == 0)) | self.is_misreset
        self.is_unanswered = self.is_silent & (rows.syn_retries > 0)
        wait = rows.last_time - rows.first_time
        self.is_failed = self.is_unanswered & (rows.syn_retries >= RETRIES) & (wait >= WAIT_NS)
        self.is_refused = rows.close == CLOSE_REFUSED
        self.is_answered = (rows.resp_syn_frame >= 0) & ~self.is_refused
        is_stuck = (rows.synack_retries > 0) & (rows.syn_retries == 0) & (rows.orig_segments == 1)
        self.is_half_open = self.is_answered & never & is_stuck & (rows.orig_state != CLOSED)
        is_idle = (rows.close == CLOSE_OPEN) & (rows.established_time >= 0) & (rows.orig_state != SYN_SENT)
        self.is_unread = is_idle & (rows.resp_payload_bytes == 0) & (rows.resp_fin_frame < 0)
        self.is_told = self.is_answered | self.is_refused | self.is_unanswered

    def of(self, mask: NDArray[np.bool_]) -> _Kinds:
        """The same for the rows of a mask."""
        kinds = object.__new__(_Kinds)
        kinds.__dict__.update({name: value[mask] for name, value in self.__dict__.items()})
        return kinds


def _service(rows: Any) -> tuple[NDArray[Any], ...]:
    """The key of a service: its address and port."""
    return rows.resp_ip_hi, rows.resp_ip_lo, rows.resp_port


def _note_vain(tallies: Tallies, numbers: Ints, rows: Any) -> None:
    tallies.take(
        numbers, vain=1, first_time=rows.first_time, last_time=rows.last_time, first_frame=rows.first_frame,
        first_id=rows.connection_id,
    )  # fmt: skip


def _vain_rows(table: Table, tallies: Tallies, chosen: Ints) -> Any:
    rows: Any = np.zeros(chosen.size, table.dtype).view(np.recarray)
    rows.ip_hi, rows.ip_lo = (tallies.keys.column(word)[chosen] for word in range(2))
    for name, of in (("connection_id", "first_id"), ("time", "first_time"), ("end_time", "last_time"),
                     ("syn_frame", "first_frame"), ("vain", "vain"), ("answered", "answered")):  # fmt: skip
        rows[name] = tallies[of][chosen]
    return rows


def _at(column: Ints, numbers: Ints, otherwise: int = 0) -> Ints:
    """The values of some keys; ``otherwise`` for those without room."""
    if not column.size:
        return np.full(numbers.size, otherwise, np.int64)
    return np.where(numbers >= 0, column[np.maximum(numbers, 0)], otherwise)


def _note_clocks(rows: Any, clocks: Any) -> None:
    """How many of the client's ignored SYNs were stale, if all of them were, and what else is known of its clocks."""
    if clocks is None:
        return
    for clock in clocks[(clocks.ignored_stale > 0) & (clocks.ignored_stale == clocks.ignored)]:
        same = np.ones(rows.size, np.bool_)
        for name in ("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo"):
            same &= rows[name] == clock[name]
        rows.stale[same], rows.clocks[same], rows.clock_answered[same] = (
            clock[name] for name in ("ignored_stale", "clocks", "answered")
        )


def _some(table: Table, rows: Any) -> Iterator[tuple[Table, NDArray[Any]]]:
    if rows.size:
        yield table, rows
