"""Events of the kernel to lives of connections: what `truth.json` is made of.

The kernel keeps one RFC connection in up to three structures (request socket,
socket, timewait entry). They are followed by pointer and joined by tuple, so
that the end of an old life and the start of a new one on the same tuple do not
mix.
"""

import dataclasses

from tests.lab import kernel_programs as programs
from tests.lab.kernel_record import POLLED
from tests.lab.segment import FIN, RST, endpoint

HANDOVER_S = 0.001  # the kernel replaces one structure by the next within this time
LOCAL_S = 0.0001  # no answer comes back as fast as connect() fails by itself
FREED_S = 0.001  # from the change that a segment made to the end of the segment
TOLD_TWICE_S = 0.0002  # the timer and the segment that started it are one event


@dataclasses.dataclass
class Incarnation:
    """One life of one endpoint."""

    host: str
    local: tuple
    peer: tuple
    open: str
    transitions: list = dataclasses.field(default_factory=list)
    timewait: "Timewait | None" = None

    @property
    def state(self):
        return self.transitions[-1][2]

    @property
    def key(self):
        return self.host, self.local, self.peer

    def move(self, time, new, source):
        """Append a transition unless the state is already there."""
        if self.state != new:
            self.transitions.append((time, self.state, new, source))

    def history(self):
        return [self.transitions[0][1]] + [new for _, _, new, _ in self.transitions]


@dataclasses.dataclass
class Timewait:
    """The kernel's timewait entry of a life; `entered` when it really became TIME-WAIT."""

    life: Incarnation
    created: float
    starts: list
    entered: float | None = None
    restarts: int = 0
    end: float | None = None
    reason: str | None = None


class Historian:
    """Replays the events in order; the result is `lives` and `local_failures`."""

    def __init__(self, events, is_polled=True):
        self.is_polled = is_polled
        self.lives, self.local_failures, self.drops = [], [], []
        self.ambiguous, self.unexplained = [], []  # polled changes with several causes, or with none
        self.by_pointer, self.entries, self.requests, self.connecting = {}, {}, {}, {}
        self.current = {}
        for event in sorted(events, key=_when_known):
            self.take(event)
        self.lives.sort(key=lambda life: life.transitions[0][0])

    def take(self, event):
        """One event, by its kind."""
        if event.kind == programs.SET_STATE:
            self._set_state(event)
        elif event.kind in (programs.REQ_START, programs.REQ_CANCEL):
            self._request(event)
        elif event.kind in (programs.TW_START, programs.TW_CANCEL, programs.TW_EXPIRE):
            self._timewait(event)
        elif event.kind == POLLED:
            self._polled(event)
        elif event.kind == programs.DROP:
            self._drop(event)

    # full sockets

    def _set_state(self, event):
        if event.old == "CLOSED" and event.new == "SYN-SENT":
            self.connecting[event.pointer] = event
            self.by_pointer.pop(event.pointer, None)
            if event.local[1]:
                self._start_active(event)
        elif event.old == "LISTEN" and event.new == "SYN-RECEIVED":
            self.by_pointer[event.pointer] = self._passive(event, "set_state")
        elif "LISTEN" not in (event.old, event.new):
            self._move_socket(event)

    def _start_active(self, event):
        first = self.connecting.pop(event.pointer)
        life = Incarnation(
            event.host, event.local, event.peer, "active", [(first.time, "CLOSED", "SYN-SENT", "set_state")]
        )
        self._begin(life)
        self.by_pointer[event.pointer] = life

    def _move_socket(self, event):
        if event.pointer in self.connecting:  # an automatic port shows only after connect() has chosen it
            if not event.local[1]:
                self.local_failures.append(self.connecting.pop(event.pointer))
                return
            self._start_active(event)
        life = self.by_pointer.get(event.pointer)
        if life is None:
            return
        if event.new == "CLOSED" and life.timewait and event.time - life.timewait.created < HANDOVER_S:
            return  # the socket goes, its timewait entry stays
        if event.old == "SYN-SENT" and event.new == "CLOSED" and event.time - life.transitions[0][0] < LOCAL_S:
            self._forget(life, event)
            return
        if event.old == "SYN-SENT" and event.new == "SYN-RECEIVED":
            life.open = "simultaneous"
        life.move(event.time, event.new, "set_state")

    def _forget(self, life, event):
        """connect() failed before it sent anything: there was no connection."""
        self.local_failures.append(event)
        self.lives.remove(life)
        earlier = [other for other in self.lives if other.key == life.key]
        if earlier:
            self.current[life.key] = earlier[-1]

    def _begin(self, life):
        self.lives.append(life)
        self.current[life.key] = life

    # request sockets

    def _passive(self, event, source):
        """The life that a request socket or its child belongs to."""
        life = self.current.get((event.host, event.local, event.peer))
        if life is None or life.state != "SYN-RECEIVED" or life.open != "passive":
            life = Incarnation(
                event.host, event.local, event.peer, "passive", [(event.time, "LISTEN", "SYN-RECEIVED", source)]
            )
            self._begin(life)
        return life

    def _request(self, event):
        if event.kind == programs.REQ_START:
            self.requests[event.pointer] = self._passive(event, "request_sock")
            return
        if not _is_deleted(event):
            return
        life = self.requests.pop(event.pointer, None)
        was_handed_over = any(other is life for other in self.by_pointer.values())
        if life and life.state == "SYN-RECEIVED" and not was_handed_over:
            life.move(event.time, "LISTEN", "request_sock")

    # timewait entries

    def _timewait(self, event):
        entry = self.entries.get(event.pointer)
        if event.kind == programs.TW_START:
            if entry is None or entry.end is not None:
                self._enter(event)
            else:
                self._restart(entry, event.time, event.new, "timewait_timer")
        elif entry is not None and event.kind == programs.TW_EXPIRE:
            self._end(entry, event.time, "expired", "timewait_expired")
        elif entry is not None and _is_deleted(event):
            if event.new == "TIME-WAIT" and entry.entered is None:  # the change itself left no event
                self._restart(entry, event.time, event.new, "timewait_killed")
            self._end(entry, event.time, _why_killed(event), "timewait_killed")

    def _enter(self, event):
        life = self.current[event.host, event.local, event.peer]
        if life.open == "active" and life.state == "SYN-SENT" and len(self.lives) > 1:
            life = next(other for other in reversed(self.lives) if other.key == life.key and other is not life)
        entry = Timewait(life, created=event.time, starts=[event.time])
        life.timewait = self.entries[event.pointer] = entry
        life.move(event.time, event.new, "timewait_sock")
        if event.new == "TIME-WAIT":
            entry.entered = event.time

    def _restart(self, entry, time, substate, source):
        if time - entry.starts[-1] < TOLD_TWICE_S:  # the same start, told by another witness
            return
        entry.starts.append(time)
        if substate == "TIME-WAIT" and entry.entered is None:
            entry.entered = time
            entry.life.move(time, substate, source)
        else:
            entry.restarts += 1

    def _polled(self, event):
        """A change seen by polling; the segment that was freed in between gives its exact time."""
        lives = [life for life in self.lives if life.key == (event.host, event.local, event.peer) and life.timewait]
        entry = lives[-1].timewait if lives else None
        if entry is None or self._is_told(entry, event):
            return
        causes = [drop.time for drop in self.drops if self._may_have_caused(drop, event, entry)]
        if not causes and not event.is_certain:
            return
        if len(causes) != 1:
            (self.ambiguous if causes else self.unexplained).append(event)
        source = "sock_diag+kfree_skb" if causes else "sock_diag"
        self._restart(entry, causes[-1] if causes else event.time, event.new, source)

    def _is_told(self, entry, event):
        """Whether a timer event has told the change already."""
        if event.new != event.old:
            return event.new == "TIME-WAIT" and entry.entered is not None
        return any(event.since - 0.005 <= start <= event.time for start in entry.starts)

    def _may_have_caused(self, drop, event, entry):
        is_in_time = event.since - 0.001 <= drop.time <= event.time + FREED_S
        is_known = any(abs(drop.time - start) < TOLD_TWICE_S for start in entry.starts)
        return (drop.local, drop.peer) == (event.local, event.peer) and is_in_time and not is_known

    def _drop(self, event):
        """A segment was freed; some restarts are told by nothing else.

        A SYN refused by PAWS restarts its entry, but the RST that follows may kill it before the next poll. Without
        polling, a FIN that an entry took in tells of its TIME-WAIT.
        """
        self.drops.append(event)
        life = self.current.get((event.host, event.local, event.peer))
        if life is None or life.timewait is None:
            return
        entry = life.timewait
        is_refused = programs.drop_reason(event.reason) == "TCP_RFC7323_TW_PAWS" and not event.segment.has(RST)
        if is_refused:  # the answer's RST may have come before the segment was freed
            self._restart(entry, min(event.time, entry.end or event.time), "TIME-WAIT", "kfree_skb")
        elif not self.is_polled and event.segment.has(FIN) and entry.end is None:
            self._restart(entry, event.time, "TIME-WAIT", "kfree_skb")

    def _end(self, entry, time, reason, source):
        if entry.end is not None:
            return
        entry.end, entry.reason = time, reason
        if reason != "capture-end":
            entry.life.move(time, "CLOSED", source)


