"""The pictures of the site are those that the tool draws today: some of them are drawn again."""

import pytest

from tcptrace_tw.rules import RULES
from tests.docs import rule_pictures

STALE = "run: python -m tests.docs.rule_pictures"
SOME = ("TW001", "RU004", "PA009", "LA001", "LA002", "RS001", "SI008", "HS001")


def test_every_rule_has_its_picture_and_none_is_left_over():
    written = {path.stem for path in rule_pictures.PICTURES.glob("*.svg")}

    assert written == {rule.id for rule in rule_pictures.rules_with_pictures()} | set(rule_pictures.FIRST_PAGE), STALE


@pytest.mark.parametrize("name", SOME)
def test_a_picture_of_a_rule_is_current(name, tmp_path):
    rule = next(rule for rule in RULES if rule.id == name)

    assert (rule_pictures.PICTURES / f"{name}.svg").read_text() == rule_pictures.of_rule(rule, tmp_path), STALE


@pytest.mark.parametrize("name", ["last-ack-states", "nat-latency", "nat-clocks", "retransmissions"])
def test_a_picture_of_the_first_pages_is_current(name, tmp_path):
    assert (rule_pictures.PICTURES / f"{name}.svg").read_text() == rule_pictures.of_first_page(name, tmp_path), STALE


def test_a_picture_on_a_page_has_a_text_alternative_with_numbers():
    for rule in rule_pictures.rules_with_pictures():
        said = rule_pictures.reference(rule)
        assert said.startswith("!["), rule.id
        assert any(letter.isdigit() for letter in said.split("](")[0]), rule.id
