"""The rule pages: the same records that ``tcptrace-tw rules`` prints."""

from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import Rule
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY
from tests.docs import conditions
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
    text += "Reported if all of this holds:\n\n" + bullets(rule.set_when)
    if rule.not_set_when:
        text += "\nNot reported if:\n\n" + bullets(rule.not_set_when)
    if rule.needs:
        text += "\nNothing is said of a connection unless:\n\n" + bullets(rule.needs_in_words)
    text += "\nGraded by the first row that holds:\n\n" + _grades(rule)
    return text + "\n" + bullets(f"**{label}**: {fact}" for label, fact in _facts(rule))


def _grades(rule: Rule) -> str:
    rows = [
        (
            _when(conditions.text(grade.when)),
            SEVERITY.words[grade.severity],
            CONFIDENCE.words[grade.confidence],
            grade.note or conditions.meaning(grade.when) * (conditions.text(grade.when) != "otherwise"),
        )
        for grade in rule.grades
    ]
    return table(("where", "severity", "confidence", "because"), rows)


def _when(condition: str) -> str:
    return condition if condition == "otherwise" else code(condition)


def _facts(rule: Rule) -> list[tuple[str, str]]:
    predicate = conditions.body(rule.predicate)
    facts = [
        ("told apart in words", "; ".join(each.condition for each in rule.wordings)),
        ("remedy", " ".join([rule.remedy, *(f"*If {each.condition}:* {each.remedy}" for each in rule.advice)])),
        ("could also be", rule.rival),
        ("confirm on the host", f"`nstat -az {rule.counter}`" if rule.counter else ""),
        ("read", ", ".join(rule.rfc)),
        ("evidence frames", ", ".join(code(name) for name in rule.frames)),
        ("values", ", ".join(code(name) for name in rule.values)),
        ("table", f"[{rule.table}](../reference/tables.md#{rule.table})"),
        ("predicate", code(predicate) if predicate else ""),
        ("example", f"`fixtures/{rule.example}`"),
    ]
    return [(label, text) for label, text in facts if text]
