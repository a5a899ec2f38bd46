"""The named numbers of rules/, tcp/, measure/ and flow.py are those that are written down."""

from tests import numbers


def test_no_number_is_changed_by_a_slip() -> None:
    """``python -m tests.numbers`` writes the file; commit it with the change that is meant."""
    assert numbers.lines() == numbers.FILE.read_text().splitlines()
