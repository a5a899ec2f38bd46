"""What a newcomer reads first of a recording: the conclusion; and nothing of healthy software.

The sentences are those of the worst incident, which the report begins with.
"""

# ruff: noqa: E501 - sentences stay whole

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.situations import SITUATIONS
from tests.scenario import play_pcap
from tests.test_fixtures import FIXTURES
from tests.test_incidents import digest

CONCLUSIONS = {
    "nginx-keepalive-race": "2 requests to {server} are lost: the server closed the idle connections at the moment when they came",
    "accept-queue-full": "{server} did not complete 2 handshakes and dropped the clients' data: its accept queue was full",
    "accept-queue-full-cookies": "the first data of 2 connections were sent to {server} again and again, and nothing came after its SYN+ACKs, not even an ACK",
    "abort-on-overflow": "{server} answered the ACK of the handshake with RST on 2 connections with {client}: its accept queue was full (net.ipv4.tcp_abort_on_overflow=1), its listener was closed, or a SYN proxy in front of it had answered the SYNs",
    "defer-accept": "{server} retransmitted the SYN+ACK of 2 connections although the client's ACK is in the capture",
    "masquerade-flushed": "3 connections to {server} went on from another port or address: a NAT had forgotten its mappings",
    "service-flushed": "segments of 2 connections reached {client} from {server}, untranslated: the NAT in between did not know them",
    "invalid-strict": "segments of 2 connections reached {client} from {server}, untranslated: the NAT in between did not know them",
    "invalid-strict-seen-by-server": "{client} reset 2 connections with {server} that it goes on with: segments reached it past its own NAT",
    "haproxy-http-server-close": "{client} ended 5 connections with {server} by RST instead of FIN",
    "keepalive-9-probes": "{client}:40000 gave up on {server} after 9 unanswered keep-alive probes and sent RST: the keep-alive timeout",
    "late-start-last-ack": "SYN from {client}:40000 challenged by {server}, which holds an earlier connection of this 4-tuple that is not in the capture",
    "late-start-time-wait": "SYN from {client}:40000 challenged by {server}, which holds an earlier connection of this 4-tuple that is not in the capture",
    "scanner-handshake": "the host of {client} answered segments of 2 connections with {server} by RST, but segments with its address follow: a program sends them without a socket (a scanner)",
}  # fmt: skip

SENTENCES = {
    "keep-alive-race-crossed": "it crossed the FIN by which",
    "keep-alive-race": "had closed the idle connection (after 5.0 s of silence)",
    "handshake-refused-at-its-end": "answered the ACK of the handshake from",
    "handshake-refused-at-its-end-nearly": "has no socket for",
    "first-data-unanswered": "nothing came after the SYN+ACK, not even an ACK",
    "first-data-unanswered-nearly": "the peer or the path is gone",
    "segment-untranslated": "but a segment of that connection came from 10.0.1.2:8080",
    "nat-rebinding-at-once": "went on from port 40002 instead of 40000",
}
"""Sentences that nearly the same segments must not bring about."""

SILENT = ("redis-probes", "postgres-probes", "scanner-syn", "masquerade-random", "invalid-liberal", "fast-open-cookie")
"""Nothing above info is said of these, besides healthy software."""


def truth(name: str) -> Any:
    return json.loads((FIXTURES / f"kernel-{name}" / "truth.json").read_text())


HEALTHY = [
    name for name, situation in SITUATIONS.items()
    if situation.needs and not any(side.get("OutRsts") for side in truth(name)["counters_delta"].values())
]  # fmt: skip


@pytest.mark.parametrize("name", CONCLUSIONS)
def test_the_first_sentence_is_the_conclusion(name: str, tmp_path: Path) -> None:
    """The cause, the parties and how often, before anything else."""
    worst = digest(f"kernel-{name}", tmp_path).incidents[0]
    parties = {"client": worst.client, "server": worst.service}

    sentence = worst.sentence.replace("probably ", "").lower()
    assert sentence.startswith(CONCLUSIONS[name].format(**parties).lower())


@pytest.mark.parametrize("name", SENTENCES)
def test_the_sentence_is_that_of_the_case(name: str, tmp_path: Path) -> None:
    """A rule with several sentences says the one that fits."""
    assert SENTENCES[name] in digest(name, tmp_path).incidents[0].sentence.replace("probably ", "")


@pytest.mark.parametrize("name", [*HEALTHY, *SILENT])
def test_software_without_resets_gives_no_warning(name: str) -> None:
    """Servers and clients that people run, which sent no RST: nothing but ordinary mechanisms."""
    loud = [
        found for found in play_pcap(FIXTURES / f"kernel-{name}" / "capture.pcap").findings if found.severity != "info"
    ]

    assert not loud


def test_software_without_resets_was_recorded() -> None:
    """nginx, Redis, PostgreSQL, Go and Node.js, at least."""
    assert {name.partition("-")[0] for name in HEALTHY} >= {"nginx", "redis", "postgres", "go", "node"}
