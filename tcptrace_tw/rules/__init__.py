"""Rows to findings: the catalogue of rules, and the decision tables that they read."""

from tcptrace_tw.rules.catalogue import RULES
from tcptrace_tw.rules.decisions import DERIVED
from tcptrace_tw.rules.rule import Derived, Grade, Rule, RuleHits

__all__ = ["DERIVED", "RULES", "Derived", "Grade", "Rule", "RuleHits"]
