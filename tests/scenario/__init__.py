"""Scenarios: conversations written down one segment a line, and what the tool makes of them."""

from tests.scenario.notation import Frame, Peer, ScenarioError, count_frames, parse, write
from tests.scenario.play import Result, play, play_frames, play_pcap
from tests.scenario.render import render

__all__ = [
    "Frame", "Peer", "Result", "ScenarioError", "count_frames", "parse", "play", "play_frames", "play_pcap", "render",
    "write",
]  # fmt: skip
