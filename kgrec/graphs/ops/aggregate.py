"""Neighbour aggregation is the sum over the edges of a head of weight times tail vector (KGAT eq. (3), B5).

Bound: reading one tail vector and one weight per edge and writing each row once, M (4 d + 8) + 4 N d bytes.
"""

from __future__ import annotations

from typing import Any

import numba
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.arrays import numpy_view


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract"})
def _sum_rows(indptr, column, weight, x, out, chunks):
    """Four edges are taken at once, so that the row sum is loaded and stored a quarter as often."""
    width = x.shape[1]
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            for j in range(width):
                out[row, j] = 0
            edge, stop = indptr[row], indptr[row + 1]
            while edge + 4 <= stop:
                s0, s1, s2, s3 = column[edge], column[edge + 1], column[edge + 2], column[edge + 3]
                w0, w1, w2, w3 = weight[edge], weight[edge + 1], weight[edge + 2], weight[edge + 3]
                for j in range(width):
                    out[row, j] += (w0 * x[s0, j] + w1 * x[s1, j]) + (w2 * x[s2, j] + w3 * x[s3, j])
                edge += 4
            while edge < stop:
                source, w = column[edge], weight[edge]
                for j in range(width):
                    out[row, j] += w * x[source, j]
                edge += 1


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _edge_dots(indptr, column, g, x, out, chunks):
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            for edge in range(indptr[row], indptr[row + 1]):
                total = out.dtype.type(0)
                source = column[edge]
                for j in range(x.shape[1]):
                    total += g[row, j] * x[source, j]
                out[edge] = total


def _sums(indptr: Tensor, column: Tensor, weight: Tensor, x: Tensor, chunks: Tensor) -> Tensor:
    if x.device.type != "cpu":
        from kgrec.graphs.ops import cuda

        return cuda.sum_rows(indptr, column, weight, x)
    out = torch.empty(len(indptr) - 1, x.shape[1], dtype=x.dtype)
    _sum_rows(*map(numpy_view, (indptr, column, weight, x, out, chunks)))
    return out


def _dots(a: Adjacency, g: Tensor, x: Tensor) -> Tensor:
    if x.device.type != "cpu":
        from kgrec.graphs.ops import cuda

        return cuda.edge_dots(a.indptr, a.tail, g, x)
    out = torch.empty(a.n_edges, dtype=x.dtype)
    _edge_dots(*map(numpy_view, (a.indptr, a.tail, g, x, out, a.chunks)))
    return out


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjacency: Adjacency, weight: Tensor, x: Tensor, by_tail: Tensor | None) -> Tensor:
        ctx.adjacency, ctx.by_tail = adjacency, by_tail
        x = x.contiguous()
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        return _sums(adjacency.indptr, adjacency.tail, weight, x, adjacency.chunks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        weight, x = ctx.saved_tensors
        a: Adjacency = ctx.adjacency
        g = gradients[0].contiguous()
        grad_weight = grad_x = None
        if ctx.needs_input_grad[2]:
            by_tail = weight[a.t_edge] if ctx.by_tail is None else ctx.by_tail
            grad_x = _sums(a.t_indptr, a.t_head, by_tail, g, a.t_chunks)
        if ctx.needs_input_grad[1]:
            grad_weight = _dots(a, g, x)
        return None, grad_weight, grad_x, None


def aggregate(adjacency: Adjacency, weight: Tensor, x: Tensor, by_tail: Tensor | None = None) -> Tensor:
    """Sum of ``weight[e] * x[tail[e]]`` over the edges of each head; a head without edges gets zeros.

    :param weight: shape: (M,), one weight per edge, constant or learnable
    :param x: shape: (C, D), float32 or float64
    :param by_tail: ``weight[adjacency.t_edge]``; weights that stay constant for many steps need it made only once
    :return: shape: (N, D)
    """
    return _Aggregate.apply(adjacency, weight, x, by_tail)
