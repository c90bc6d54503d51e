from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import DataError
from kgrec.graphs.sequences import bfs_sequences, read_sequences, write_sequences


def distances(heads, tails, root, n_nodes):
    """Hops from ``root`` by the textbook."""
    near = [set() for _ in range(n_nodes)]
    for h, t in zip(heads, tails, strict=True):
        near[h].add(t)
        near[t].add(h)
    found, queue = {root: 0}, deque([root])
    while queue:
        node = queue.popleft()
        for other in near[node] - set(found):
            found[other] = found[node] + 1
            queue.append(other)
    return found


def grown(edges, sizes, **options):
    heads, tails = np.array(edges, np.int64).reshape(-1, 2).T
    return bfs_sequences(heads, tails, sizes[0], sizes[1], sum(sizes), **options)


def star(n_users=20, n_entities=20):
    """One item that all users met and all entities describe."""
    item = n_users
    edges = [(user, item) for user in range(n_users)]
    edges += [(item, item + 1 + entity) for entity in range(n_entities)]
    return edges, (n_users, 1, n_entities)


def test_small_neighbourhood_is_taken_whole_and_padded():
    # user 0 - item 1 - entity 3 - entity 4; item 2 alone
    found = grown([(0, 1), (1, 3), (3, 4)], (1, 2, 2), length=6)
    assert found.nodes.tolist() == [[1, 0, 3, 4, -1, -1], [2, -1, -1, -1, -1, -1]]
    assert found.hops.tolist() == [[0, 1, 1, 2, -1, -1], [0, -1, -1, -1, -1, -1]]


def test_no_node_beyond_max_hops():
    chain = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    found = grown(chain, (0, 1, 5), length=10, max_hops=3)
    assert found.nodes[0, :5].tolist() == [0, 1, 2, 3, -1]


def test_balanced_takes_both_kinds_alike():
    edges, sizes = star()
    nodes = grown(edges, sizes, length=16).nodes[0]
    assert nodes[0] == 20
    assert (nodes[1:] < 20).sum() == 7
    assert (nodes[1:] > 20).sum() == 8  # the odd place goes to the entities


@pytest.mark.parametrize(
    ("n_users", "n_entities", "users_taken"), [(3, 30, 3), (30, 3, 12), (0, 30, 0), (30, 0, 15), (7, 8, 7)]
)
def test_balanced_fills_up_from_the_other_kind(n_users, n_entities, users_taken):
    edges, sizes = star(n_users, n_entities)
    nodes = grown(edges, sizes, length=16).nodes[0]
    assert (nodes >= 0).all()
    assert (nodes[1:] < n_users).sum() == users_taken


def test_degree_takes_the_nodes_with_most_neighbours():
    # item 0 with entities 1..5; entity 4 has two more neighbours, entity 2 one more
    found = grown(
        [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (4, 6), (4, 7), (2, 6)], (0, 1, 7), length=4, order="bfs_degree"
    )
    assert found.nodes.tolist() == [[0, 1, 2, 4]]  # ties by node: 1 before 3 and 5


