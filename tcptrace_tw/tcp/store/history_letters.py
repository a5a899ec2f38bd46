"""The history of a connection in its record: Zeek's letters, five bits each, and Wireshark's completeness."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.zeek import LETTER_BITS, LETTERS_PER_COLUMN, RESP_BIT
from tcptrace_tw.tcp.store.records import Conn

# Wireshark's tcp.completeness.
DONE_SYN, DONE_SYN_ACK, DONE_ACK, DONE_DATA, DONE_FIN, DONE_RST = (1 << i for i in range(6))


@kernel
def append_letter(conn: Conn, side: int, code: int) -> None:
    """Write a letter behind the others; there is room for 24."""
    n = conn.history_len
    packed = code | (RESP_BIT if side else 0)
    if n < LETTERS_PER_COLUMN:
        conn.history_lo |= packed << (LETTER_BITS * n)
    elif n < 2 * LETTERS_PER_COLUMN:
        conn.history_hi |= packed << (LETTER_BITS * (n - LETTERS_PER_COLUMN))
    conn.history_len = min(n + 1, 255)
