"""More sources, services and pairs than there is room for: what is counted is right, and what is not is said.

Which ones are counted follows the order in which rows leave, so it is not the same in parts. All other tables are.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tcptrace_tw.measure import census, clocks, connects, idles, services
from tests.cluster_runs import in_one_pass, in_parts
from tests.generate import healthy_traffic
from tests.test_cluster_parts import write

ROOM = 4
LIMITS = ((census, "MOST_SOURCES"), (services, "MOST_SERVICES"), (connects, "MOST_KEYS"), (clocks, "MOST_PAIRS"),
          (idles, "MOST_SILENT"))  # fmt: skip
BY_KEY = ("census", "ports", "services", "idles")
"""Tables of which a row tells of one key alone; ``holders`` adds several up, and findings are about all of these."""
OTHERS = ("holders", "clocks", "connects", "scans", "floods", "findings", "incidents")


@pytest.mark.parametrize("seed", range(3))
def test_more_keys_than_room(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.pcap", healthy_traffic(seed, 40))
    files = [str(tmp_path / "a.pcap")]
    whole = in_one_pass(files)
    assert not whole[1]["capture"]["remarks"]
    for module, name in LIMITS:
        monkeypatch.setattr(module, name, ROOM)

    for tables, report in in_one_pass(files), in_parts(files, 8):
        for name, rows in tables.items():
            if name in BY_KEY:
                assert set(rows) < set(whole[0][name]), name
            elif name not in OTHERS:
                assert rows == whole[0][name], name
        assert len(tables["services"]) == ROOM
        said = [re.sub("[0-9,]+ rows", "N rows", remark) for remark in report["capture"]["remarks"]]
        assert said == [
            "more than 131,072 sources of connections: N rows of those beyond that are not counted",
            "more than 65,536 services: N rows of those beyond that are not counted",
            "more than 65,536 clients, or pairs of a client and a service: N rows of those beyond that are not counted",
            "more than 4,096 pairs of hosts with TCP timestamps: N rows of those beyond that are not counted",
            "more than 65,536 services with silent connections: N rows of those beyond that are not counted",
        ]
