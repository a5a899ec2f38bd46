"""How an attempt is written down: its SYN and its 4-tuple, in 48 bytes (IPv6, VLAN or tunnel: 80).

Six or ten words of 64 bits in the blocks of the archive. The head of a block has the numbers that those of its attempts
count from.
"""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.protocol.seq import MASK
from tcptrace_tw.protocol.states import SYN_SENT
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.words import OPENED_HANDSHAKE, ORIG
from tcptrace_tw.schema.zeek import HISTORY_SYN, HISTORY_ZERO_WINDOW
from tcptrace_tw.tcp.store.access import conn_at, key_at, set_word, tcb_at, tuple_at, word_at
from tcptrace_tw.tcp.store.archive import BLOCK, HEAD, LENGTH, WORD
from tcptrace_tw.tcp.store.freelists import clear
from tcptrace_tw.tcp.store.history_letters import DONE_SYN, append_letter
from tcptrace_tw.tcp.store.records import (
    IP_ID_STEPS,
    ISS_KNOWN,
    NXT_KNOWN,
    RCV_KNOWN,
    TS_ON_SYN,
    TS_VALID,
    WANT_TRANSITIONS,
    WINDOW_CLOSED,
    WSCALE_ON_SYN,
    Conn,
    KernelState,
    Tcb,
)

IPV4_UNITS = 6 * WORD
OTHER_UNITS = 10 * WORD

IPV4_MAPPED = 0xFFFF
"""The upper half of the low word of an IPv4 address, which is kept as ::ffff:a.b.c.d."""

FRAME_MASK = (1 << FRAME_BITS) - 1

# Where the words of an attempt begin, and at which bit the numbers of a word. Some count from the first of the block.
MARK, TIME, TIMESTAMP, PORTS, ORDER, ADDRESSES = (WORD * n for n in range(6))
B_LO, A_HI, B_HI, SCOPE = (WORD * n for n in range(6, 10))
ISS_AT, FLAGS_AT, SIDE_AT, HAS_TS_AT, HAS_WSCALE_AT, STEP_AT = 16, 48, 57, 58, 59, 60
TTL_AT, MSS_AT, WSCALE_AT = 44, 52, 60
WINDOW_AT, IP_ID_AT = 32, 48
LAG_AT, FILE_AT = 32, 48
ID_AT = 32

# Words of the head of a block behind the block that follows: the numbers that those of its attempts count from.
BASE_TIME, BASE_ID, BASE_LAG = (WORD * n for n in range(1, 4))


@inlined
def number(word: int, at: int, bits: int) -> int:
    """The number of ``bits`` bits that begins at bit ``at`` of a word."""
    return (word >> at) & ((1 << bits) - 1)


@inlined
def is_within(value: int, bits: int) -> bool:
    """Whether a number takes no more than ``bits`` bits."""
    return 0 <= value < (1 << bits)


@kernel
def is_ipv4(key: Any) -> bool:
    """Whether both addresses of a 4-tuple are of IPv4, outside of VLANs and tunnels."""
    high = key.a_hi | key.b_hi | key.scope
    return high == 0 and key.a_lo >> 32 == IPV4_MAPPED and key.b_lo >> 32 == IPV4_MAPPED


@kernel
def fits(st: KernelState, c: int, at: int) -> bool:
    """Whether the numbers of incarnation ``c`` fit into their bits; the first attempt of a block sets its base."""
    conn = conn_at(st, c)
    lag = conn.id - conn.tuple_id
    block = at - at % BLOCK
    if at == block + HEAD:
        set_word(st, block + BASE_TIME, conn.first_time)
        set_word(st, block + BASE_ID, conn.id - (1 << 31))
        set_word(st, block + BASE_LAG, lag - (1 << 15))
    return (
        is_within(conn.first_time - word_at(st, block + BASE_TIME), 44)
        and is_within(conn.id - word_at(st, block + BASE_ID), 32)
        and is_within(lag - word_at(st, block + BASE_LAG), 16)
        and is_within(conn.first_frame >> FRAME_BITS, 16)
        and is_within(conn.first_frame & FRAME_MASK, 32)
    )


@kernel
def write_attempt(st: KernelState, c: int, at: int, units: int) -> None:
    """Write the SYN of incarnation ``c`` and its 4-tuple at unit ``at``; ``fits`` has set the base of the block."""
    conn = conn_at(st, c)
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    key = tuple_at(st, conn.slot)
    block = at - at % BLOCK
    bits, frame = orig.bits, conn.first_frame
    has_ts = 1 if bits & TS_ON_SYN else 0
    has_wscale = 1 if bits & WSCALE_ON_SYN else 0
    set_word(
        st,
        at + MARK,
        units
        | orig.iss << ISS_AT
        | (orig.last_flags & 0x1FF) << FLAGS_AT
        | conn.orig_is_b << SIDE_AT
        | has_ts << HAS_TS_AT
        | has_wscale << HAS_WSCALE_AT
        | (bits >> IP_ID_STEPS & 1) << STEP_AT,
    )
    time = conn.first_time - word_at(st, block + BASE_TIME)
    rest = orig.ttl << TTL_AT | resp.mss_256 << MSS_AT | (orig.wscale & 0xF) << WSCALE_AT
    set_word(st, at + TIME, time | rest)
    window = orig.window_max & 0xFFFF
    set_word(st, at + TIMESTAMP, orig.last_tsval | window << WINDOW_AT | orig.last_ip_id << IP_ID_AT)
    lag = conn.id - conn.tuple_id - word_at(st, block + BASE_LAG)
    ports = key.a_port << 16 | key.b_port
    set_word(st, at + PORTS, ports | lag << LAG_AT | (frame >> FRAME_BITS) << FILE_AT)
    order = conn.id - word_at(st, block + BASE_ID)
    set_word(st, at + ORDER, (frame & FRAME_MASK) | order << ID_AT)
    if units == IPV4_UNITS:
        set_word(st, at + ADDRESSES, (key.a_lo & 0xFFFFFFFF) | key.b_lo << 32)
        return
    set_word(st, at + ADDRESSES, key.a_lo)
    set_word(st, at + B_LO, key.b_lo)
    set_word(st, at + A_HI, key.a_hi)
    set_word(st, at + B_HI, key.b_hi)
    set_word(st, at + SCOPE, key.scope)


