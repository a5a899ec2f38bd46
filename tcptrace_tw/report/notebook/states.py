"""Who was in which state when: spans of states out of the rows of ``transitions``, the picture at a time, and counts.

The same as ``ss`` would have shown on both hosts: an endpoint in CLOSED or LISTEN has no socket of the connection.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NO_SOCKET = ("CLOSED", "LISTEN")


def states_of(transitions: "pd.DataFrame") -> "pd.DataFrame":
    """One row per stay of an endpoint in a state: ``since`` (its first transition into it) and ``until`` (NaT: open).

    Columns: connection_id, endpoint, ip, port, state, since, until, frame. What was retracted never was: neither the
    row nor the one that retracts it begins a stay.
    """
    import pandas as pd

    is_lasting = transitions.retracts.isna()
    gone = pd.MultiIndex.from_frame(transitions.loc[~is_lasting, ["connection_id", "retracts"]].astype("int64"))
    is_gone = pd.MultiIndex.from_frame(transitions[["connection_id", "transition_id"]].astype("int64")).isin(gone)
    kept = transitions[is_lasting & ~is_gone]
    kept = kept.sort_values(["connection_id", "endpoint", "transition_id"], kind="stable")
    stays = kept[["connection_id", "endpoint", "ip", "port", "to_state", "time", "frame"]]
    stays = stays.rename(columns={"to_state": "state", "time": "since"}).reset_index(drop=True)
    # A segment that crossed is taken in behind what the endpoint sent after it had passed the tap.
    stays["since"] = stays.groupby(["connection_id", "endpoint"], observed=True).since.cummax()
    following = stays.groupby(["connection_id", "endpoint"], observed=True).since.shift(-1)
    stays.insert(6, "until", following)
    return stays


def states_at(stays: "pd.DataFrame", time: "pd.Timestamp") -> "pd.DataFrame":
    """The stays that last at ``time``: one row per endpoint that has a socket then."""
    begun = stays.since <= time
    lasts = stays.until.isna() | (stays.until > time)
    return stays[begun & lasts & ~stays.state.isin(NO_SOCKET)].reset_index(drop=True)


def sockets_per_second(stays: "pd.DataFrame") -> "pd.DataFrame":
    """Sockets in each state at the end of each second: rows are seconds, columns states that occur."""
    import numpy as np
    import pandas as pd

    held = stays[~stays.state.isin(NO_SOCKET)]
    if held.empty:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="time"))
    last = stays[["since", "until"]].max().max()
    seconds = pd.date_range(stays.since.min().floor("s"), last.floor("s"), freq="s", name="time")
    ends = (seconds + pd.Timedelta(1, "s")).to_numpy()
    counts = {}
    for state, own in held.groupby("state", observed=True):
        begun = np.sort(own.since.to_numpy())
        ended = np.sort(own.until.dropna().to_numpy())
        counts[str(state)] = np.searchsorted(begun, ends, "left") - np.searchsorted(ended, ends, "left")
    return pd.DataFrame(counts, index=seconds).astype("int64")
