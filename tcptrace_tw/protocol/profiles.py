"""What the stacks of this world do where the RFC leaves room or is not followed: one record per stack.

A profile says how long 2MSL is, which segments restart TIME-WAIT, and which SYNs a host in TIME-WAIT accepts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import UsageError, hint

NS = 1_000_000_000


class Restart(NamedTuple):
    """Which segments into TIME-WAIT make 2MSL begin anew (RFC 9293 3.10.7.4; Linux tcp_timewait_state_process)."""

    repeated_fin: bool
    exact_ack: bool
    other_ack: bool
    stale: bool
    refused_syn: bool
    stale_syn: bool


ACCEPT, ACCEPT_CHALLENGE, ACCEPT_PAWS_REJECT, ACCEPT_DROP = range(4)
"""What a stack does with a SYN in TIME-WAIT."""


class SynRule(NamedTuple):
    """One row of the table "SYN into TIME-WAIT"; the first row that fits decides.

    ``old_ts``, ``new_ts``: whether the old connection used and the SYN carries timestamps. ``ts``: the sign of
    TSval minus the last TSval (None: any). ``isn``: whether the ISN lies above RCV.NXT (None: any).
    """

    old_ts: bool | None
    new_ts: bool | None
    ts: int | None
    isn: bool | None
    verdict: int


class Profile(NamedTuple):
    """One stack. Times in ns."""

    name: str
    title: str
    two_msl_ns: int
    restart: Restart
    syn_rules: tuple[SynRule, ...]
    is_rst_fatal: bool
    """Whether an exact RST ends TIME-WAIT (RFC 1337; Linux tcp_rfc1337 = 0)."""
    is_paws_in_time_wait: bool
    passes_fin_wait_2: bool
    """FIN and ACK of FIN in one segment: through FIN-WAIT-2 (3.10.7.4, fifth then eighth) or straight (fig. 5, note 2)."""
    paws_tolerance: int
    """Ticks that a TSval may lie behind TS.Recent in an established connection."""
    paws_idle_ns: int
    """TS.Recent is no longer valid after this time without an update (RFC 7323 5.5)."""
    slack_ns: int
    """How much longer than 2MSL an entry is known to last."""
    source: str
    keeps_ts_recent: bool = False
    """A repeated FIN does not move TS.Recent in TIME-WAIT: the answer's TSecr tells which copy came first (measured)."""


_RFC_RESTART = Restart(True, False, True, True, False, False)
_LINUX_RESTART = Restart(True, True, True, True, False, True)
_BSD_RESTART = Restart(True, False, False, False, False, False)

# RFC 6191 section 2; without timestamps RFC 9293 3.10.7.4 (MAY-2).
_RFC_SYN = (
    SynRule(True, True, +1, None, ACCEPT),
    SynRule(True, True, 0, True, ACCEPT),
    SynRule(True, True, None, None, ACCEPT_DROP),
    SynRule(True, False, None, True, ACCEPT),
    SynRule(False, True, None, None, ACCEPT),
    SynRule(False, False, None, True, ACCEPT),
    SynRule(None, None, None, None, ACCEPT_DROP),
)

# Linux tcp_timewait_state_process: PAWS first, then ISN > RCV.NXT or a newer TSval.
_LINUX_SYN = (
    SynRule(True, True, -1, None, ACCEPT_PAWS_REJECT),
    SynRule(True, True, +1, None, ACCEPT),
    SynRule(None, None, None, True, ACCEPT),
    SynRule(None, None, None, None, ACCEPT_CHALLENGE),
)

# FreeBSD tcp_twcheck: the ISN alone, except that a newer TSval helps nobody.
_BSD_SYN = (
    SynRule(None, None, None, True, ACCEPT),
    SynRule(None, None, None, None, ACCEPT_DROP),
)

_DAY = 86_400 * NS

