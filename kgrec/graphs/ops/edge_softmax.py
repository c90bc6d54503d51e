"""Edge softmax normalises scores over the edges of one head (B1): parallel edges are separate terms, a head without edges
has none, and the row maximum is subtracted first so that large scores do not overflow."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.arrays import numpy_view


@numba.njit(parallel=True, nogil=True, cache=True)
def _forward(indptr, score, out, chunks):
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            start, stop = indptr[row], indptr[row + 1]
            if start == stop:
                continue
            top = score[start]
            for edge in range(start + 1, stop):
                top = max(top, score[edge])
            total = out.dtype.type(0)
            for edge in range(start, stop):
                out[edge] = np.exp(score[edge] - top)
                total += out[edge]
            for edge in range(start, stop):
                out[edge] /= total


@numba.njit(parallel=True, nogil=True, cache=True)
def _backward(indptr, probability, g, out, chunks):
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            total = out.dtype.type(0)
            for edge in range(indptr[row], indptr[row + 1]):
                total += probability[edge] * g[edge]
            for edge in range(indptr[row], indptr[row + 1]):
                out[edge] = probability[edge] * (g[edge] - total)


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjacency: Adjacency, score: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        if score.device.type == "cpu":
            out = torch.empty_like(score)
            _forward(
                numpy_view(adjacency.indptr),
                numpy_view(score.contiguous()),
                numpy_view(out),
                numpy_view(adjacency.chunks),
            )
        else:
            heads, n = adjacency.heads(), adjacency.shape[0]
            top = score.new_full((n,), -torch.inf).scatter_reduce(0, heads, score, "amax")
            raised = torch.exp(score - top[heads])
            out = raised / score.new_zeros(n).index_add(0, heads, raised)[heads]
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (probability,) = ctx.saved_tensors
        a, g = ctx.adjacency, gradients[0].contiguous()
        if g.device.type == "cpu":
            out = torch.empty_like(g)
            _backward(
                numpy_view(a.indptr), numpy_view(probability), numpy_view(g), numpy_view(out), numpy_view(a.chunks)
            )
            return None, out
        heads = a.heads()
        total = g.new_zeros(a.shape[0]).index_add(0, heads, probability * g)
        return None, probability * (g - total[heads])


def edge_softmax(adjacency: Adjacency, score: Tensor) -> Tensor:
    """Softmax of ``score`` over the edges of each head.

    :param score: shape: (M,), in the adjacency's edge order
    :return: shape: (M,); the weights of each head with edges sum to 1
    """
    return _EdgeSoftmax.apply(adjacency, score)
