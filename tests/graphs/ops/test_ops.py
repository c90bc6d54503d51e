"""Every operator against another way to the same number: torch on the edge list, DGL, hand arithmetic, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import (
    Adjacency,
    KGAttention,
    NegativeItems,
    NegativeTails,
    aggregate,
    bi_interaction,
    edge_softmax,
    gather_rows,
    relation_project,
)  # fmt: skip

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


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


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


def test_aggregate_equals_index_add_and_gradients_are_right(adjacency: Adjacency) -> None:
    w, x = rand(adjacency.n_edges), rand(N, 5, seed=1)
    expected = torch.zeros(N, 5, dtype=torch.float64).index_add(
        0, adjacency.heads(), w[:, None] * x[adjacency.tail.long()]
    )
    assert torch.allclose(aggregate(adjacency, w, x), expected)
    assert torch.equal(aggregate(adjacency, w, x)[4], torch.zeros(5, dtype=torch.float64))
    assert gradcheck(lambda w, x: aggregate(adjacency, w, x), (w, x))


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


def test_edge_softmax(adjacency: Adjacency) -> None:
    score = rand(adjacency.n_edges)
    weight = edge_softmax(adjacency, score)
    sums = torch.zeros(N, dtype=torch.float64).index_add(0, adjacency.heads(), weight)
    with_edges = adjacency.indptr.diff() > 0
    assert torch.allclose(sums, with_edges.double())
    shift = torch.arange(N, dtype=torch.float64)[adjacency.heads()]
    assert torch.allclose(edge_softmax(adjacency, score + shift), weight)
    assert gradcheck(lambda s: edge_softmax(adjacency, s), (score,))


def test_edge_softmax_keeps_parallel_edges_apart_and_is_stable() -> None:
    adjacency = Adjacency.from_edges(torch.tensor([0, 0, 0, 1]), torch.tensor([1, 1, 2, 0]), (3, 3))
    weight = edge_softmax(adjacency, torch.tensor([1.0, 1.0, 1.0, 1e4]))
    assert weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0])
    weight = edge_softmax(adjacency, torch.tensor([1e4, -1e4, 0.0, 0.0]))
    assert weight.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_gather_rows_adds_repeated_rows() -> None:
    x, index = rand(6, 3), torch.tensor([1, 1, 4, 0, 1])
    assert torch.equal(gather_rows(x, index), x[index])
    assert gradcheck(lambda x: gather_rows(x, index), (x,))


def test_relation_project_equals_one_product_per_row() -> None:
    x, matrix = rand(7, 3), rand(4, 2, 3, seed=1)
    bounds, rels = [0, 2, 2, 6, 7], torch.tensor([0, 0, 2, 2, 2, 2, 3])
    assert torch.allclose(relation_project(x, matrix, bounds), torch.einsum("bd,bkd->bk", x, matrix[rels]))
    assert gradcheck(lambda x, m: relation_project(x, m, bounds), (x, matrix))


def attention(adjacency: Adjacency, rels: torch.Tensor) -> KGAttention:
    return KGAttention(adjacency, rels)


def test_attention_scores_equal_the_formula_edge_by_edge(adjacency: Adjacency) -> None:
    rels = torch.arange(adjacency.n_edges) % 3
    x, e, w = (t.detach() for t in (rand(N, 4), rand(3, 2, seed=1), rand(3, 2, 4, seed=2)))
    scores = attention(adjacency, rels).scores(x, e, w)
    for edge, (h, r, t) in enumerate(zip(adjacency.heads(), rels, adjacency.tail.long(), strict=True)):
        assert scores[edge].item() == pytest.approx(float((w[r] @ x[t]) @ torch.tanh(w[r] @ x[h] + e[r])))


def test_attention_without_projection_is_uniform_and_saturates(adjacency: Adjacency) -> None:
    rels = torch.zeros(adjacency.n_edges, dtype=torch.int64)
    x = rand(N, 4).detach()
    uniform = attention(adjacency, rels)(
        x, torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, 4, dtype=torch.float64)
    )
    degree = adjacency.indptr.diff()[adjacency.heads()]
    assert torch.allclose(uniform, 1 / degree.double())
    w = rand(1, 2, 4, seed=3).detach()
    saturated = attention(adjacency, rels).scores(x, torch.full((1, 2), 1e6, dtype=torch.float64), w)
    assert torch.allclose(saturated, (x[adjacency.tail.long()] @ w[0].T).sum(-1))


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


def test_negative_items_avoid_positives_and_are_uniform() -> None:
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 3, 4, 9])
    sampler = NegativeItems(users, items, 2, 10)
    batch = torch.zeros(70_000, dtype=torch.int64)
    drawn = sampler.draw(batch, seed=5)
    counts = torch.bincount(drawn, minlength=10)
    assert counts[[0, 3, 4]].sum() == 0
    expected = 10_000
    chi_square = float(((counts[counts > 0] - expected) ** 2 / expected).sum())
    assert chi_square < 22.5  # 99.9 % quantile with 6 degrees of freedom
    assert torch.equal(drawn, sampler.draw(batch, seed=5))
    assert not torch.equal(drawn, sampler.draw(batch, seed=6))


def test_negative_tails_keep_types_and_avoid_known_tails() -> None:
    # 2 users, 3 items, 4 entities: nodes 0-1, 2-4, 5-8
    heads, tails = torch.tensor([0, 2, 2, 2, 5]), torch.tensor([2, 0, 5, 6, 2])
    sampler = NegativeTails(heads, tails, 2, 3, 9)
    for head, tail, allowed in ((0, 2, {3, 4}), (2, 0, {1}), (2, 5, {2, 3, 4, 7, 8}), (5, 2, {3, 4, 5, 6, 7, 8})):
        drawn = sampler.draw(torch.full((500,), head), torch.full((500,), tail), seed=1)
        assert set(drawn.tolist()) == allowed


def test_a_head_that_knows_every_candidate_still_gets_one() -> None:
    sampler = NegativeItems(torch.zeros(3, dtype=torch.int64), torch.arange(3), 1, 3)
    assert 0 <= sampler.draw(torch.zeros(1, dtype=torch.int64), seed=0).item() < 3


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
