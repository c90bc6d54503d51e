"""Attention against plain torch, DGL and the formula edge by edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kgrec.graphs.ops import KGAttention, edge_softmax, reference
from kgrec.graphs.ops import attention as module
from tests.graphs.ops.small_graphs import GRAPHS, adjacency_of, rand


def parameters(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Node vectors of width 4 and five relations into width 3; no edge has relation 1 or 4."""
    return tuple(t.detach().to(dtype) for t in (rand(n, 4), rand(5, 3, seed=1), rand(5, 3, 4, seed=2)))  # type: ignore[return-value]


def rels_of(n_edges: int) -> Tensor:
    return torch.tensor([0, 2, 3, 2, 0, 0, 2])[torch.arange(n_edges) % 7]


@pytest.mark.parametrize("block", [1, 3, 8192])
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("ids", [torch.int32, torch.int64])
def test_equals_the_reference(name: str, block: int, ids: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    adjacency = adjacency_of(name)
    rels, given = rels_of(adjacency.n_edges), parameters(adjacency.shape[0])
    attention = KGAttention(adjacency, rels.to(ids))
    right = reference.attention_scores(adjacency, rels, *given)
    assert torch.allclose(attention.scores(*given), right)
    assert torch.allclose(attention(*given), edge_softmax(adjacency, right))
    single = attention.scores(*(t.float() for t in given))
    torch.testing.assert_close(single.double(), right, rtol=1e-5, atol=1e-5)


def test_equals_the_formula_edge_by_edge() -> None:
    adjacency = adjacency_of("parallel edges, a self loop, isolated nodes")
    rels, (x, e, w) = rels_of(adjacency.n_edges), parameters(9)
    scores = KGAttention(adjacency, rels).scores(x, e, w)
    for edge, (h, r, t) in enumerate(zip(adjacency.heads(), rels, adjacency.tail.long(), strict=True)):
        assert scores[edge].item() == pytest.approx(float((w[r] @ x[t]) @ torch.tanh(w[r] @ x[h] + e[r])))


def test_equals_dgl() -> None:
    from kgrec.graphs.dgl_compat import dgl

    heads, tails, n = GRAPHS["random"]
    rels, (x, e, w) = rels_of(len(heads)), parameters(n)
    graph = dgl.graph((tails, heads), num_nodes=n)
    by_relation = w.transpose(1, 2).contiguous()
    graph.edata["t"] = dgl.ops.gather_mm(x[tails], by_relation, idx_b=rels)
    graph.edata["h"] = torch.tanh(dgl.ops.gather_mm(x[heads], by_relation, idx_b=rels) + e[rels])
    theirs = dgl.nn.functional.edge_softmax(graph, (graph.edata["t"] * graph.edata["h"]).sum(-1))
    assert torch.allclose(KGAttention(adjacency_of("random"), rels)(x, e, w), theirs)


def test_without_projection_it_is_uniform_and_a_large_relation_saturates_it() -> None:
    adjacency = adjacency_of("parallel edges, a self loop, isolated nodes")
    attention = KGAttention(adjacency, torch.zeros(adjacency.n_edges, dtype=torch.int64))
    x, e, w = parameters(9)
    degree = adjacency.indptr.diff()[adjacency.heads()]
    assert torch.allclose(attention(x, e[:1], torch.zeros_like(w[:1])), 1 / degree.double())
    saturated = attention.scores(x, torch.full_like(e[:1], 1e6), w[:1])
    assert torch.allclose(saturated, (x[adjacency.tail.long()] @ w[0].T).sum(-1))


def test_the_same_bits_on_every_run_and_any_number_of_threads(over_threads: Callable[..., list[Any]]) -> None:
    adjacency = adjacency_of("random")
    attention, given = KGAttention(adjacency, rels_of(adjacency.n_edges)), parameters(300, torch.float32)
    first, *others = over_threads(lambda: attention(*given))
    assert all(torch.equal(first, other) for other in others)