PROFILES: tuple[Profile, ...] = (
    Profile("linux", "Linux", 60 * NS, _LINUX_RESTART, _LINUX_SYN, True, True, True, 1, 2147 * NS, 2_500_000_000,
        "TCP_TIMEWAIT_LEN, include/net/tcp.h", True),
    Profile("rfc", "RFC 9293", 240 * NS, _RFC_RESTART, _RFC_SYN, True, True, False, 0, 24 * _DAY, 0,
        "RFC 9293 3.4.2: MSL is 2 minutes"),
    Profile("freebsd", "FreeBSD", 60 * NS, _BSD_RESTART, _BSD_SYN, False, False, False, 0, 24 * _DAY, 0,
        "2 x net.inet.tcp.msl"),
    Profile("openbsd", "OpenBSD", 60 * NS, _BSD_RESTART, _BSD_SYN, False, False, False, 0, 24 * _DAY, 0,
        "2 x TCPTV_MSL"),
    Profile("netbsd", "NetBSD", 60 * NS, _BSD_RESTART, _BSD_SYN, False, False, False, 0, 24 * _DAY, 0,
        "2 x TCPTV_MSL"),
    Profile("macos", "macOS", 30 * NS, _BSD_RESTART, _BSD_SYN, False, False, False, 0, 24 * _DAY, 0,
        "2 x net.inet.tcp.msl (15000 ms)"),
    Profile("windows", "Windows 2003 and later", 120 * NS, _RFC_RESTART, _RFC_SYN, True, True, False, 0, 24 * _DAY, 0,
        "TcpTimedWaitDelay 0x78"),
    Profile("windows-2000", "Windows 2000", 240 * NS, _RFC_RESTART, _RFC_SYN, True, True, False, 0, 24 * _DAY, 0,
        "TcpTimedWaitDelay 0xF0"),
    Profile("solaris", "Solaris, illumos", 60 * NS, _RFC_RESTART, _RFC_SYN, True, True, False, 0, 24 * _DAY, 0,
        "tcp_time_wait_interval"),
    Profile("lwip", "lwIP", 120 * NS, _RFC_RESTART, _RFC_SYN, True, False, False, 0, 24 * _DAY, 0, "2 x TCP_MSL"),
    Profile("zephyr", "Zephyr", NS // 4, _RFC_RESTART, _RFC_SYN, True, False, False, 0, 24 * _DAY, 0,
        "CONFIG_NET_TCP_TIME_WAIT_DELAY"),
)  # fmt: skip


def profile(name: str, two_msl_s: float | None = None) -> Profile:
    """The profile called ``name``, with another 2MSL where one is given; ``UsageError`` if there is none."""
    for p in PROFILES:
        if p.name == name:
            return p if two_msl_s is None else p._replace(two_msl_ns=int(two_msl_s * NS))
    raise UsageError(f"{name!r}: {hint(name, [p.name for p in PROFILES])}")


SYN_TABLE_SHAPE = (2, 2, 3, 2)


def syn_acceptance_table(p: Profile) -> NDArray[np.uint8]:
    """The profile's SYN rules as a lookup ``[old_ts, new_ts, sign of TSval step + 1, isn above RCV.NXT]``."""
    table = np.zeros(SYN_TABLE_SHAPE, np.uint8)
    for old_ts in (0, 1):
        for new_ts in (0, 1):
            for sign in (-1, 0, 1):
                for isn in (0, 1):
                    table[old_ts, new_ts, sign + 1, isn] = _first(
                        p.syn_rules, bool(old_ts), bool(new_ts), sign, bool(isn)
                    )
    return table


def _first(rules: tuple[SynRule, ...], old_ts: bool, new_ts: bool, sign: int, isn: bool) -> int:
    for r in rules:
        wanted = (r.old_ts, r.new_ts, r.ts, r.isn)
        if all(w is None or w == got for w, got in zip(wanted, (old_ts, new_ts, sign, isn), strict=True)):
            return r.verdict
    raise AssertionError("a SYN table must end with a row for everything")
