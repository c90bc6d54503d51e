"""What is drawn, what it stands for, and that the seed alone decides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from kgrec.errors import ConfigError
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import Adjacency, aggregate
from kgrec.graphs.sampling import Block, FanOut, NeighbourhoodSampler, fan_out_table
from tests.worlds import make_world

MIXED: FanOut = (2, {"interact": 1, "interact^-1": -1, "*": 2})


@pytest.fixture(scope="module")
def data() -> GraphData:
    return make_world(per_user=6)


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def adjacency_of(data: GraphData) -> Adjacency:
    return Adjacency.from_edges(data.heads, data.tails, (data.n_nodes, data.n_nodes))


def sampler_of(data: GraphData, fan_out: FanOut) -> NeighbourhoodSampler:
    return NeighbourhoodSampler(adjacency_of(data), data.rels, data.relations, fan_out)


def same(a: list[Block], b: list[Block]) -> bool:
    return all(torch.equal(x.edge, y.edge) and torch.equal(x.nodes, y.nodes) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("fan_out", [(1,), (3, 2), MIXED, (-1, 1)])
def test_each_run_gives_its_fan_out_of_edges(data: GraphData, fan_out: FanOut) -> None:
    sampler = sampler_of(data, fan_out)
    table = fan_out_table(fan_out, data.relations)
    nodes = torch.tensor([3, 13, 30, 0, 26])
    blocks = sampler.sample(nodes, seed=5)
    assert torch.equal(blocks[-1].heads, nodes)
    for below, above in pairwise(blocks):
        assert torch.equal(below.heads, above.nodes)
    for block, limits in zip(blocks, table, strict=True):
        edge = block.edge
        assert len(torch.unique(edge)) == len(edge)
        assert torch.equal(data.heads[edge], block.heads[block.adjacency.heads()])
        assert torch.equal(data.tails[edge], block.nodes[block.adjacency.tail.long()])
        assert len(torch.unique(block.nodes)) == len(block.nodes)
        for h in block.heads.tolist():
            for r, limit in enumerate(limits.tolist()):
                run = ((data.heads == h) & (data.rels == r)).nonzero()[:, 0]
                k = len(run) if limit < 0 else min(len(run), limit)
                mine = torch.isin(edge, run)
                assert int(mine.sum()) == k, (h, r)
                assert torch.equal(block.scale[mine], torch.full((k,), len(run) / max(k, 1)))


def draws(data: GraphData, weight: Tensor, x: Tensor, scaled: bool) -> Tensor:
    """Sums over drawn edges, of every node. shape: (draws, N, D)"""
    sampler = sampler_of(data, ({"interact": 2, "*": 1},))
    nodes, sums = torch.arange(data.n_nodes), []
    for seed in range(400):
        (block,) = sampler.sample(nodes, seed)
        drawn = weight[block.edge] * block.scale.double() if scaled else weight[block.edge]
        messages = drawn[:, None] * x[data.tails[block.edge]]
        sums.append(torch.zeros_like(x).index_add(0, data.heads[block.edge], messages))
    return torch.stack(sums)


def test_the_mean_of_many_draws_is_the_sum_over_all_edges(data: GraphData) -> None:
    """Within 5 standard errors everywhere; edges that count once each miss by far more."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(len(data.heads), generator=generator, dtype=torch.float64)
    x = torch.randn(data.n_nodes, 3, generator=generator, dtype=torch.float64)
    full = aggregate(adjacency_of(data), weight, x)

    def deviations(scaled: bool) -> Tensor:
        sums = draws(data, weight, x, scaled)
        error = sums.std(0) / len(sums) ** 0.5
        return ((sums.mean(0) - full).abs() / (error + 1e-9)).flatten()

    assert deviations(scaled=True).max() < 5
    assert deviations(scaled=False).median() > 5


def test_all_edges_are_the_graph_itself(data: GraphData) -> None:
    nodes = torch.tensor([20, 1, 11, 26, 33])  # 11 and 26 have no interactions
    (block,) = sampler_of(data, (-1,)).sample(nodes, 0)
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(len(data.heads), generator=generator, dtype=torch.float64)
    x = torch.randn(data.n_nodes, 4, generator=generator, dtype=torch.float64)
    assert torch.equal(block.scale, torch.ones(len(block.edge)))
    full = aggregate(adjacency_of(data), weight, x)
    drawn = aggregate(block.adjacency, weight[block.edge], x[block.nodes])
    assert torch.allclose(drawn, full[nodes], rtol=1e-13, atol=1e-15)


def test_the_seed_alone_decides(data: GraphData, two_threads: None) -> None:
    nodes = torch.arange(data.n_nodes)
    sampler = sampler_of(data, MIXED)
    first = sampler.sample(nodes, 3)
    assert not same(sampler.sample(nodes, 4), first)
    assert same(sampler_of(data, MIXED).sample(nodes, 3), first)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert same(sampler.sample(nodes, 3), first)


def test_threads_do_not_decide_on_a_graph_large_enough_for_several(two_threads: None) -> None:
    data = make_world(n_users=3000, n_items=400, n_entities=300, per_user=12)
    sampler = sampler_of(data, (3, 3))
    with_two = sampler.sample(torch.arange(3000), 2**62)
    torch.set_num_threads(1)
    assert same(sampler.sample(torch.arange(3000), 2**62), with_two)


def test_no_nodes_and_no_edges(data: GraphData) -> None:
    sampler = sampler_of(data, (2, 2))
    for nodes in (torch.empty(0, dtype=torch.int64), torch.tensor([11])):  # the last user has no edge
        blocks = sampler.sample(nodes, 0)
        assert [len(block.edge) for block in blocks] == [0, 0]
        assert torch.equal(blocks[0].nodes, nodes)


def test_edges_that_are_not_sorted_are_refused(data: GraphData) -> None:
    with pytest.raises(ValueError, match="sorted by head and relation"):
        NeighbourhoodSampler(adjacency_of(data), data.rels.flip(0), data.relations, (1,))


@pytest.mark.parametrize(
    ("fan_out", "message"),
    [
        (({"genre": 3, "*": 1},), "fan_out, layer 1: the graph has no relation 'genre'; it has interact, a, b"),
        ((1, {"a": 3}), "fan_out, layer 2: no number for relation 'interact'; add '*'"),
    ],
)
def test_fan_outs_that_do_not_fit_the_graph(data: GraphData, fan_out: FanOut, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        sampler_of(data, fan_out)


def test_a_relations_own_number_comes_first(data: GraphData) -> None:
    assert fan_out_table(({"*": 4, "a": 1}, 7), data.relations).tolist() == [[4, 1, 4, 4, 4, 4], [7] * 6]


@pytest.mark.parametrize("value", [(0,), (-2,), ({"a": 0},)])
def test_a_fan_out_is_a_number_of_edges_or_all(value: FanOut) -> None:
    with pytest.raises(ValidationError, match="1 or more edges"):
        TypeAdapter(FanOut).validate_python(value)
