"""Edge softmax against plain torch, DGL, hand arithmetic and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import Adjacency, edge_softmax, reference
from tests.graphs.ops.small_graphs import GRAPHS, adjacency_of, gradients, rand


@pytest.mark.parametrize("name", GRAPHS)
def test_equals_the_reference_and_finite_differences(name: str) -> None:
    adjacency = adjacency_of(name)
    score = rand(adjacency.n_edges)
    ours, plain = edge_softmax(adjacency, score), reference.edge_softmax(adjacency, score)
    assert torch.allclose(ours, plain)
    assert torch.allclose(gradients(ours, score)[0], gradients(plain, score)[0])
    if 0 < len(score) < 100:
        assert gradcheck(lambda s: edge_softmax(adjacency, s), (score,))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("ids", [torch.int32, torch.int64])
def test_float32_is_float64_rounded(name: str, ids: torch.dtype) -> None:
    adjacency = adjacency_of(name, ids)
    score = rand(adjacency.n_edges)
    right, single = edge_softmax(adjacency, 5 * score), edge_softmax(adjacency, 5 * score.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), right, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_equals_dgl(name: str) -> None:
    from kgrec.graphs.dgl_compat import dgl

    heads, tails, n = GRAPHS[name]
    adjacency, score = adjacency_of(name), rand(len(heads))
    graph = dgl.graph((tails, heads), num_nodes=n)  # messages go from tail to head
    theirs = dgl.nn.functional.edge_softmax(graph, score)
    ours = edge_softmax(adjacency, score)
    assert torch.allclose(ours, theirs)
    assert torch.allclose(gradients(ours, score)[0], gradients(theirs, score)[0])


def test_rows_sum_to_one_and_a_shift_of_a_row_changes_nothing() -> None:
    adjacency = adjacency_of("random")
    score = rand(adjacency.n_edges).detach()
    weight = edge_softmax(adjacency, score)
    sums = torch.zeros(300, dtype=torch.float64).index_add(0, adjacency.heads(), weight)
    assert torch.allclose(sums, (adjacency.indptr.diff() > 0).double())
    shift = torch.arange(300, dtype=torch.float64)[adjacency.heads()]
    assert torch.allclose(edge_softmax(adjacency, score + shift), weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parallel_edges_stay_apart_and_large_scores_do_not_overflow(dtype: torch.dtype) -> None:
    adjacency = Adjacency.from_edges(torch.tensor([0, 0, 0, 1]), torch.tensor([1, 1, 2, 0]), (3, 3))
    weight = edge_softmax(adjacency, torch.tensor([1.0, 1.0, 1.0, 1e4], dtype=dtype))
    assert weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0])
    weight = edge_softmax(adjacency, torch.tensor([1e4, -1e4, -torch.inf, 0.0], dtype=dtype))
    assert weight.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_nan_spoils_its_own_row_alone() -> None:
    adjacency = Adjacency.from_edges(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), (2, 2))
    weight = edge_softmax(adjacency, torch.tensor([1.0, torch.nan, 2.0, 2.0]))
    assert weight.isnan().tolist() == [True, True, False, False]
    assert weight[2:].tolist() == [0.5, 0.5]


def test_the_same_bits_on_every_run_and_any_number_of_threads(over_threads: Callable[..., list[Any]]) -> None:
    adjacency = adjacency_of("random")
    score = rand(adjacency.n_edges, dtype=torch.float32)

    def run() -> torch.Tensor:
        weight = edge_softmax(adjacency, score)
        return torch.stack([weight.detach(), *gradients(weight, score)])

    first, *others = over_threads(run)
    assert all(torch.equal(first, other) for other in others)
