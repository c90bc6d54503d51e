"""Neighbour aggregation is the sum over the edges of a head of weight times tail vector (KGAT eq. (3), B5).

Bound: reading one tail vector and one weight per edge and writing each row once, M (4 d + 8) + 4 N d bytes.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency


@numba.njit(parallel=True, nogil=True, cache=True)
def _sum_rows(indptr, column, weight, x, out, chunks):  # type: ignore[no-untyped-def]
    width = x.shape[1]
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            for j in range(width):
                out[row, j] = 0
            for edge in range(indptr[row], indptr[row + 1]):
                source, w = column[edge], weight[edge]
                for j in range(width):
                    out[row, j] += w * x[source, j]


@numba.njit(parallel=True, nogil=True, cache=True)
def _sum_rows_through(indptr, column, edge_of, weight, x, out, chunks):  # type: ignore[no-untyped-def]
    width = x.shape[1]
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            for j in range(width):
                out[row, j] = 0
            for edge in range(indptr[row], indptr[row + 1]):
                source, w = column[edge], weight[edge_of[edge]]
                for j in range(width):
                    out[row, j] += w * x[source, j]


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _edge_dots(indptr, column, g, x, out, chunks):  # type: ignore[no-untyped-def]
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            for edge in range(indptr[row], indptr[row + 1]):
                total = out.dtype.type(0)
                source = column[edge]
                for j in range(x.shape[1]):
                    total += g[row, j] * x[source, j]
                out[edge] = total


def _n(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjacency: Adjacency, weight: Tensor, x: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        x = x.contiguous()
        if x.device.type == "cpu":
            out = torch.empty(adjacency.shape[0], x.shape[1], dtype=x.dtype)
            a = adjacency
            _sum_rows(_n(a.indptr), _n(a.tail), _n(weight), _n(x), _n(out), _n(a.chunks))
            return out
        return _csr(adjacency.indptr, adjacency.tail, weight, adjacency.shape) @ x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        weight, x = ctx.saved_tensors
        a: Adjacency = ctx.adjacency
        g = gradients[0].contiguous()
        grad_weight = grad_x = None
        if ctx.needs_input_grad[2]:
            if g.device.type == "cpu":
                grad_x = torch.empty(a.shape[1], g.shape[1], dtype=g.dtype)
                _sum_rows_through(
                    _n(a.t_indptr), _n(a.t_head), _n(a.t_edge), _n(weight), _n(g), _n(grad_x), _n(a.t_chunks)
                )
            else:
                grad_x = _csr(a.t_indptr, a.t_head, weight[a.t_edge], a.shape[::-1]) @ g
        if ctx.needs_input_grad[1]:
            if g.device.type == "cpu":
                grad_weight = torch.empty_like(weight)
                _edge_dots(_n(a.indptr), _n(a.tail), _n(g), _n(x.contiguous()), _n(grad_weight), _n(a.chunks))
            else:
                grad_weight = (g[a.heads()] * x[a.tail.long()]).sum(-1)
        return None, grad_weight, grad_x


def _csr(indptr: Tensor, column: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(indptr.to(torch.int32), column, weight, shape, check_invariants=False)


def aggregate(adjacency: Adjacency, weight: Tensor, x: Tensor) -> Tensor:
    """Sum of ``weight[e] * x[tail[e]]`` over the edges of each head; a head without edges gets zeros.

    :param weight: shape: (M,), one weight per edge, constant or learnable
    :param x: shape: (C, D), float32 or float64
    :return: shape: (N, D)
    """
    return _Aggregate.apply(adjacency, weight, x)  # type: ignore[no-any-return, no-untyped-call]
