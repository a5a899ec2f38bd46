"""The state diagram as SVG: the places are drawn by hand, the arrows come from the table of transitions."""

from collections import defaultdict
from html import escape
from math import hypot

from tcptrace_tw.protocol.states import TRANSITIONS, Event, State, state_name
from tcptrace_tw.schema.words import EVENT

EVERYWHERE = frozenset({Event.SND_RST, Event.RCV_RST, Event.SUPERSEDED})
"""Events that lead from nearly every state to CLOSED: not drawn."""

Place = tuple[float, float]

PLACES: dict[State, Place] = {
    State.CLOSED: (560, 40),
    State.LISTEN: (500, 150),
    State.SYN_SENT: (790, 220),
    State.SYN_RECEIVED: (150, 250),
    State.ESTABLISHED: (590, 370),
    State.FIN_WAIT_1: (150, 490),
    State.CLOSE_WAIT: (790, 490),
    State.FIN_WAIT_2: (80, 640),
    State.CLOSING: (430, 610),
    State.LAST_ACK: (790, 620),
    State.TIME_WAIT: (270, 770),
}
CLOSED_AGAIN: Place = (790, 770)
"""CLOSED stands twice, as in the RFC's figure: where lives begin and where they end."""

_SIZE = (930, 820)
_BOX = (62, 17)
_LABEL_AT: dict[tuple[State, State], float] = {
    (State.CLOSED, State.SYN_SENT): 0.35,
    (State.FIN_WAIT_1, State.TIME_WAIT): 0.36,
    (State.LISTEN, State.SYN_RECEIVED): 0.15,
    (State.SYN_RECEIVED, State.LISTEN): 0.42,
    (State.FIN_WAIT_1, State.FIN_WAIT_2): 0.4,
}
_STYLE = (
    "text{font:12px sans-serif;text-anchor:middle;fill:#1a1a1a}.s{font-weight:600}"
    ".l{font-size:11px;stroke:#fff;stroke-width:5;paint-order:stroke;stroke-linejoin:round}"
    "rect.b{fill:#eef2ff;stroke:#4051b5}line{stroke:#555;marker-end:url(#a)}"
)


def svg() -> str:
    """The picture."""
    width, height = _SIZE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>The states of a TCP endpoint and what moves it</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>',
    ]
    drawn = arrows()
    ends = {pair: _ends(*pair, (pair[1], pair[0]) in drawn) for pair in drawn}
    lines += [f'<line x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}"/>' for (a, b), (c, d) in ends.values()]
    for pair, events in drawn.items():
        lines += _label(*ends[pair], _LABEL_AT.get(pair, 0.5), events)
    for state, place in (*PLACES.items(), (State.CLOSED, CLOSED_AGAIN)):
        lines += _box(state, place)
    return "\n".join([*lines, "</svg>"]) + "\n"


def arrows() -> dict[tuple[State, State], list[str]]:
    """The events that lead from one state to another."""
    found: dict[tuple[State, State], list[str]] = defaultdict(list)
    for t in TRANSITIONS:
        if t.event not in EVERYWHERE:
            found[t.start, t.end].append(EVENT.words[t.event])
    return dict(found)


def _ends(start: State, end: State, is_two_way: bool) -> tuple[Place, Place]:
    a = PLACES[start]
    b = CLOSED_AGAIN if end is State.CLOSED and start not in (State.SYN_SENT, State.SYN_RECEIVED) else PLACES[end]
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = hypot(dx, dy)
    shift = 9 if is_two_way else 0
    sx, sy = -dy / length * shift, dx / length * shift
    return _leave(a, dx, dy, (sx, sy)), _leave(b, -dx, -dy, (sx, sy))


def _leave(place: Place, dx: float, dy: float, shift: Place) -> Place:
    """Where a line from beside a box's centre crosses its border."""
    scales = []
    for half, step, off in zip(_BOX, (dx, dy), shift, strict=True):
        if step:
            scales.append((half - off if step > 0 else half + off) / abs(step))
    scale = min(scales)
    return place[0] + shift[0] + dx * scale, place[1] + shift[1] + dy * scale


def _label(a: Place, b: Place, at: float, events: list[str]) -> list[str]:
    x, y = a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at
    return [
        f'<text class="l" x="{x:.0f}" y="{y + 4 + 13 * (i - (len(events) - 1) / 2):.0f}">{escape(event)}</text>'
        for i, event in enumerate(events)
    ]


def _box(state: State, place: Place) -> list[str]:
    (x, y), (half_width, half_height) = place, _BOX
    return [
        f'<rect class="b" x="{x - half_width:.0f}" y="{y - half_height:.0f}" width="{2 * half_width}" '
        f'height="{2 * half_height}" rx="6"/>',
        f'<text class="s" x="{x:.0f}" y="{y + 4:.0f}">{state_name(state)}</text>',
    ]
