"""Community ID v1: the published vectors for TCP, and the reference package over many tuples."""

import ipaddress

import communityid
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw.report.community_id import community_ids

# The TCP lines of the baselines in github.com/corelight/community-id-spec, seed 0.
VECTORS = (
    ("128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("66.35.250.204", 80, "128.232.110.120", 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
)


def ids(tuples):
    columns = {f"{end}_{part}": [] for end in ("orig", "resp") for part in ("ip_hi", "ip_lo", "port")}
    for orig, orig_port, resp, resp_port in tuples:
        for end, address, port in (("orig", orig, orig_port), ("resp", resp, resp_port)):
            value = ipaddress.ip_address(address)
            number = int(value) if value.version == 6 else 0xFFFF00000000 | int(value)
            columns[f"{end}_ip_hi"].append(signed(number >> 64))
            columns[f"{end}_ip_lo"].append(signed(number & (1 << 64) - 1))
            columns[f"{end}_port"].append(port)
    return community_ids({name: np.array(values, np.int64) for name, values in columns.items()}).to_pylist()


def signed(word):
    return word - (1 << 64) if word >> 63 else word


@pytest.mark.parametrize("vector", VECTORS, ids=["one way", "the other way"])
def test_a_published_vector(vector):
    assert ids([vector[:4]]) == [vector[4]]


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


@settings(max_examples=100, deadline=None)
@given(st.lists(TUPLES, min_size=1, max_size=20))
def test_the_reference_package_says_the_same(tuples):
    reference = communityid.CommunityID()

    assert ids(tuples) == [reference.calc(communityid.FlowTuple.make_tcp(a, b, p, q)) for a, p, b, q in tuples]


@given(TUPLES)
def test_both_directions_have_one_id(each):
    a, p, b, q = each

    assert ids([(a, p, b, q)]) == ids([(b, q, a, p)])
