"""The pages of docs/: generated ones are current, printed blocks are what the commands print, links lead somewhere."""

import re

import pytest

from tcptrace_tw.rules import RULES
from tests.docs import blocks, catalogue, conditions, pages

PAGES = pages.all_pages()
BLOCKS = blocks.blocks()
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
STALE = "run: python -m tests.docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name):
    assert (pages.DOCS / name).read_text() == PAGES[name](), STALE


def test_the_site_has_an_entry_for_every_page():
    site = pages.site()
    written = {path.relative_to(pages.DOCS).as_posix() for path in pages.DOCS.rglob("*.md")}

    assert site == pages.SITE.read_text(), STALE
    assert set(re.findall(r'"([^"]+\.md)"', site)) == written


def test_no_page_of_a_rule_family_is_left_over():
    written = {f"rules/{path.name}" for path in (pages.DOCS / "rules").glob("*.md")}

    assert written == {name for name in PAGES if name.startswith("rules/")}, STALE


@pytest.mark.parametrize(("page", "command", "text"), BLOCKS, ids=[f"{page}:{command}" for page, command, _ in BLOCKS])
def test_a_block_is_what_the_command_prints(page, command, text):
    assert text == blocks.printed(command), STALE


@pytest.mark.parametrize(
    "path",
    [*sorted(pages.DOCS.rglob("*.md")), *sorted(pages.ROOT.glob("*.md"))],
    ids=lambda path: path.relative_to(pages.ROOT).as_posix(),
)
def test_links_lead_to_a_page_and_a_heading(path):
    for link in LINK.findall(path.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_its_section(rule):
    text = (pages.DOCS / f"rules/{rule.id[:2]}.md").read_text()

    assert f"## {rule.id} {rule.name}\n\n{rule.summary}\n" in text, STALE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_condition_of_a_grading_table_can_be_read(rule):
    shown = [conditions.text(grade.when) for grade in rule.grades]

    assert all(shown)
    assert "lambda" not in " ".join(shown)
    assert len(set(shown)) == len(shown)
    assert catalogue.section(rule)