@pytest.mark.parametrize("order", ["bfs_balanced", "bfs_uniform"])
def test_draw_is_seeded(order):
    edges, sizes = star(200, 200)
    first, again, other = (grown(edges, sizes, order=order, seed=seed).nodes for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_uniform_draw_is_uniform():
    """Each of 60 neighbours is drawn with probability 15/60; chi-square over 400 seeds stays in its 99.9 % range."""
    edges, sizes = star(30, 30)
    counts = np.zeros(61)
    for seed in range(400):
        counts += np.bincount(grown(edges, sizes, order="bfs_uniform", seed=seed).nodes[0], minlength=61)
    drawn = np.delete(counts, 30)
    chi_square = ((drawn - 100) ** 2 / 100).sum() / (1 - 15 / 60)
    assert chi_square < 98.3  # 59 degrees of freedom, p = 0.001


def test_draw_for_one_item_does_not_depend_on_other_items():
    edges, sizes = star(40, 40)
    alone = grown(edges, sizes).nodes[0]
    # one more item, node 41, that nobody met: entities move up by one
    moved = [(h + (h > 40), t + (t > 40)) for h, t in edges]
    beside = grown(moved, (40, 2, 40), order="bfs_balanced").nodes[0]
    assert set(alone[alone < 40]) == set(beside[beside < 40])


def test_edge_order_and_direction_do_not_matter():
    edges, sizes = star()
    shuffled = [edge[::-1] for edge in reversed(edges)] + edges[:3]
    assert np.array_equal(grown(edges, sizes).nodes, grown(shuffled, sizes).nodes)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40),
    st.integers(1, 9),
    st.sampled_from(["bfs_balanced", "bfs_uniform", "bfs_degree"]),
    st.integers(1, 4),
)
def test_sequences_are_breadth_first(edges, length, order, max_hops):
    n_users, n_items, n_nodes = 5, 5, 15
    found = grown(edges, (5, 5, 5), length=length, order=order, max_hops=max_hops)
    assert found.nodes.shape == (n_items, length)
    heads, tails = np.array(edges, np.int64).reshape(-1, 2).T
    for item in range(n_items):
        exact = distances(heads.tolist(), tails.tolist(), n_users + item, n_nodes)
        nodes, hops = found.nodes[item], found.hops[item]
        kept = nodes >= 0
        assert np.array_equal(kept, hops >= 0)
        nodes, hops = nodes[kept].tolist(), hops[kept].tolist()
        assert nodes[0] == n_users + item
        assert len(set(nodes)) == len(nodes)
        assert hops == [exact[node] for node in nodes] == sorted(hops)
        near = [node for node, hop in exact.items() if hop <= max_hops]
        assert len(nodes) == min(length, len(near))
        assert hops == sorted(exact[node] for node in near)[: len(nodes)]  # every nearer node comes first


def test_round_trip(tmp_path):
    edges, sizes = star()
    found = grown(edges, sizes)
    write_sequences(found, tmp_path / "s.parquet")
    back = read_sequences(tmp_path / "s.parquet")
    assert np.array_equal(back.nodes, found.nodes)
    assert np.array_equal(back.hops, found.hops)
    assert str(read_parquet(tmp_path / "s.parquet").schema.field("hop").type).startswith("fixed_size_list")


def test_missing_item_is_refused(tmp_path):
    found = grown([(0, 1), (0, 2)], (1, 2, 0))
    write_sequences(found, tmp_path / "s.parquet")
    write_parquet(read_parquet(tmp_path / "s.parquet").slice(1), tmp_path / "s.parquet")
    with pytest.raises(DataError, match="one sequence per item"):
        read_sequences(tmp_path / "s.parquet")


def test_a_hub_is_looked_at_in_part(monkeypatch):
    """1,000 items of one genre: with a smaller HUB the neighbours looked at are others, as many, from all of the range."""
    edges, sizes = [(item, 1000) for item in range(1000)], (0, 1000, 1)
    whole = grown(edges, sizes, length=16)
    monkeypatch.setattr("kgrec.graphs.sequences.HUB", 100)
    part = grown(edges, sizes, length=16)
    assert (part.hops == whole.hops).all()
    assert (part.nodes != whole.nodes).any()
    drawn = part.nodes[:, 2:]
    assert all(len(set(row)) == 14 for row in drawn.tolist())
    # every item stands in 14 other sequences on average; deciles of their numbers are equally frequent
    counts = np.bincount(drawn.ravel() // 100, minlength=10)
    assert abs(counts / counts.mean() - 1).max() < 0.12


@pytest.mark.parametrize("order", ["bfs_balanced", "bfs_uniform"])
def test_a_draw_is_the_nodes_of_smallest_hash(order):
    """Against a plain sort of the hashes, for a hop long enough that most nodes are put aside before sorting."""
    edges, sizes = star(900, 700)
    mask = (1 << 64) - 1

    def mix(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    salt = mix(mix(42))  # item 0
    shuffled = sorted((node for node in range(1601) if node != 900), key=lambda node: mix(salt ^ node))
    if order == "bfs_balanced":
        users, others = ([n for n in shuffled if (n < 900) == side] for side in (True, False))
        shuffled = others[:8] + users[:7]
    assert grown(edges, sizes, length=16, order=order).nodes[0].tolist() == [900, *sorted(shuffled[:15])]