@kernel
def read_key(st: KernelState, at: int) -> int:
    """Put the 4-tuple of the attempt at unit ``at`` into the record for it, and return that."""
    key = key_at(st, 0)
    addresses = word_at(st, at + ADDRESSES)
    if word_at(st, at) & LENGTH == IPV4_UNITS:
        key.a_lo = IPV4_MAPPED << 32 | (addresses & 0xFFFFFFFF)
        key.b_lo = IPV4_MAPPED << 32 | number(addresses, 32, 32)
        key.a_hi = 0
        key.b_hi = 0
        key.scope = 0
    else:
        key.a_lo = addresses
        key.b_lo = word_at(st, at + B_LO)
        key.a_hi = word_at(st, at + A_HI)
        key.b_hi = word_at(st, at + B_HI)
        key.scope = word_at(st, at + SCOPE)
    ports = word_at(st, at + PORTS)
    key.a_port = number(ports, 16, 16)
    key.b_port = number(ports, 0, 16)
    return key


@kernel
def time_of(st: KernelState, at: int) -> int:
    """When the SYN of the attempt at unit ``at`` was captured, in ns."""
    return word_at(st, at - at % BLOCK + BASE_TIME) + number(word_at(st, at + TIME), 0, 44)


@kernel
def read_attempt(st: KernelState, at: int, c: int, slot: int) -> None:
    """Make incarnation ``c`` what the SYN of the attempt at unit ``at`` makes of a new one in ``slot``."""
    clear(st, c)
    block = at - at % BLOCK
    mark, order, ports = word_at(st, at + MARK), word_at(st, at + ORDER), word_at(st, at + PORTS)
    conn = conn_at(st, c)
    conn.slot = slot
    conn.previous = -1
    conn.orig_is_b = number(mark, SIDE_AT, 1)
    conn.id = word_at(st, block + BASE_ID) + number(order, ID_AT, 32)
    conn.tuple_id = conn.id - word_at(st, block + BASE_LAG) - number(ports, LAG_AT, 16)
    conn.incarnation = 1
    conn.opened = OPENED_HANDSHAKE
    conn.first_time = time_of(st, at)
    conn.first_frame = number(ports, FILE_AT, 16) << FRAME_BITS | number(order, 0, 32)
    conn.completeness = DONE_SYN
    conn.transitions = st.counters[WANT_TRANSITIONS]  # to SYN-SENT
    append_letter(conn, ORIG, HISTORY_SYN)
    read_opener(st, at, conn, tcb_at(st, 2 * c), mark)
    read_listener(st, at, conn, tcb_at(st, 2 * c + 1), mark)


@kernel
def read_opener(st: KernelState, at: int, conn: Conn, orig: Tcb, mark: int) -> None:
    """What the SYN says about the endpoint that sent it."""
    timestamp, rest = word_at(st, at + TIMESTAMP), word_at(st, at + TIME)
    iss = number(mark, ISS_AT, 32)
    window = number(timestamp, WINDOW_AT, 16)
    orig.state = SYN_SENT
    orig.bits = (
        ISS_KNOWN
        | NXT_KNOWN
        | (TS_ON_SYN if number(mark, HAS_TS_AT, 1) else 0)
        | (WSCALE_ON_SYN if number(mark, HAS_WSCALE_AT, 1) else 0)
        | (WINDOW_CLOSED if window == 0 else 0)
        | number(mark, STEP_AT, 1) << IP_ID_STEPS
    )
    orig.iss = iss
    orig.snd_una = iss
    orig.snd_nxt = (iss + 1) & MASK
    orig.last_seq = iss
    orig.last_flags = number(mark, FLAGS_AT, 9)
    orig.last_time = conn.first_time
    orig.last_frame = conn.first_frame
    orig.syn_frame = conn.first_frame
    orig.segments = 1
    orig.history_seen = 1 << HISTORY_SYN
    orig.window_max = window
    if window == 0:
        orig.zero_windows = 1
        append_letter(conn, ORIG, HISTORY_ZERO_WINDOW)
    orig.last_ip_id = number(timestamp, IP_ID_AT, 16)
    orig.ttl = number(rest, TTL_AT, 8)
    orig.ttl_low = orig.ttl
    orig.ttl_high = orig.ttl
    orig.wscale = number(rest, WSCALE_AT, 4)
    if number(mark, HAS_TS_AT, 1):
        orig.last_tsval = number(timestamp, 0, 32)
        orig.first_tsval = orig.last_tsval
        orig.ts_run = 1


@kernel
def read_listener(st: KernelState, at: int, conn: Conn, resp: Any, mark: int) -> None:
    """What the SYN says about the endpoint that it was sent to, should it have arrived."""
    resp.rcv_nxt = (number(mark, ISS_AT, 32) + 1) & MASK
    resp.bits = RCV_KNOWN
    resp.mss_256 = number(word_at(st, at + TIME), MSS_AT, 8)
    if number(mark, HAS_TS_AT, 1):
        resp.bits |= TS_VALID
        resp.ts_recent = number(word_at(st, at + TIMESTAMP), 0, 32)
        resp.ts_recent_frame = conn.first_frame
