"""Scenarios: conversations written down one segment a line, and what the tool makes of them."""

from tests.scenario.notation import Frame, Peer, ScenarioError, parse, write
from tests.scenario.play import Result, play, play_frames, play_pcap
from tests.scenario.render import render

__all__ = ["Frame", "Peer", "Result", "ScenarioError", "parse", "play", "play_frames", "play_pcap", "render", "write"]
