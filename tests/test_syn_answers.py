"""The table "what answered a SYN that met an earlier life": every cell of its product meets the row that is meant."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from tcptrace_tw.protocol.profiles import ACCEPT, ACCEPT_CHALLENGE, ACCEPT_DROP, ACCEPT_PAWS_REJECT
from tcptrace_tw.rules.decisions.syn_answers import outcome, verdict
from tcptrace_tw.schema.columns import REUSES
from tcptrace_tw.schema.words import ACCEPT_NOT_TIME_WAIT, ANSWER, MEANWHILE, NULL_WORD, OUTCOME, STATE


class Cell(NamedTuple):
    """What a row of ``reuses`` says about one SYN."""

    is_known: bool
    """Whether the earlier connection is in the capture."""
    state: str
    """What the SYN met; "" where that is not known."""
    is_by_holder: bool
    final_ack: str
    """What the capture says of the ACK of the receiver's FIN: "shown", "lost" (the FIN came again), "doubtful"."""
    answer: str
    retries: int
    end: str
    """ "open": a SYN+ACK came; "lost": it came, and did not reach the client; "none"."""
    acceptance: int
    meanwhile: str
    """Whether the same service answered others."""
    is_observed: bool
    """Whether the capture would have shown the opening, both directions, ACKs, payload and options."""

    @property
    def is_new_syn(self) -> bool:
        """It is no late duplicate of a SYN that was not captured."""
        return self.is_observed or self.end != "none" or self.retries > 0


def cells() -> list[Cell]:
    """The product, without what cannot be: an answer SYN+ACK that did not come."""
    states = ["", *(word for word in STATE.words if word not in ("SYN-SENT", "SYN-RECEIVED"))]
    verdicts = (ACCEPT, ACCEPT_CHALLENGE, ACCEPT_PAWS_REJECT, ACCEPT_DROP, ACCEPT_NOT_TIME_WAIT)
    found = []
    for values in product(
        (True, False), states, (False, True), ("shown", "lost", "doubtful"), ANSWER.words, (0, 1, 2),
        ("open", "lost", "none"), verdicts, MEANWHILE.words, (True, False),
    ):  # fmt: skip
        cell = Cell(*values)
        if cell.is_known == (cell.state == "") or (cell.answer == "syn-ack" and cell.end == "none"):
            continue
        if cell.answer == "refused" and cell.end != "none":
            continue  # a RST that acknowledges the SYN ends the connect()
        if (cell.acceptance == ACCEPT_NOT_TIME_WAIT) == (cell.state == "TIME-WAIT"):
            continue
        if cell.meanwhile != "unknown" and cell.end != "none":
            continue  # only looked at where nothing came of the SYN
        found.append(cell)
    return found


def rows_of(all_cells: list[Cell]) -> np.recarray:
    rows = np.zeros(len(all_cells), REUSES.dtype)
    codes = {word: code for code, word in enumerate(STATE.words)} | {"": NULL_WORD}
    rows["previous_connection_id"] = [1 if cell.is_known else -1 for cell in all_cells]
    rows["receiver_state"] = [codes[cell.state] for cell in all_cells]
    rows["is_by_holder"] = [cell.is_by_holder for cell in all_cells]
    rows["is_last_ack_lost"] = [cell.final_ack == "lost" for cell in all_cells]
    rows["is_last_ack_likely"] = [cell.final_ack == "doubtful" for cell in all_cells]
    rows["answer"] = [ANSWER.code(cell.answer) for cell in all_cells]
    rows["syn_retries"] = [cell.retries for cell in all_cells]
    rows["opened_frame"] = [-1 if cell.end == "none" else 20 for cell in all_cells]
    rows["late_retry_frame"] = [21 if cell.end == "lost" else -1 for cell in all_cells]
    rows["completed_frame"] = [22 if cell.end == "open" else -1 for cell in all_cells]
    rows["observed"] = [0xFF if cell.is_observed else 0 for cell in all_cells]
    rows["meanwhile"] = [MEANWHILE.code(cell.meanwhile) for cell in all_cells]
    rows["acceptance"] = [cell.acceptance for cell in all_cells]
    return rows.view(np.recarray)


def meant(cell: Cell) -> str:
    """The table once more, as one reads it aloud."""
    if not cell.is_known:
        return "unseen-connection"
    is_reset = cell.answer in ("rst", "refused")
    waits = cell.state == "TIME-WAIT" and not cell.is_by_holder
    is_shown = waits or cell.state == "LAST-ACK" or cell.final_ack == "lost"
    if cell.meanwhile == "nobody-answered":
        if cell.answer == "none" and cell.retries > 0:
            return "unanswered"
        if is_reset and cell.final_ack == "doubtful" and not is_shown:
            return "refused"
    if cell.state == "LAST-ACK" or cell.final_ack == "lost":
        found = meant_in_last_ack(cell, is_reset)
        if found:
            return found
    if cell.final_ack == "doubtful" and is_reset:
        return "reset-in-last-ack"
    if waits and cell.answer == "challenge-ack" and cell.is_new_syn:
        return "challenged-in-time-wait"
    if is_reset and (waits or cell.state == "FIN-WAIT-2"):
        return "refused-while-waiting"
    silent_at_first = cell.answer in ("none", "syn-ack") and cell.retries > 0
    if waits and silent_at_first and (cell.acceptance != ACCEPT or cell.end == "none"):
        return "dropped-in-time-wait"
    if cell.end == "lost":
        return "answer-lost"
    if waits and cell.end == "open":
        return "accepted-in-time-wait"
    return meant_without_time_wait(cell, is_reset)


def meant_in_last_ack(cell: Cell, is_reset: bool) -> str:
    """A SYN into LAST-ACK."""
    if is_reset:
        return "reset-in-last-ack"
    if cell.answer == "challenge-ack":
        return "hits-last-ack" if cell.end == "open" or cell.retries == 0 else "stuck-in-last-ack"
    return "ignored-in-last-ack" if cell.retries > 0 else ""


def meant_without_time_wait(cell: Cell, is_reset: bool) -> str:
    """Anything else."""
    is_open = cell.state in ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING")
    is_silent = cell.end != "open" and cell.retries > 0
    if is_open and (
        (cell.answer == "challenge-ack" and cell.is_new_syn) or (cell.is_observed and (is_reset or is_silent))
    ):
        return "still-open"
    if cell.end == "open":
        return "accepted"
    if is_reset:
        return "refused"
    return "unanswered" if cell.retries > 0 else "undecided"


def test_every_cell_of_the_table_meets_the_row_that_is_meant() -> None:
    all_cells = cells()
    words = REUSES.column("verdict").words
    assert words is not None

    got = [words.words[code] for code in verdict(rows_of(all_cells))]

    wrong = [(cell, row, meant(cell)) for cell, row in zip(all_cells, got, strict=True) if row != meant(cell)]
    assert not wrong, f"{len(wrong)} of {len(all_cells)}: {wrong[:5]}"
    assert set(got) == set(words.words)


def test_the_outcome_of_every_cell_is_what_became_of_the_syn() -> None:
    all_cells = cells()

    got = [OUTCOME.words[code] for code in outcome(rows_of(all_cells))]

    assert set(got) == set(OUTCOME.words)
    for cell, word in zip(all_cells, got, strict=True):
        assert (cell.end == "open") == word.startswith("accepted"), (cell, word)
        assert (word == "refused") == (cell.end != "open" and cell.answer == "refused"), (cell, word)
        assert word != "ignored" or (cell.answer == "none" and cell.retries >= 2), (cell, word)
        assert word != "gave-up" or cell.retries >= 2, (cell, word)
