"""Mutation testing: one small change at a time in rules/ and tcp/, and whether the quick tests notice it."""
