"""The catalogue of rules on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tcptrace_tw.errors import UsageError, hint, nearest
from tcptrace_tw.report.pages.page import Page
from tcptrace_tw.report.words.styles import SEVERITY_STYLES
from tcptrace_tw.rules.rule import Rule
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

_BESIDE = 120


def find(rules: Sequence[Rule], wanted: str) -> Rule:
    """The rule with this id or name; ``UsageError`` with a suggestion if there is none."""
    for rule in rules:
        if wanted.upper() == rule.id or wanted.lower() == rule.name:
            return rule
    known = [rule.id for rule in rules] + [rule.name for rule in rules]
    near = nearest(wanted, known)
    advice = f"did you mean {near}?" if near else "tcptrace-tw rules lists them"
    if len(wanted) < len("RU0"):
        advice = hint(wanted, dict.fromkeys(rule.id[:2] for rule in rules))
    raise UsageError(f"{wanted}: no such rule; {advice}")


def family(rules: Sequence[Rule], wanted: str) -> list[Rule]:
    """The rules whose ids begin so: ``RU`` is a family; nothing where ``wanted`` is one rule, or none."""
    found = [rule for rule in rules if rule.id.startswith(wanted.upper())]
    return found if wanted and (len(found) > 1 or (found and found[0].id != wanted.upper())) else []


def draw_all(rules: Sequence[Rule], console: Console) -> None:
    """One entry a rule, its meaning beside it or, on a narrow page, below it; and how to read on."""
    page = Page(console)
    words = [SEVERITY.words[rule.severity] for rule in rules]
    rows = [(word, rule.id, rule.name, rule.summary) for rule, word in zip(rules, words, strict=True)]
    if not rows:
        return
    if console.width >= _BESIDE:
        page.columns(rows, right=(), styles={0: [SEVERITY_STYLES[word] for word in words]})
    else:
        for word, number, name, summary in rows:
            head = Text.assemble("  ", (f"{word:9}", SEVERITY_STYLES[word]), (f"{number} {name}", "bold"))
            console.print(head, soft_wrap=True)
            page.columns([("", " " * 5, summary)], right=())
    console.print()
    page.paste("explain", f"tcptrace-tw rules {rules[0].id}")


def draw_one(rule: Rule, console: Console) -> None:
    """All there is to say about one rule."""
    page = Page(console)
    severity = SEVERITY.words[rule.severity]
    console.print(Text.assemble((f"{rule.id} {rule.name}", "bold"), "  ", (severity, SEVERITY_STYLES[severity])))
    page.line("meaning", rule.summary)
    for label, texts in (("reported if", rule.set_when), ("not if", rule.not_set_when)):
        for text in texts:
            page.line(label, text)
            label = ""
    label = "needs"
    for text in rule.needs_in_words:
        page.line(label, text)
        label = ""
    for grade in rule.grades:
        note = f": {grade.note}" if grade.note else ""
        page.line("graded", f"{SEVERITY.words[grade.severity]}, {CONFIDENCE.words[grade.confidence]}{note}")
    if rule.rival:
        page.line("could also be", rule.rival)
    page.line("remedy", rule.remedy)
    for advice in rule.advice:
        page.line("", f"if {advice.condition}: {advice.remedy}")
    if rule.counter:
        page.line("confirm with", f"nstat counter {rule.counter}")
    page.line("read", ", ".join(rule.rfc))
    page.line("example", f"fixtures/{rule.example}")
