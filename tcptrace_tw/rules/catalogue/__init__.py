"""The catalogue: one topic per module, every rule listed once; here they stand in the order of the docs."""

from tcptrace_tw.rules.catalogue import (
    aborts,
    capture,
    capture_times,
    connects,
    half_close,
    handshake,
    icmp,
    idle,
    last_ack,
    middlebox_resets,
    nat_moves,
    no_socket,
    old_duplicates,
    paws,
    ports,
    reset_effects,
    reuse,
    silence,
    syn_in_open_connection,
    syn_in_time_wait,
    time_wait,
    time_wait_cut_short,
    timestamp_clocks,
    timestamps,
)
from tcptrace_tw.rules.rule import Rule

MODULES = (
    aborts,
    capture,
    capture_times,
    connects,
    half_close,
    handshake,
    icmp,
    idle,
    last_ack,
    middlebox_resets,
    nat_moves,
    no_socket,
    old_duplicates,
    paws,
    ports,
    reset_effects,
    reuse,
    silence,
    syn_in_open_connection,
    syn_in_time_wait,
    time_wait,
    time_wait_cut_short,
    timestamp_clocks,
    timestamps,
)

FAMILIES = ("TW", "RU", "PA", "LA", "RS", "HS", "SI", "PE", "CP")
"""What the ids of rules begin with, in the order of the docs."""


def _place(rule: Rule) -> tuple[int, str]:
    return FAMILIES.index(rule.id[:2]), rule.id


RULES: tuple[Rule, ...] = tuple(sorted((rule for module in MODULES for rule in module.RULES), key=_place))

__all__ = ["FAMILIES", "RULES"]
