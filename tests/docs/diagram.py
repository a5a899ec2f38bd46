"""The state diagram and the table of transitions, from ``protocol/states.py``."""

import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

from tcptrace_tw.protocol.states import TRANSITIONS, Event, State, T, state_name
from tcptrace_tw.schema.words import BASIS, EVENT
from tests.docs.markdown import table
from tests.docs.picture import EVERYWHERE

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"

_BASIS = {
    "sent": "The endpoint itself sent the segment.",
    "confirmed": "Receipt is proved: a later segment of the receiver acknowledges it or echoes its timestamp.",
    "assumed": "A segment that passed the tap is taken as received until something speaks against it.",
    "inferred": "The segment that caused it is not in the capture; a later one shows that it happened.",
    "midstream": "The first state of a connection whose opening was not captured.",
    "timer": "No segment: a timer of the profile ran out.",
}


def page() -> str:
    """Diagram, table, events and basis."""
    text = "# States\n\n"
    text += (
        "The diagram is figure 5 of RFC 9293 with what its text adds, drawn from the table of transitions below; "
        "the analysis looks states up in the same table.\n"
        "A RST and a later incarnation lead from every state to CLOSED; these arrows are left out of the picture.\n\n"
    )
    text += "![The states of a TCP endpoint and what moves it](states.svg)\n\n## Transitions\n\n"
    text += "A state that has no row for an event stays as it is.\n\n"
    rows = [
        (_from(group), EVENT.words[group[0].event], state_name(group[0].end), _source(group[0]), _example(group))
        for group in _grouped()
    ]
    text += table(("from", "event", "to", "source", "a fixture that passes there"), rows)
    text += "\n## How we know\n\n"
    text += (
        "Each row of the table `transitions` has a basis.\n"
        "A conclusion that proves wrong is taken back by a later row, whose column `retracts` names it.\n\n"
    )
    return text + table(("basis", "meaning"), [(word, _BASIS[word]) for word in BASIS.words])


@cache
def examples() -> dict[tuple[str, str], str]:
    """For each pair of states the first fixture with a history that passes from one to the other."""
    found: dict[tuple[str, str], str] = {}
    paths = sorted(
        FIXTURES.glob("*/expect.toml"), key=lambda path: ("-nearly" in path.parent.name, len(path.parent.name), path)
    )
    for path in paths:
        for connection in tomllib.loads(path.read_text()).get("connection", ()):
            for end in ("orig_history", "resp_history"):
                for pair in pairwise(connection.get(end, ())):
                    found.setdefault(pair, path.parent.name)
    return found


def _example(group: list[T]) -> str:
    names = [examples().get((state_name(t.start), state_name(t.end))) for t in group]
    return next((f"`fixtures/{name}`" for name in names if name), "")


def _grouped() -> list[list[T]]:
    groups: dict[tuple[Event, State, str], list[T]] = {}
    for t in TRANSITIONS:
        key = (t.event, t.end, t.source) if t.event in EVERYWHERE else (t.event, t.end, f"{t.source}/{t.start}")
        groups.setdefault(key, []).append(t)
    return list(groups.values())


def _from(group: list[T]) -> str:
    if len(group) > 3:
        missing = [state_name(state) for state in State if state not in {t.start for t in group}]
        return f"any but {', '.join(missing)}"
    return ", ".join(state_name(t.start) for t in group)


def _source(t: T) -> str:
    return f"RFC 9293 {t.source}" if t.source[0].isdigit() else t.source.replace("fig. 5", "RFC 9293 figure 5")
