"""Decision tables and profiles: first match wins, in the order of the code."""

import importlib
import pkgutil
from collections.abc import Iterator
from html import escape
from typing import Any

import tcptrace_tw.rules.decisions
from tcptrace_tw.protocol.profiles import NS, PROFILES, Profile, Restart, syn_acceptance_table
from tcptrace_tw.protocol.timeouts import FIN_THEN, IDLE_TIMEOUTS, RST_NEXT, RST_THEN, SILENT
from tcptrace_tw.rules import DERIVED, RULES
from tcptrace_tw.rules.rule import Case
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.schema.words import ACCEPTANCE
from tcptrace_tw.schema.zeek import CONN_STATES
from tests.docs import conditions
from tests.docs.markdown import code, table, yes

_RESTARTS = {
    "repeated_fin": "a retransmitted FIN from the peer",
    "exact_ack": "a bare ACK at RCV.NXT",
    "other_ack": "any other segment with ACK",
    "stale": "a segment with a stale timestamp",
    "refused_syn": "a SYN that is rejected because of its ISN",
    "stale_syn": "a SYN that is rejected because of its timestamp",
}
_VERDICTS = {
    "accept": "accepted",
    "challenge": "challenge ACK",
    "paws-reject": "challenge ACK, 2MSL timer restarted",
    "drop": "dropped without an answer",
}


def page() -> str:
    """All decision tables."""
    text = "# Decision tables\n\nEach table is one in the code, in the same order: the first matching row decides.\n"
    text += "\n## SYN into TIME-WAIT\n\n"
    text += (
        "How a host in TIME-WAIT answers a SYN from its peer (RFC 6191; RFC 9293 3.10.7.4).\n"
        "TSval is compared with the last one of the previous connection, the ISN with RCV.NXT.\n\n"
    )
    text += _syn_table()
    text += (
        '\n<a id="what-makes-2msl-begin-anew"></a>\n\n## Segments that restart the 2MSL timer\n\n' + _restart_table()
    )
    text += "\n## A SYN on a 4-tuple with a previous connection\n\n"
    text += "Each such SYN is one row of `reuses`; these rules read it.\n\n"
    text += table(
        ("rule", "name", "meaning"),
        [(_link(rule.id), rule.name, rule.summary) for rule in RULES if rule.table == "reuses"],
    )
    for title, intro, cases, words in case_tables():
        rows = [(_why(case), code(words[case.verdict])) for case in cases]
        text += f"\n## {title}\n\n{intro}\n\n" + table(("because", "verdict"), rows) + _in_code(cases, words)
    return text + "\n## Zeek's conn_state\n\n" + _conn_states()


def case_tables() -> Iterator[tuple[str, str, tuple[Any, ...], tuple[str, ...]]]:
    """Every tuple of cases (``when``, ``verdict``) in a module of rules/decisions/, with the words of its column."""
    for module in _table_modules():
        derived = {d.column: d for d in DERIVED if d.decide.__module__ == module.__name__}
        for name, value in vars(module).items():
            used = next((d for d in derived.values() if name in d.decide.__code__.co_names), None)
            if used is None or not _is_case_table(value):
                continue
            words = BY_NAME[used.table].column(used.column).words
            assert words is not None
            intro = f"Fills the column `{used.column}` of `{used.table}`, for each {BY_NAME[used.table].row}."
            yield name.replace("_", " ").capitalize(), intro, value, words.words


def _table_modules() -> Iterator[Any]:
    for info in pkgutil.iter_modules(tcptrace_tw.rules.decisions.__path__):
        yield importlib.import_module(f"tcptrace_tw.rules.decisions.{info.name}")


def _is_case_table(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Case)


def _why(case: Any) -> str:
    """The reason in words; without one, what the condition is called."""
    condition = conditions.text(case.when)
    said = getattr(case, "why", "") or conditions.meaning(case.when)
    if condition == "otherwise":
        return f"otherwise: {said}" if getattr(case, "why", "") else "otherwise"
    return said or code(condition)


def _in_code(cases: tuple[Any, ...], words: tuple[str, ...]) -> str:
    """The same as the code has it, folded: for those who work on the table."""
    lines = [(words[case.verdict], conditions.text(case.when)) for case in cases]
    rows = "".join(f"<li>{escape(word)}: <code>{escape(condition)}</code></li>" for word, condition in lines)
    for name, meaning in conditions.helpers([case.when for case in cases]):
        rows += f"<li><code>{escape(name)}</code>: {escape(meaning)}</li>"
    return f"\n<details><summary>The conditions as the code has them</summary><ul>{rows}</ul></details>\n"


