"""Each operator of this package once more, in a few lines of plain torch: what the tests hold the fast versions to.

They take what the fast versions take, run in any dtype on any device, and autograd differentiates them. They need a row of
memory per edge or more, so nothing but tests uses them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kgrec.graphs.ops.adjacency import Adjacency


def aggregate(adjacency: Adjacency, weight: Tensor, x: Tensor) -> Tensor:
    """Sum of weight times tail vector over the edges of each head. shapes: (M,), (C, D) -> (N, D)"""
    message = weight[:, None] * x[adjacency.tail.long()]
    return x.new_zeros(adjacency.shape[0], x.shape[1]).index_add(0, adjacency.heads(), message)


def edge_softmax(adjacency: Adjacency, score: Tensor) -> Tensor:
    """Softmax over the edges of each head. shape: (M,) -> (M,)"""
    heads, n = adjacency.heads(), adjacency.shape[0]
    top = score.new_full((n,), -torch.inf).scatter_reduce(0, heads, score.detach(), "amax")
    raised = torch.exp(score - top[heads])
    return raised / score.new_zeros(n).index_add(0, heads, raised)[heads]


def relation_project(x: Tensor, matrix: Tensor, bounds: list[int]) -> Tensor:
    """Each row times the matrix of its relation, which is gathered once per row. shapes: (B, D), (R, K, D) -> (B, K)"""
    sizes = torch.tensor(bounds, device=x.device).diff()
    return torch.bmm(matrix.repeat_interleave(sizes, 0), x[:, :, None])[:, :, 0]


def attention_scores(adjacency: Adjacency, rels: Tensor, x: Tensor, relation: Tensor, matrix: Tensor) -> Tensor:
    """(W_r e_t)^T tanh(W_r e_h + e_r) of each edge. shapes: (M,), (N, D), (R, K), (R, K, D) -> (M,)"""
    of_edge = matrix[rels]
    head = torch.einsum("mkd,md->mk", of_edge, x[adjacency.heads()])
    tail = torch.einsum("mkd,md->mk", of_edge, x[adjacency.tail.long()])
    return (tail * torch.tanh(head + relation[rels])).sum(-1)


def segment_reduce(indptr: Tensor, x: Tensor, kind: Literal["sum", "mean", "max"]) -> Tensor:
    """Sum, mean or maximum of the rows between bounds, zero where there are none. shapes: (N + 1,), (M, D) -> (N, D)"""
    n = len(indptr) - 1
    segment = torch.repeat_interleave(torch.arange(n, device=x.device), indptr.long().diff())
    index = segment[:, None].expand_as(x)
    name = {"sum": "sum", "mean": "mean", "max": "amax"}[kind]
    return x.new_zeros(n, x.shape[1]).scatter_reduce(0, index, x, name, include_self=False)


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of a table. shapes: (N, D), (B,) -> (B, D)"""
    return x[index.long()]


def bi_interaction(
    h: Tensor, n: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *, negative_slope: float = 0.01
) -> Tensor:
    """Bi-interaction without dropout. shapes: (N, D_in) twice, (D_out, D_in), (D_out,) -> (N, D_out)"""
    together = F.leaky_relu(F.linear(h + n, w1, b1), negative_slope)
    return together + F.leaky_relu(F.linear(h * n, w2, b2), negative_slope)


def is_negative(rows: Tensor, drawn: Tensor, known_rows: Tensor, known_values: Tensor, n_values: int) -> Tensor:
    """Whether each drawn value is none its row is known to have. shapes: (B,), (B,), (T,), (T,) -> (B,), bool"""
    return ~torch.isin(rows * n_values + drawn, known_rows * n_values + known_values)


def block_topk(users: Tensor, items: Tensor, seen: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best unseen items of each user by inner product in float64, rounded once to float32; ties by item number.

    :param users: shape: (B, D)
    :param items: shape: (I, D)
    :param seen: shape: (B, I), bool
    :return: items, shape: (B, k), int64, -1 where a user has fewer unseen items; their scores, shape: (B, k), -inf there
    """
    score = (users.double() @ items.double().T).float().masked_fill(seen, -torch.inf)
    best, item = torch.sort(score, 1, descending=True, stable=True)
    best, item = best[:, :k], item[:, :k]
    return item.masked_fill(best == -torch.inf, -1), best
