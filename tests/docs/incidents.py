"""The page about incidents: which findings belong together, and every sentence for several of them, filled in."""

from tcptrace_tw.report.summary.incidents import FEW_CLIENTS, MOST_TOLD
from tcptrace_tw.report.summary.strands import MOST
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.mechanisms import BESIDE, CONSEQUENCES, MECHANISMS, PROOFS, REASONS, SEVERAL, SEVERAL_IF

_EXAMPLE = {
    "count": "7",
    "client": "192.0.2.1",
    "service": "198.51.100.7:80",
    "actor": "192.0.2.1",
    "peer": "198.51.100.7:80",
    "?": "(probably) ",
}
_SIDE = ", and which side did it"
_NAMES = {rule.id: rule.name for rule in RULES}


def page() -> str:
    """Mechanisms, consequences and sentences as tables."""
    return (
        "# Incidents\n\n"
        "Findings above info with the same mechanism and the same parties are one incident.\n"
        "Of findings that are equally severe, the first rule of the row tells the story.\n"
        "A rule that is not named here has a mechanism of its own, about a service, and about which side did it where "
        "its sentence says who did it.\n"
        f"More than {FEW_CLIENTS} clients of a service with the same trouble are one incident.\n\n"
        "Incident 1 is the worst: severity decides, then whether it happened or is about the capture itself, then "
        "confidence, then time.\n"
        "So the first line of a report is the most serious thing that is most certain; what came first in time is not "
        "put before what is sure, and properties of the capture, which hold from its first frame, come behind.\n"
        "The numbers are the same in `report`, `check`, `show --incident N` and the tables, as long as rules, policy "
        "and connections are the same.\n\n"
        f"Memory is bounded: at most {MOST:,} groups of parties are told apart, beyond that clients and then services "
        f"are put together. A report tells {MOST_TOLD} incidents, the [table](tables.md#incidents) has all.\n\n"
        f"## What belongs together\n\n| mechanism | the same | rules |\n|---|---|---|\n{_mechanisms()}\n"
        "## What explains what\n\n"
        "On the same connection a finding goes to the incident of the rule that explains it.\n\n"
        f"| finding | is explained by |\n|---|---|\n{_consequences()}\n"
        "## What is said of several\n\nOne event is told in the words of its finding, several in these.\n\n"
        f"| rule | sentence |\n|---|---|\n{_sentences()}\n"
        "Where the worst of them share a wording (see the rule), in these:\n\n"
        f"| rule | if | sentence |\n|---|---|---|\n{_sentences_if()}\n"
        f"What a second rule adds:\n\n| rules | clause |\n|---|---|\n{_reasons()}\n"
        f"What findings of severity info add:\n\n| rule | clause |\n|---|---|\n{_beside()}"
    )


def _linked(rule: str) -> str:
    return f"[{rule}](../rules/{rule[:2]}.md#{rule.lower()})"


def _mechanisms() -> str:
    return "".join(
        f"| {each.name} | {each.about.value}{_SIDE if each.is_by_side else ''} | "
        f"{', '.join(map(_linked, each.rules))} |\n"
        for each in MECHANISMS
    )


def _consequences() -> str:
    return "".join(
        f"| {_linked(rule)} | {', '.join(map(_linked, causes))} |\n" for rule, causes in CONSEQUENCES.items()
    )


def _sentences() -> str:
    texts = ((rule, text.format(**_EXAMPLE)) for rule, text in SEVERAL.items())
    return "".join(f"| {_linked(rule)} {_NAMES[rule]} | {text[0].upper()}{text[1:]}. |\n" for rule, text in texts)


def _sentences_if() -> str:
    texts = ((rule, condition, text.format(**_EXAMPLE)) for (rule, condition), text in SEVERAL_IF.items())
    return "".join(
        f"| {_linked(rule)} {_NAMES[rule]} | {condition} | {text[0].upper()}{text[1:]}. |\n"
        for rule, condition, text in texts
    )


def _beside() -> str:
    return "".join(
        f"| {_linked(rule)} {_NAMES[rule]} | {each.clause or 'its own sentence'} |\n" for rule, each in BESIDE.items()
    )


def _reasons() -> str:
    told = {**REASONS, **PROOFS}
    return "".join(f"| {_linked(one)}, {_linked(other)} | {text} |\n" for (one, other), text in told.items())