def _link(rule_id: str) -> str:
    return f"[{rule_id}](../rules/{rule_id[:2]}.md#{rule_id.lower()})"


def _syn_groups() -> dict[str, list[Profile]]:
    groups: dict[str, list[Profile]] = {}
    for profile in PROFILES:
        groups.setdefault(repr(profile.syn_rules), []).append(profile)
    return groups


def _syn_table() -> str:
    groups = list(_syn_groups().values())
    lookups = [syn_acceptance_table(group[0]) for group in groups]
    head = (
        "old connection had timestamps",
        "SYN has timestamps",
        "TSval",
        "ISN",
        *(", ".join(p.name for p in g) for g in groups),
    )
    rows: list[tuple[str, ...]] = []
    for old_ts in (1, 0):
        for new_ts in (1, 0):
            for sign, word in ((1, "newer"), (0, "equal"), (-1, "older")) if old_ts and new_ts else ((0, "-"),):
                for isn, above in ((1, "above"), (0, "not above")):
                    verdicts = [_VERDICTS[ACCEPTANCE.words[t[old_ts, new_ts, sign + 1, isn]]] for t in lookups]
                    rows.append((yes(old_ts), yes(new_ts), word, above, *verdicts))
    return table(head, rows)


def _restart_table() -> str:
    head = ("segment into TIME-WAIT", *(profile.name for profile in PROFILES))
    rows = [
        (_RESTARTS[field], *(yes(getattr(profile.restart, field)) for profile in PROFILES)) for field in Restart._fields
    ]
    rows.append(("an exact RST ends TIME-WAIT", *(yes(profile.is_rst_fatal) for profile in PROFILES)))
    rows.append(("timestamps are checked in TIME-WAIT", *(yes(p.is_paws_in_time_wait) for p in PROFILES)))
    return table(head, rows)


def _conn_states() -> str:
    text = (
        "The states are Zeek's, not the RFC's: INACTIVE has sent nothing, PARTIAL began without a SYN, CLOSED has sent "
        "a FIN, RESET a RST.\n\n"
    )
    rows = [
        (
            ", ".join(sorted(row.orig)) or "any",
            ", ".join(sorted(row.resp)) or "any",
            row.only.replace("-", " "),
            row.word,
        )
        for row in CONN_STATES
    ]
    return text + table(("orig", "resp", "and only if", "conn_state"), rows)


def profiles_page() -> str:
    """The profiles."""
    text = "# Profiles\n\n"
    text += (
        "`--profile NAME` says how the hosts of the capture behave; `--two-msl SECONDS` replaces the profile's 2MSL.\n"
        "Where the stack is not known, keep in mind that 2MSL is between 30 s and 240 s on common hosts.\n\n"
    )
    rows = [
        (
            code(p.name),
            p.title,
            f"{p.two_msl_ns / NS:g} s",
            f"{p.slack_ns / NS:g} s" if p.slack_ns else "-",
            f"{p.paws_tolerance}",
            _span(p.paws_idle_ns),
            yes(p.passes_fin_wait_2),
            p.source,
        )
        for p in PROFILES
    ]
    head = ("profile", "stack", "2MSL", "lasts longer by up to", "timestamp tolerance, ticks", "TS.Recent is valid for",
            "FIN and ACK of FIN in one segment pass FIN-WAIT-2", "source")  # fmt: skip
    text += table(head, rows)
    return (
        text
        + "\nWhat restarts and ends TIME-WAIT in each profile stands in the [decision tables](decision-tables.md).\n"
    )


def _span(ns: int) -> str:
    seconds = ns // NS
    return f"{seconds // 86_400} days" if seconds % 86_400 == 0 else f"{seconds} s"


def timeouts_page() -> str:
    """The idle timeouts that are known."""
    shows = {
        SILENT: "the next segment is not answered",
        RST_NEXT: "the next segment is answered by RST",
        RST_THEN: "a RST when the time is over",
        FIN_THEN: "a FIN when the time is over",
    }
    rows = [
        (f"{each.seconds} s", each.who, "; ".join(shows[how] for how in each.shows), f"[source]({each.source})")
        for each in IDLE_TIMEOUTS
    ]
    intro = (
        "# Idle timeouts\n\nDefaults of programs and devices, which the findings on silence (SI006 to SI009) name as "
        "candidates.\nAll of them can be changed, so what fits is no proof.\n\n"
    )
    return intro + table(("silence", "whose", "how it shows", "written in"), rows)
