"""Decision tables: each fills one column of a row, the first case that holds decides, and rules read the column."""

from tcptrace_tw.rules.decisions import connect_suspects, reset_causes, stale_segments, syn_answers
from tcptrace_tw.rules.rule import Derived

DERIVED: tuple[Derived, ...] = (
    *stale_segments.DERIVED,
    *reset_causes.DERIVED,
    *syn_answers.DERIVED,
    *connect_suspects.DERIVED,
)

__all__ = ["DERIVED"]