def _when_known(event):
    """Order of the events; a segment is freed a moment after it has changed the entry that is polled."""
    return event.time + FREED_S if event.kind == POLLED else event.time


def _is_deleted(event):
    """True when a cancelled timer was taken away, not moved and not about to run."""
    return "detach_if_pending" in event.callers and "__mod_timer" not in event.callers


def _why_killed(event):
    """The end reason of a killed timewait entry, from the functions that killed it."""
    callers = event.callers
    if any(name.endswith(("hash_connect", "check_established")) for name in callers):
        return "reused-by-holder"
    if "tcp_timewait_state_process" in callers:
        return "assassinated"
    if "inet_twsk_purge" in callers:
        return "capture-end"
    if any(name in ("tcp_v4_rcv", "tcp_v6_rcv") for name in callers):
        return "reopened-by-peer" if event.new == "TIME-WAIT" else "reset"
    return "unknown"


def endpoints(lives):
    """The `endpoints` list of the truth file."""
    found = {}
    for life in lives:
        row = found.setdefault(
            life.key, {"local": endpoint(*life.local), "peer": endpoint(*life.peer), "incarnations": []}
        )
        row["incarnations"].append(
            {
                "open": life.open,
                "history": life.history(),
                "transitions": [
                    {"time": round(time, 6), "from": old, "to": new, "source": source}
                    for time, old, new, source in life.transitions
                ],
            }
        )
    return list(found.values())


def time_wait(lives):
    """The `time_wait` list of the truth file: entries that really became TIME-WAIT."""
    return [_span(life) for life in lives if life.timewait and life.timewait.entered is not None]


def _span(life):
    entry = life.timewait
    ended = entry.end if entry.reason != "capture-end" else None
    return {
        "endpoint": endpoint(*life.local),
        "peer": endpoint(*life.peer),
        "entered": round(entry.entered, 6),
        "end": ended and round(ended, 6),
        "end_reason": entry.reason or "capture-end",
        "restarts": entry.restarts,
        "timer_starts": [round(start, 6) for start in entry.starts],
    }
