"""Filters choose connections after they were tracked: by their endpoints, by how they went, and by what was found."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw.errors import UsageError
from tcptrace_tw.schema import words as w
from tcptrace_tw.selection import Selection, Wanted
from tests import report_rows
from tests.scenario import play_pcap

FIXTURES = Path(__file__).parent.parent / "fixtures"
PORTS = FIXTURES / "kernel-narrow-ports-client-closes" / "capture.pcap"


def rows():
    """1: closed by the server, 2: aborted by the client, 3: seen from the middle on, still open."""
    made = report_rows.connections(3)
    made.close[1], made.active_closer[1], made.resp_state[1] = w.CLOSE_ABORT, w.ORIG, w.STATE.code("CLOSED")
    made.opened[2], made.close[2], made.active_closer[2] = w.OPENED_MIDSTREAM, w.CLOSE_OPEN, w.NONE
    made.orig_state[2], made.resp_state[2] = w.STATE.code("LAST-ACK"), w.STATE.code("FIN-WAIT-2")
    return made


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", "123"),
        ("port 40001", "2"),
        ("src port 80", "123"),
        ("state TIME-WAIT", "1"),
        ("state time_wait", "1"),
        ("state timewait", "1"),
        ("state LAST-ACK", "3"),
        ("state FIN-WAIT-2", "3"),
        ("not state CLOSED", "3"),
        ("opened midstream", "3"),
        ("closed abort", "2"),
        ("closed normal or closed open", "13"),
        ("closed by server", "1"),
        ("closed by resp", "1"),
        ("closed by client", "2"),
        ("closed by none", "3"),
        ("not closed by client and port 40000", "1"),
        ("host 192.0.2.1 and (closed abort or state LAST-ACK)", "23"),
        ("CLOSED ABORT", "2"),
    ],
)
def test_words_about_connections_and_words_of_pcap_filter_go_together(text, numbers):
    kept = Selection(text).keeps(rows())

    assert "".join(str(number) for number in np.flatnonzero(kept) + 1) == numbers


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("finding RU004", Wanted("RU004")),
        ("finding ru", Wanted("RU")),
        ("finding syn-hits-last-ack", Wanted("LA001")),
        ("finding warning", Wanted(severity=w.WARNING)),
    ],
)
def test_a_finding_is_named_by_rule_family_name_or_severity(text, wanted):
    selection = Selection(text, with_findings=True)
    asked = []

    def second(what, numbers):
        asked.append(what)
        return numbers == 2

    assert selection.wanted == [wanted]
    assert np.flatnonzero(selection.keeps(rows(), second)).tolist() == [1]
    assert np.flatnonzero(Selection(f"not {text}", with_findings=True).keeps(rows(), second)).tolist() == [0, 2]
    assert set(asked) == {wanted}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state TIME-WIAT", "TIME-WIAT: did you mean TIME-WAIT?"),
        ("state", "a word is missing after state: CLOSED, LISTEN"),
        ("closed abrot", "abrot: did you mean abort?"),
        ("closed by sever", "sever: did you mean server?"),
        ("closed by", "a word is missing after by: client, server"),
        ("opened half", "half: write one of handshake"),
        ("sate TIME-WAIT", "sate: did you mean state?"),
        ("host state", "state: a value is missing before this"),
        ("finding RU099", "RU099: did you mean RU009?"),
        ("finding", "a rule or a severity is missing after finding"),
    ],
)
def test_a_wrong_word_is_marked_and_mended(text, said):
    with pytest.raises(UsageError) as caught:
        Selection(text, "filter", with_findings=True)

    assert str(caught.value).startswith(f"filter: {said}")
    assert str(caught.value).splitlines()[-1].strip() in ("^" * len(text.split()[-1]), "^" * len(text.split()[0]), "^")


def test_without_findings_the_word_says_where_it_is_known():
    with pytest.raises(UsageError, match="finding: is a word of list, show and export; here use --select"):
        Selection("finding RU")


def test_a_selection_travels_to_other_processes():
    copy = pickle.loads(pickle.dumps(Selection("closed abort or finding RU", with_findings=True)))

    assert copy.wanted == [Wanted("RU")]


def test_a_filter_leaves_the_numbers_as_they_are_and_a_read_filter_does_not():
    """Port 41014 is used by connections 1, 70 ...: the 70th connection of the capture is the second one of the port."""
    every = play_pcap(PORTS)
    numbers = [row.connection_id for row in every.connections if row.orig_port == 41014]

    chosen = play_pcap(PORTS, filter="port 41014")
    read = play_pcap(PORTS, read_filter="port 41014")

    assert numbers[:2] == [1, 70]
    assert [row.connection_id for row in chosen.connections] == numbers
    assert [row.connection_id for row in read.connections] == list(range(1, len(numbers) + 1))
    assert {row.connection_id for row in chosen.transitions} == set(numbers)
    assert chosen.summary.kept == len(numbers)
    assert chosen.summary.connections == len(every.connections)


def test_a_filter_changes_no_row():
    """What a connection met is known although the other one is not chosen."""
    every, chosen = play_pcap(PORTS), play_pcap(PORTS, filter="port 41014 and state TIME-WAIT")
    numbers = {row.connection_id for row in chosen.connections}

    assert numbers
    for table in ("connections", "transitions", "time_wait", "reuses"):
        of_all = sorted(str(row) for row in every.tables[table] if row["connection_id"] in numbers)
        assert sorted(map(str, chosen.tables[table])) == of_all
