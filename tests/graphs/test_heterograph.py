from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import DataError
from kgrec.graphs.heterograph import build_heterograph, join_edges, read_edges, relation_names

SIZES = (2, 2, 2)  # users 0-1, items 2-3, entities 4-5
INTERACTIONS = np.array([[0, 2], [1, 2], [1, 3]])
TRIPLES = np.array([[2, 1, 4], [2, 2, 4], [3, 1, 2], [4, 2, 5]])
NAMES = relation_names(["a", "b"], True)


def test_relation_names_put_the_inverse_r_plus_r_plus_1_on():
    assert NAMES == ["interact", "a", "b", "interact^-1", "a^-1", "b^-1"]
    assert relation_names(["a"], False) == ["interact", "a"]


@pytest.mark.parametrize("name", ["interact", "a^-1"])
def test_reserved_relation_name_is_refused(name):
    with pytest.raises(DataError, match="reserved"):
        relation_names(["x", name], True)


def test_every_edge_has_its_inverse():
    edges = join_edges(INTERACTIONS, TRIPLES, 3, 6, True)
    triples = set(zip(*(column.tolist() for column in edges), strict=True))
    assert len(triples) == len(edges.heads) == 2 * (3 + 4)
    assert {(t, (r + 3) % 6, h) for h, r, t in triples} == triples
    assert list(zip(*(column.tolist() for column in edges), strict=True)) == sorted(triples)


def test_without_inverse_edges_only_interactions_go_both_ways():
    edges = join_edges(INTERACTIONS, TRIPLES, 3, 6, False)
    triples = sorted(zip(*(column.tolist() for column in edges), strict=True))
    both = [(u, 0, i) for u, i in INTERACTIONS.tolist()] + [(i, 0, u) for u, i in INTERACTIONS.tolist()]
    assert triples == sorted(both + [tuple(row) for row in TRIPLES.tolist()])


def test_canonical_edge_types():
    graph = build_heterograph(SIZES, NAMES, join_edges(INTERACTIONS, TRIPLES, 3, 6, True))
    assert set(graph.canonical_etypes) == {
        ("user", "interact", "item"), ("item", "interact^-1", "user"),
        ("item", "a", "entity"), ("entity", "a^-1", "item"), ("item", "b", "entity"), ("entity", "b^-1", "item"),
        ("item", "a", "item"), ("item", "a^-1", "item"), ("entity", "b", "entity"), ("entity", "b^-1", "entity"),
    }  # fmt: skip
    assert [graph.num_nodes(kind) for kind in ("user", "item", "entity")] == [2, 2, 2]
    heads, tails = graph.edges(etype=("item", "a", "item"))
    assert (heads.tolist(), tails.tolist()) == ([1], [0])  # numbered from 0 inside the type


@pytest.mark.parametrize("inverse", [True, False])
def test_round_trip(inverse):
    edges = join_edges(INTERACTIONS, TRIPLES, 3, 6, inverse)
    names = relation_names(["a", "b"], inverse)
    found = read_edges(build_heterograph(SIZES, names, edges), names)
    for expected, column in zip(edges, found, strict=True):
        assert column.dtype == torch.int64
        assert column.tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(1, 4)] * 3),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3), st.integers(0, 11)), max_size=20),
)
def test_round_trip_of_any_graph(sizes, triples):
    n_users, n_nodes = sizes[0], sum(sizes)
    triples = sorted({(n_users + h % (n_nodes - n_users), r, n_users + t % (n_nodes - n_users)) for h, r, t in triples})
    edges = join_edges(np.array([[0, n_users]]), np.array(triples, np.int64).reshape(-1, 3), 4, n_nodes, True)
    names = relation_names(["x", "y", "z"], True)
    found = read_edges(build_heterograph(sizes, names, edges), names)
    assert [column.tolist() for column in found] == [column.tolist() for column in edges]


def test_unknown_relation_is_refused():
    graph = build_heterograph(SIZES, NAMES, join_edges(INTERACTIONS, TRIPLES, 3, 6, True))
    with pytest.raises(DataError, match="relation 'b'"):
        read_edges(graph, [name for name in NAMES if name != "b"])
