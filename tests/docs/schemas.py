"""The JSON Schemas of what the commands print and of the policy, and the page that lists them."""

import json

from tcptrace_tw.checking.policy import Policy
from tcptrace_tw.report.checks.formats.json import CheckDigest, CheckedFinding
from tcptrace_tw.report.checks.json_schema import schema
from tcptrace_tw.report.summary.digest import Digest
from tests.docs.markdown import code, table

SCHEMAS = {
    "report": (Digest, "tcptrace-tw report --json"),
    "check": (CheckDigest, "tcptrace-tw check --format json"),
    "check-finding": (CheckedFinding, "tcptrace-tw check --format ndjson, each line"),
    "policy": (Policy, "tcptrace-tw.toml, or [tool.tcptrace-tw] of pyproject.toml"),
}
"""Name of the file, the class it is made of, and what it describes."""


def text(name: str) -> str:
    """One schema as its file holds it."""
    kind, title = SCHEMAS[name]
    return json.dumps(schema(kind, title), indent=1) + "\n"


def page() -> str:
    """The list of schemas, and the tables of the fields."""
    rows = [(f"[{name}.schema.json]({name}.schema.json)", code(title)) for name, (_, title) in SCHEMAS.items()]
    parts = [
        "# JSON\n\nEach of these has a JSON Schema (draft 2020-12), and tests hold the output against it.\n"
        "Fields are added in place; when one goes or changes its meaning, the schema version in the output rises.\n\n"
        + table(("schema", "describes"), rows)
    ]
    for name in ("check", "policy"):
        found = schema(*SCHEMAS[name])
        parts.append(f"\n## {name}\n\n{_section(found)}")
        for each, part in found["$defs"].items():
            parts.append(f"\n### {each}\n\n{_section(part)}")
    return "".join(parts)


def _section(found: dict) -> str:
    rows = [(code(name), _type(part), part.get("description", "")) for name, part in found["properties"].items()]
    return f"{found['description']}\n\n" + table(("field", "type", "meaning"), rows)


def _type(part: dict) -> str:
    if "$ref" in part:
        return part["$ref"].rsplit("/", 1)[1]
    if "const" in part or "enum" in part:
        return ", ".join(code(value) for value in part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return " or ".join(_type(each) for each in part["anyOf"])
    kinds = part.get("type", "any")
    if kinds == "array":
        return f"list of {_type(part['items'])}"
    if kinds == "object":
        return f"map to {_type(part.get('additionalProperties', {}))}"
    return " or ".join(kinds) if isinstance(kinds, list) else part.get("format", kinds)
