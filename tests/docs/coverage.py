"""RFC coverage: which clause is honoured where, and which test or fixture shows it.

A clause is cited in the source as ``RFC 9293 3.10.7.4``: in a comment, a docstring, a rule or a column. The page is
made of these citations; nothing is listed by hand.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tcptrace_tw.protocol.states import TRANSITIONS, state_name
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.columns import TABLES
from tests.docs.diagram import examples
from tests.docs.markdown import table

ROOT = Path(__file__).parent.parent.parent

CLAUSE = re.compile(r"\bRFC (\d{3,4})(?:,? (?:section )?(\d+(?:\.\d+)*|[A-Z]\.\d+|figure \d+|fig\. \d+))?")
MORE = re.compile(r"^(?:,| and| or)+ (\d+(?:\.\d+)+)")

TITLES = {
    "793": "Transmission Control Protocol (1981, obsoleted by RFC 9293)",
    "1122": "Requirements for Internet Hosts",
    "1337": "TIME-WAIT Assassination Hazards in TCP",
    "2018": "TCP Selective Acknowledgment Options",
    "2525": "Known TCP Implementation Problems",
    "2883": "An Extension to the SACK Option (D-SACK)",
    "3360": "Inappropriate TCP Resets Considered Harmful",
    "5961": "Improving TCP's Robustness to Blind In-Window Attacks",
    "6191": "Reducing the TIME-WAIT State Using TCP Timestamps",
    "6298": "Computing TCP's Retransmission Timer",
    "6528": "Defending against Sequence Number Attacks",
    "7323": "TCP Extensions for High Performance",
    "7413": "TCP Fast Open",
    "9293": "Transmission Control Protocol",
}
"""RFCs about TCP; what the readers of files and tunnels cite is not part of the page."""

Clause = tuple[str, str]


def page() -> str:
    """One section per RFC, one row per clause."""
    where, proved = honoured(), proofs()
    text = "# RFC coverage\n\n"
    text += (
        "Collected from the places that cite a clause: comments, docstrings, the table of transitions, columns and "
        "rules on the left, tests and fixtures on the right.\n"
    )
    for rfc in sorted({rfc for rfc, _ in where}, key=int):
        clauses = sorted((c for c in where if c[0] == rfc), key=_order)
        rows = [(clause or "as a whole", "<br>".join(where[rfc, clause]), "<br>".join(_tests(proved, rfc, clause)))
                for _, clause in clauses]  # fmt: skip
        text += f"\n## RFC {rfc}: {TITLES[rfc]}\n\n" + table(("clause", "honoured in", "shown by"), rows)
    return text


@cache
def honoured() -> dict[Clause, list[str]]:
    """Clause and the places of the package that cite it."""
    found: dict[Clause, dict[str, None]] = defaultdict(dict)
    for path in sorted((ROOT / "tcptrace_tw").rglob("*.py")):
        module = path.relative_to(ROOT / "tcptrace_tw").as_posix()
        for clause, name in citations(path):
            found[clause][f"`{module}` {name}".strip()] = None
    for t in TRANSITIONS:
        for clause in _clauses(f"RFC 9293 {t.source}") if t.source[0].isdigit() or t.source.startswith("fig") else ():
            found[clause]["`protocol/states.py` TRANSITIONS"] = None
    for each in TABLES:
        for column in each.columns:
            for clause in _clauses(column.rfc):
                found[clause][f"column `{each.name}.{column.name}`"] = None
    for rule in RULES:
        for clause in (clause for text in rule.rfc for clause in _clauses(text)):
            found[clause][f"rule [{rule.id}](../rules/{rule.id[:2]}.md#{rule.id.lower()})"] = None
    return {clause: list(names) for clause, names in found.items() if clause[0] in TITLES}


@cache
def proofs() -> dict[Clause, list[str]]:
    """Clause and the tests, scenarios and fixtures that cite it, or whose rule does."""
    found: dict[Clause, dict[str, None]] = defaultdict(dict)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if "docs" not in path.parts[-2:-1]:
            for clause, name in citations(path):
                found[clause][f"`{path.relative_to(ROOT).as_posix()}` {name}".strip()] = None
    for path in sorted((ROOT / "fixtures").glob("*/README.md")):
        for clause in _clauses(path.read_text()):
            found[clause][f"`fixtures/{path.parent.name}`"] = None
    for rule in RULES:
        for clause in (clause for text in rule.rfc for clause in _clauses(text)):
            found[clause][f"`fixtures/{rule.example}`"] = None
    for t in TRANSITIONS:
        example = examples().get((state_name(t.start), state_name(t.end)))
        for clause in _clauses(f"RFC 9293 {t.source}") if example else ():
            found[clause][f"`fixtures/{example}`"] = None
    return {clause: list(names) for clause, names in found.items()}


def _tests(proved: dict[Clause, list[str]], rfc: str, clause: str) -> list[str]:
    exact = proved.get((rfc, clause), [])
    return exact[:6] + ([f"and {len(exact) - 6} more"] if len(exact) > 6 else [])


def citations(path: Path) -> Iterator[tuple[Clause, str]]:
    """Each clause cited in a comment or a docstring of a file, with the function or class around it."""
    source = path.read_text()
    if "RFC" not in source:
        return
    tree = ast.parse(source)
    places = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in (tree, *places):
        for clause in _clauses(ast.get_docstring(node) or ""):
            yield clause, _name(getattr(node, "name", ""))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            for clause in _clauses(token.string):
                yield clause, _name(_around(places, token.start[0]))


def _around(places: list[ast.FunctionDef | ast.ClassDef], line: int) -> str:
    inside = [node for node in places if node.lineno <= line <= (node.end_lineno or 0)]
    return max(inside, key=lambda node: node.lineno).name if inside else ""


def _name(name: str) -> str:
    return f"`{name}`" if name else ""


def _clauses(text: str) -> Iterator[Clause]:
    for match in CLAUSE.finditer(text):
        clause = (match[2] or "").replace("fig. ", "figure ")
        yield match[1], clause
        rest = text[match.end() :]
        while clause[:1].isdigit() and (further := MORE.match(rest)):
            yield match[1], further[1]
            rest = rest[further.end() :]


def _order(clause: Clause) -> tuple[object, ...]:
    numbers = [int(part) for part in clause[1].split(".") if part.isdigit()]
    return (int(clause[0]), not clause[1], not numbers, numbers, clause[1])
