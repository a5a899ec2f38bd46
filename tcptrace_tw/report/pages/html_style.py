"""How the HTML looks: one style sheet for desk, phone and paper, light or dark as the reader's system is."""

import base64
import hashlib
from html import escape
from pathlib import Path

from tcptrace_tw.errors import printable
from tcptrace_tw.report.pictures.palette import classes, variables
from tcptrace_tw.report.pictures.svg import SHAPES

_HERE = Path(__file__).parent

SCRIPT = (_HERE / "page.js").read_text(encoding="utf-8")

STYLE = (
    f".tw {{ {variables(dark=False)} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ .tw {{ {variables(dark=True)} }} }}\n"
    f"{SHAPES}{classes()}\n{(_HERE / 'page.css').read_text(encoding='utf-8')}"
)

PAGE_STYLE = (_HERE / "alone.css").read_text(encoding="utf-8")


def cell(body: str) -> str:
    """What a notebook shows: the style comes with it."""
    return f'<div class="tw"><style>{STYLE}</style>{body}</div>'


def page(title: str, top: str, body: str, foot: str) -> str:
    """A whole page that needs nothing from outside, and runs no script but its own."""
    style = STYLE + PAGE_STYLE
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body>\n<div class="tw page">\n<a class="skip" href="#main">Skip to the conclusion</a>\n'
        f'<header class="top">{top}</header>\n<main id="main">\n{body}\n</main>\n<footer>{foot}</footer>\n</div>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _digest(source: str) -> str:
    """How the policy names the one text that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def text(value: object) -> str:
    """A text that can do no harm in HTML."""
    return escape(printable(str(value)), quote=True)


def facts(rows: list[tuple[str, str]]) -> str:
    """Labels and what they say."""
    return fact_rows([(label, text(said)) for label, said in rows])


def fact_rows(rows: list[tuple[str, str]]) -> str:
    """Labels and what they say, which is HTML already."""
    cells = "".join(f'<tr><th scope="row">{text(label)}</th><td>{said}</td></tr>' for label, said in rows)
    return f'<table class="facts"><tbody>{cells}</tbody></table>' if rows else ""


def pastes(rows: list[tuple[str, str]]) -> str:
    """Labels and lines to paste."""
    return fact_rows([(label, f"<code>{text(line)}</code>") for label, line in rows])


def sortable(caption: str, head: list[tuple[str, str]], rows: list[str]) -> str:
    """A table that a script makes sortable; ``head`` has names and classes, ``rows`` are whole elements."""
    if not rows:
        return ""
    cells = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{text(name)}</th>' for name, kind in head)
    return (
        f'<table class="sortable"><caption>{text(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
