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


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjacency: Adjacency, weight: Tensor, x: Tensor, by_tail: Tensor | None) -> Tensor:
        ctx.adjacency, ctx.by_tail = adjacency, by_tail
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        x = x.contiguous()
        if x.device.type == "cpu":
            out = torch.empty(adjacency.shape[0], x.shape[1], dtype=x.dtype)
            a = adjacency
            _sum_rows(
                numpy_view(a.indptr),
                numpy_view(a.tail),
                numpy_view(weight),
                numpy_view(x),
                numpy_view(out),
                numpy_view(a.chunks),
            )
            return out
        return _csr(adjacency.indptr, adjacency.tail, weight, adjacency.shape) @ x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        weight, x = ctx.saved_tensors
        a: Adjacency = ctx.adjacency
        g = gradients[0].contiguous()
        grad_weight = grad_x = None
        if ctx.needs_input_grad[2]:
            by_tail = weight[a.t_edge] if ctx.by_tail is None else ctx.by_tail
            if g.device.type == "cpu":
                grad_x = torch.empty(a.shape[1], g.shape[1], dtype=g.dtype)
                _sum_rows(
                    numpy_view(a.t_indptr),
                    numpy_view(a.t_head),
                    numpy_view(by_tail),
                    numpy_view(g),
                    numpy_view(grad_x),
                    numpy_view(a.t_chunks),
                )
            else:
                grad_x = _csr(a.t_indptr, a.t_head, by_tail, a.shape[::-1]) @ g
        if ctx.needs_input_grad[1]:
            if g.device.type == "cpu":
                grad_weight = torch.empty_like(weight)
                _edge_dots(
                    numpy_view(a.indptr),
                    numpy_view(a.tail),
                    numpy_view(g),
                    numpy_view(x.contiguous()),
                    numpy_view(grad_weight),
                    numpy_view(a.chunks),
                )
            else:
                grad_weight = (g[a.heads()] * x[a.tail.long()]).sum(-1)
        return None, grad_weight, grad_x, None


def _csr(indptr: Tensor, column: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(indptr.to(torch.int32), column, weight, shape, check_invariants=False)


def aggregate(adjacency: Adjacency, weight: Tensor, x: Tensor, by_tail: Tensor | None = None) -> Tensor:
    """Sum of ``weight[e] * x[tail[e]]`` over the edges of each head; a head without edges gets zeros.

    :param weight: shape: (M,), one weight per edge, constant or learnable
    :param x: shape: (C, D), float32 or float64
    :param by_tail: ``weight[adjacency.t_edge]``; weights that stay constant for many steps need it made only once
    :return: shape: (N, D)
    """
    return _Aggregate.apply(adjacency, weight, x, by_tail)
