"""Text that was sent and not captured: a filter on SYN, FIN and RST hides all of it, a tap may lose a stretch of it.

Then the FIN lies far ahead of all that was captured. It is believed where nothing but SYN, FIN and RST was captured of
the connection, and where its ACK field is one that its sender could have sent: one number vouches for the other.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.schema.columns import ACK, FIN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.store.records import FIN_SENT, NXT_KNOWN, SAW_PLAIN, Conn, Tcb


@kernel
def is_fin_behind_hidden_text(conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a segment is the first FIN of its sender, however many bytes before it were not captured."""
    flags = seg.flags
    if flags & FIN == 0 or snd.bits & FIN_SENT:
        return False
    if conn.bits & SAW_PLAIN == 0:
        return True
    is_ahead = seq_diff(seg.seq, snd.snd_nxt) >= 0
    if flags & ACK == 0 or rcv.bits & NXT_KNOWN == 0 or not is_ahead:
        return False
    unacked = seq_diff(rcv.snd_nxt, rcv.snd_una)
    return 0 <= seq_diff(seg.ack, rcv.snd_una) <= unacked


@kernel
def pass_hidden_text(conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """A FIN is the next thing that its sender sends and its receiver expects, where the text was filtered away."""
    if conn.bits & SAW_PLAIN == 0 and is_fin_behind_hidden_text(conn, snd, rcv, seg):
        snd.snd_nxt = seg.seq
        rcv.rcv_nxt = seg.seq


@kernel
def hides_text(conn: Conn, rcv: Tcb) -> bool:
    """Whether any ACK field may be right: no text was captured, and the peer has not closed."""
    return conn.bits & SAW_PLAIN == 0 and rcv.bits & FIN_SENT == 0
