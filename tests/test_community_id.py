"""Community ID v1: the published vectors for TCP, and the reference package over many tuples.

All hold for ids that are made one by one, and for those of the kernel, compiled and not.
"""

import ipaddress

import communityid
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw.report.tables.community_ids import community_ids, ids_by_kernel, tuples_of

# The TCP lines of the baselines in github.com/corelight/community-id-spec, seed 0.
VECTORS = (
    ("128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("66.35.250.204", 80, "128.232.110.120", 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
)


def one_by_one(columns):
    return community_ids(columns)


def compiled(columns):
    return ids_by_kernel(tuples_of(columns), compiled=True)


def interpreted(columns):
    return ids_by_kernel(tuples_of(columns), compiled=False)


WAYS = pytest.mark.parametrize("way", [one_by_one, compiled, interpreted])


def ids(tuples, way=one_by_one):
    columns = {f"{end}_{part}": [] for end in ("orig", "resp") for part in ("ip_hi", "ip_lo", "port")}
    for orig, orig_port, resp, resp_port in tuples:
        for end, address, port in (("orig", orig, orig_port), ("resp", resp, resp_port)):
            value = ipaddress.ip_address(address)
            number = int(value) if value.version == 6 else 0xFFFF00000000 | int(value)
            columns[f"{end}_ip_hi"].append(signed(number >> 64))
            columns[f"{end}_ip_lo"].append(signed(number & (1 << 64) - 1))
            columns[f"{end}_port"].append(port)
    return way({n: np.array(v, np.uint16 if "port" in n else np.int64) for n, v in columns.items()}).to_pylist()


def signed(word):
    return word - (1 << 64) if word >> 63 else word


@WAYS
@pytest.mark.parametrize("vector", VECTORS, ids=["one direction", "the other direction"])
def test_a_published_vector(vector, way):
    assert ids([vector[:4]], way) == [vector[4]]


PORTS = st.integers(0, 65535)
TUPLES = st.one_of(
    st.tuples(st.ip_addresses(v=4).map(str), PORTS, st.ip_addresses(v=4).map(str), PORTS),
    st.tuples(
        st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped).map(str),
        PORTS,
        st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped).map(str),
        PORTS,
    ),
)


@WAYS
@settings(max_examples=50, deadline=None)
@given(tuples=st.lists(TUPLES, min_size=1, max_size=20))
def test_the_reference_package_says_the_same(way, tuples):
    reference = communityid.CommunityID()

    assert ids(tuples, way) == [reference.calc(communityid.FlowTuple.make_tcp(a, b, p, q)) for a, p, b, q in tuples]


@WAYS
def test_between_ipv4_and_ipv6_both_addresses_have_16_bytes(way):
    each = ("10.9.8.7", 8, "2001::ffff:a01:205", 48620)

    assert ids([each, (*each[2:], *each[:2])], way) == ["1:UTOQGhQYjFc1uHzkh9ELpu1fVGo="] * 2


def test_many_connections_get_the_ids_of_the_kernel():
    tuples = [("192.0.2.1", port, "198.51.100.7", 80) for port in range(2000)]

    assert ids(tuples * 2) == ids(tuples) * 2


@given(TUPLES)
def test_both_directions_have_one_id(each):
    a, p, b, q = each

    assert ids([(a, p, b, q)]) == ids([(b, q, a, p)])
