"""What is said about random conversations is what was said before; ``python -m tests.conversations`` writes it."""

import pytest

from tests import conversations
from tests.scenario.play import why_unfit

KEPT = conversations.kept()
PARTS = [list(KEPT)[begin : begin + 20] for begin in range(0, len(KEPT), 20)]


@pytest.mark.parametrize("names", PARTS, ids=lambda names: names[0])
def test_random_conversations_are_read_as_before(names: list[str]) -> None:
    """Every column of every table, and the grades of the findings; by the fastest kernels that there are."""
    assert list(conversations.lines(names, compiled=not why_unfit())) == [KEPT[name] for name in names]
