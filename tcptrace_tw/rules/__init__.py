"""The catalogue: one module per family, every rule listed once, in the order of the docs."""

from tcptrace_tw.rules import capture, handshake, last_ack, paws, ports, resets, reuse, silence, syn_answers, time_wait
from tcptrace_tw.rules.rule import Derived, Grade, Rule, RuleHits

RULES: tuple[Rule, ...] = (
    *time_wait.RULES,
    *reuse.RULES,
    *paws.RULES,
    *last_ack.RULES,
    *resets.RULES,
    *handshake.RULES,
    *silence.RULES,
    *ports.RULES,
    *capture.RULES,
)

DERIVED: tuple[Derived, ...] = (*paws.DERIVED, *resets.DERIVED, *syn_answers.DERIVED, *silence.DERIVED)

__all__ = ["DERIVED", "RULES", "Derived", "Grade", "Rule", "RuleHits"]
