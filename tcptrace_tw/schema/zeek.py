"""Zeek's vocabulary for a connection: the letters of ``history`` and the decision table of ``conn_state``.

A history travels in two int64 columns: 5 bits a letter, the first letter in the lowest bits of
``history_lo``, 12 letters each. The low four bits of a code are the letter's place in
``HISTORY_LETTERS`` plus one (0 is no letter); the fifth bit says that resp sent it (lower case).
"""

from typing import NamedTuple

HISTORY_LETTERS = "SHADFRCGTWIQ^X"
"""SYN, SYN+ACK, pure ACK, data, FIN, RST, bad checksum, gap, repeated text, zero window, FIN+RST, SYN+FIN or SYN+RST,
ends exchanged, partial. Not written are C, G and X: no checksum is tested, no text reassembled, no analysis given up."""

LETTER_BITS = 5
LETTERS_PER_COLUMN = 12
RESP_BIT = 16

# Plain integers for the kernels: the code of a letter when orig sent it; add RESP_BIT for resp.
(
    HISTORY_SYN,
    HISTORY_SYN_ACK,
    HISTORY_ACK,
    HISTORY_DATA,
    HISTORY_FIN,
    HISTORY_RST,
    HISTORY_CHECKSUM,
    HISTORY_GAP,
    HISTORY_RETRANSMIT,
    HISTORY_ZERO_WINDOW,
    HISTORY_FIN_RST,
    HISTORY_SYN_FIN,
    HISTORY_FLIPPED,
    HISTORY_PARTIAL,
) = range(1, len(HISTORY_LETTERS) + 1)


def pack(history: str) -> tuple[int, int]:
    """``history_lo`` and ``history_hi`` of a history; letters after the 24th are left out."""
    lo = hi = 0
    for i, letter in enumerate(history[: 2 * LETTERS_PER_COLUMN]):
        code = HISTORY_LETTERS.index(letter.upper()) + 1 + (RESP_BIT if letter.islower() else 0)
        if i < LETTERS_PER_COLUMN:
            lo |= code << LETTER_BITS * i
        else:
            hi |= code << LETTER_BITS * (i - LETTERS_PER_COLUMN)
    return lo, hi


def unpack(lo: int, hi: int) -> str:
    """The history that ``pack`` made two columns of."""
    letters = ""
    for column in (lo, hi):
        for i in range(LETTERS_PER_COLUMN):
            code = column >> LETTER_BITS * i & 31
            if not code & 15:
                return letters
            letter = HISTORY_LETTERS[(code & 15) - 1]
            letters += letter.lower() if code & RESP_BIT else letter
    return letters


class ConnState(NamedTuple):
    """One row of the decision table: where orig and resp are in one of these states, the word is ``word``.

    The states are Zeek's (TCP_INACTIVE ...), not the RFC's; an empty set stands for any.
    """

    word: str
    orig: frozenset[str] = frozenset()
    resp: frozenset[str] = frozenset()
    only: str = ""
    """A further condition: ``no-data`` (no payload either way), ``syn-then-rst`` (nothing of orig in between)."""


_SILENT = frozenset({"INACTIVE", "PARTIAL"})
_RESET, _CLOSED = frozenset({"RESET"}), frozenset({"CLOSED"})
_SYN_SENT, _ESTABLISHED = frozenset({"SYN-SENT"}), frozenset({"ESTABLISHED"})

# Zeek's conn_state() in base/protocols/conn, row by row; the first that fits decides.
CONN_STATES: tuple[ConnState, ...] = (
    ConnState("REJ", _SYN_SENT, _RESET),
    ConnState("REJ", _RESET, _RESET, "no-data"),
    ConnState("RSTRH", _SILENT, _RESET),
    ConnState("RSTR", resp=_RESET),
    ConnState("RSTOS0", _RESET, _SILENT, "syn-then-rst"),
    ConnState("OTH", _RESET, _SILENT),
    ConnState("RSTO", _RESET),
    ConnState("SF", _CLOSED, _CLOSED),
    ConnState("SH", _CLOSED, _SILENT),
    ConnState("S2", _CLOSED),
    ConnState("SHR", _SILENT, _CLOSED),
    ConnState("S3", resp=_CLOSED),
    ConnState("S0", _SYN_SENT, frozenset({"INACTIVE"})),
    ConnState("S1", _ESTABLISHED, _ESTABLISHED),
    ConnState("OTH"),
)


def conn_state(history: str) -> str:
    """Zeek's word for how a connection with this history went."""
    history = _until_closed(history)
    orig, resp = _orig_state(history), _resp_state(history)
    for row in CONN_STATES:
        fits = (not row.orig or orig in row.orig) and (not row.resp or resp in row.resp)
        if fits and _ONLY[row.only](history):
            return row.word
    raise AssertionError("the last row fits everything")


def _until_closed(history: str) -> str:
    """Without what follows a RST behind both FINs: the connection is closed for Zeek, and stays so."""
    for place, letter in enumerate(history):
        if letter in "Rr" and {"F", "f"} <= set(history[:place]):
            return history[:place]
    return history


def _orig_state(history: str) -> str:
    if "R" in history:
        return "RESET"
    if "F" in history:
        return "CLOSED"
    if "S" in history:
        return "ESTABLISHED" if "h" in history or "s" in history else "SYN-SENT"
    if "h" in history and any(letter in history for letter in "AD"):
        return "ESTABLISHED"  # the SYN was missed
    return "PARTIAL" if any(letter.isupper() for letter in history) else "INACTIVE"


def _resp_state(history: str) -> str:
    if "r" in history:
        return "RESET"
    if "f" in history:
        return "CLOSED"
    if "h" in history or "s" in history:
        return "ESTABLISHED"
    answered = set(filter(str.islower, history))
    if "S" in history:
        answered -= {"a", "w"}  # Zeek does not count a bare ACK of a SYN
    return "PARTIAL" if answered else "INACTIVE"


def _is_syn_then_rst(history: str) -> bool:
    sent = history.lstrip("^").split("R")[0]
    return sent.startswith("S") and not any(letter in sent for letter in "HAFGIQ")


_ONLY = {
    "": lambda history: True,
    "no-data": lambda history: "d" not in history.lower(),
    "syn-then-rst": _is_syn_then_rst,
}
