"""Adjacency, aggregation, bi-interaction and lookups against plain torch, DGL, hand arithmetic and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import (
    Adjacency,
    aggregate,
    bi_interaction,
    distinct,
    edge_softmax,
    gather_rows,
    reference,
)  # fmt: skip
from tests.graphs.ops.small_graphs import GRAPHS, adjacency_of, gradients, rand

N = 9


@pytest.fixture
def edges() -> tuple[torch.Tensor, torch.Tensor]:
    """A small graph with parallel edges, a self loop, and isolated heads (4, 8)."""
    pairs = torch.tensor(
        [[0, 1], [0, 1], [0, 2], [1, 0], [2, 2], [3, 7], [3, 5], [3, 6], [5, 0], [6, 1], [7, 3], [7, 3]]
    )
    return pairs[:, 0].contiguous(), pairs[:, 1].contiguous()


@pytest.fixture
def adjacency(edges: tuple[torch.Tensor, torch.Tensor]) -> Adjacency:
    return Adjacency.from_edges(*edges, (N, N))


def test_unsorted_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted"):
        Adjacency.from_edges(torch.tensor([1, 0]), torch.tensor([0, 1]), (2, 2))


def test_heads_and_transpose_give_back_the_edges(
    adjacency: Adjacency, edges: tuple[torch.Tensor, torch.Tensor]
) -> None:
    heads, tails = edges
    assert torch.equal(adjacency.heads(), heads)
    assert torch.equal(adjacency.tail.long(), tails)
    assert torch.equal(heads[adjacency.t_edge].int(), adjacency.t_head)


@pytest.mark.parametrize("ids", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", GRAPHS)
def test_aggregate_equals_the_reference_and_finite_differences(name: str, ids: torch.dtype) -> None:
    adjacency = adjacency_of(name, ids)
    w, x = rand(adjacency.n_edges), rand(adjacency.shape[1], 5, seed=1)
    ours, plain = aggregate(adjacency, w, x), reference.aggregate(adjacency, w, x)
    assert torch.allclose(ours, plain)
    for a, b in zip(gradients(ours, w, x), gradients(plain, w, x), strict=True):
        assert torch.allclose(a, b)
    single = aggregate(adjacency, w.float(), x.float())
    torch.testing.assert_close(single.double(), plain, rtol=1e-5, atol=1e-5)
    if 0 < len(w) < 20:
        assert gradcheck(lambda w, x: aggregate(adjacency, w, x), (w, x))


def test_aggregate_gives_the_same_bits_on_any_number_of_threads(over_threads: Callable[..., list[Any]]) -> None:
    adjacency = adjacency_of("random")
    w, x = rand(adjacency.n_edges, dtype=torch.float32), rand(300, 5, seed=1, dtype=torch.float32)

    def run() -> list[torch.Tensor]:
        out = aggregate(adjacency, w, x)
        return [out.detach(), *gradients(out, w, x)]

    first, *others = over_threads(run)
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_aggregate_and_softmax_equal_dgl(adjacency: Adjacency, edges: tuple[torch.Tensor, torch.Tensor]) -> None:
    from kgrec.graphs.dgl_compat import dgl

    heads, tails = edges
    graph = dgl.graph((tails, heads), num_nodes=N)  # messages go from tail to head
    score, x = rand(adjacency.n_edges), rand(N, 4, seed=1)
    theirs_score, theirs_x = score.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
    graph.edata["a"] = dgl.nn.functional.edge_softmax(graph, theirs_score)
    graph.ndata["x"] = theirs_x
    graph.update_all(dgl.function.u_mul_e("x", "a", "m"), dgl.function.sum("m", "y"))
    ours = aggregate(adjacency, edge_softmax(adjacency, score), x)
    assert torch.allclose(ours, graph.ndata["y"])
    g = rand(N, 4, seed=2).detach()
    ours.backward(g)
    graph.ndata["y"].backward(g)
    assert torch.allclose(score.grad, theirs_score.grad)
    assert torch.allclose(x.grad, theirs_x.grad)


def test_first_rows_are_the_rows_of_the_whole(adjacency: Adjacency) -> None:
    w, x = rand(adjacency.n_edges), rand(N, 3, seed=1)
    part = adjacency.first_rows(4)
    assert torch.equal(aggregate(part, w[: part.n_edges], x), aggregate(adjacency, w, x)[:4])


def test_gather_rows_adds_repeated_rows() -> None:
    x, index = rand(6, 3), torch.tensor([1, 1, 4, 0, 1])
    ours, plain = gather_rows(x, index), reference.gather_rows(x, index)
    assert torch.equal(ours, plain)
    assert torch.allclose(gradients(ours, x)[0], gradients(plain, x)[0])
    assert gradcheck(lambda x: gather_rows(x, index), (x,))


def test_bi_interaction_by_hand() -> None:
    """SPEC: e_0 = (1, -1), e_N = (1, 2), identity weights: (3, 1 - 2 s)."""
    eye, zero = torch.eye(2), torch.zeros(2)
    h, n = torch.tensor([[1.0, -1.0]]), torch.tensor([[1.0, 2.0]])
    for slope in (0.01, 0.2):
        out = bi_interaction(h, n, eye, zero, eye, zero, negative_slope=slope)
        assert out[0].tolist() == pytest.approx([3, 1 - 2 * slope])


def test_bi_interaction_gradients_with_and_without_dropout() -> None:
    h, n, w1, w2 = rand(5, 3), rand(5, 3, seed=1), rand(6, 3, seed=2), rand(6, 3, seed=3)
    b1, b2 = rand(6, seed=4), rand(6, seed=5)
    ours, plain = bi_interaction(h, n, w1, b1, w2, b2), reference.bi_interaction(h, n, w1, b1, w2, b2)
    assert torch.allclose(ours, plain)
    for a, b in zip(gradients(ours, h, n, w1, b2), gradients(plain, h, n, w1, b2), strict=True):
        assert torch.allclose(a, b)
    for p in (0.0, 0.4):
        assert gradcheck(lambda *a, p=p: bi_interaction(*a, dropout=p, seed=11), (h, n, w1, b1, w2, b2))


def test_dropout_rate_scale_and_seed() -> None:
    one, zero = torch.ones(2000, 6), torch.zeros(6)
    w = torch.eye(6)
    out = bi_interaction(one, zero.expand(2000, 6), w, zero, w, zero, dropout=0.3, seed=1)
    kept = out != 0
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.02)
    assert out[kept].double().mean().item() == pytest.approx(1 / 0.7, rel=1e-3)
    again = bi_interaction(one, zero.expand(2000, 6), w, zero, w, zero, dropout=0.3, seed=1)
    other = bi_interaction(one, zero.expand(2000, 6), w, zero, w, zero, dropout=0.3, seed=2)
    assert torch.equal(out, again)
    assert not torch.equal(out, other)
    columns = kept.double()
    correlation = np.corrcoef(columns.numpy().T)
    assert np.abs(correlation - np.eye(6)).max() < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(adjacency: Adjacency) -> None:
    w, x, score = rand(adjacency.n_edges), rand(N, 5, seed=1), rand(adjacency.n_edges, seed=2)
    there = adjacency.to("cuda")
    cuda = [t.detach().cuda().requires_grad_() for t in (w, x, score)]
    cpu_out = aggregate(adjacency, w * edge_softmax(adjacency, score), x)
    cuda_out = aggregate(there, cuda[0] * edge_softmax(there, cuda[2]), cuda[1])
    assert torch.allclose(cpu_out, cuda_out.cpu())
    cpu_out.sum().backward()
    cuda_out.sum().backward()
    for a, b in zip((w, x, score), cuda, strict=True):
        assert torch.allclose(a.grad, b.grad.cpu())


@pytest.mark.parametrize("n", [40, 4000])
def test_distinct_is_unique_without_sorting(n: int) -> None:
    index = torch.randint(0, 40, (55,), generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(distinct(index, n), torch.unique(index, return_inverse=True), strict=True):
        assert torch.equal(ours, theirs)
    assert [len(part) for part in distinct(index[:0], 40)] == [0, 0]
