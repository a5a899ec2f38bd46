"""The rule pages: the same records that ``tcptrace-tw rules`` prints."""

from html import escape

from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import Grade, Rule
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY
from tests.docs import conditions, rule_pictures
from tests.docs.markdown import bullets, code, table

FAMILIES = {
    "TW": "the life of TIME-WAIT",
    "RU": "reuse of a 4-tuple",
    "PA": "timestamps",
    "LA": "LAST-ACK",
    "RS": "resets",
    "HS": "handshakes",
    "SI": "silence",
    "PE": "ports",
    "CP": "the capture itself",
}
"""What the first two letters of an id stand for; a family that is not here still gets its page."""


def families() -> list[str]:
    """The families that have rules, in the order of the catalogue."""
    return list(dict.fromkeys(rule.id[:2] for rule in RULES))


def title(family: str) -> str:
    """The heading of a family's page."""
    return f"{family}: {FAMILIES[family]}" if family in FAMILIES else family


def index() -> str:
    """All rules, one line each."""
    page = "# Rules\n\n"
    page += (
        "A rule is a record and a predicate over the rows of one table; `tcptrace-tw rules ID` prints the same.\n"
        "Severity says how bad it is: info is an ordinary mechanism and is only counted, notice is a hazard that can "
        "happen, warning a hazard that happened, error a failure or a delay of 1 s or longer that a user notices.\n"
        "Confidence says how sure it is: confirmed when the effect itself is in the capture, likely when cause and "
        "effect are there and one rival explanation remains, predicted when only the rule says so.\n"
        "The severity in the table is the usual one; the grading table of a rule can raise or lower it.\n"
    )
    for family in families():
        rows = [
            (f"[{rule.id}]({family}.md#{rule.id.lower()})", rule.name, SEVERITY.words[rule.severity], rule.summary)
            for rule in RULES
            if rule.id.startswith(family)
        ]
        page += f"\n## {title(family)}\n\n" + table(("id", "name", "severity", "meaning"), rows)
    return page


def family_page(family: str) -> str:
    """One family, one section per rule."""
    return f"# {title(family)}\n" + "".join(section(rule) for rule in RULES if rule.id.startswith(family))


def section(rule: Rule) -> str:
    """All there is to say about one rule."""
    text = f'\n<a id="{rule.id.lower()}"></a>\n\n## {rule.id} {rule.name}\n\n{rule.summary}\n\n'
    text += rule_pictures.reference(rule)
    text += "Reported if all of this holds:\n\n" + bullets(rule.set_when)
    if rule.not_set_when:
        text += "\nNot reported if:\n\n" + bullets(rule.not_set_when)
    if rule.needs:
        text += "\nNothing is said of a connection unless:\n\n" + bullets(rule.needs_in_words)
    text += "\nGraded by the first row that holds:\n\n" + _grades(rule)
    return text + "\n" + bullets(f"**{label}**: {fact}" for label, fact in _facts(rule)) + _in_code(rule)


def _grades(rule: Rule) -> str:
    rows = [
        (_because(grade), SEVERITY.words[grade.severity], CONFIDENCE.words[grade.confidence]) for grade in rule.grades
    ]
    return table(("because", "severity", "confidence"), rows)


def _because(grade: Grade) -> str:
    """The reason in words; without one, what the condition is called."""
    condition = conditions.text(grade.when)
    if condition == "otherwise":
        return f"otherwise: {grade.note}" if grade.note else "otherwise"
    return grade.note or conditions.meaning(grade.when) or code(condition)


def _in_code(rule: Rule) -> str:
    """The same as the code has it, folded: for those who work on a rule."""
    predicate = conditions.body(rule.predicate)
    lines = [("reported where", predicate)] if predicate else []
    lines += [
        (f"{SEVERITY.words[grade.severity]}, {CONFIDENCE.words[grade.confidence]}", conditions.text(grade.when))
        for grade in rule.grades
    ]
    rows = "".join(f"<li>{escape(label)}: <code>{escape(condition)}</code></li>" for label, condition in lines)
    return f"\n<details><summary>The conditions as the code has them</summary><ul>{rows}</ul></details>\n"


def _facts(rule: Rule) -> list[tuple[str, str]]:
    facts = [
        ("told apart in words", "; ".join(each.condition for each in rule.wordings)),
        ("remedy", " ".join([rule.remedy, *(f"*If {each.condition}:* {each.remedy}" for each in rule.advice)])),
        ("could also be", rule.rival),
        ("confirm on the host", f"`nstat -az {rule.counter}`" if rule.counter else ""),
        ("read", ", ".join(rule.rfc)),
        ("evidence frames", ", ".join(code(name) for name in rule.frames)),
        ("values", ", ".join(code(name) for name in rule.values)),
        ("table", f"[{rule.table}](../reference/tables.md#{rule.table})"),
        ("example", f"`fixtures/{rule.example}`"),
    ]
    return [(label, text) for label, text in facts if text]
