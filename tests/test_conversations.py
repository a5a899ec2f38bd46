"""What is said about random conversations is what was said before; ``python -m tests.conversations`` writes it."""

import pytest

from tests import conversations

KEPT = {line.partition(":")[0]: line for line in conversations.FILE.read_text().splitlines()}
TENTHS = [
    range(begin, begin + conversations.CASES // 10)
    for begin in range(0, conversations.CASES, conversations.CASES // 10)
]


@pytest.mark.parametrize("numbers", TENTHS, ids=str)
def test_random_conversations_are_read_as_before(numbers: range) -> None:
    """Every column of every table, and the grades of the findings."""
    now = list(conversations.lines(numbers))

    assert now == [KEPT.get(line.partition(":")[0], "") for line in now]


def test_no_conversation_is_missing() -> None:
    """Those that are too long are left out."""
    assert len(KEPT) > conversations.CASES * 0.8
