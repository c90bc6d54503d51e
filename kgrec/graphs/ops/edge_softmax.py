"""Edge softmax normalises scores over the edges of one head (B1): parallel edges are separate terms, a head without edges
has none, and the row maximum is subtracted first so that large scores do not overflow.

Bound: reading the scores and writing the weights once, 8 M bytes in float32. A chunk of rows stays in the core's cache while
three loops go over it; the middle one, all exponentials, takes no heed of rows. Loops run over slices from 0,
because an index that might be negative keeps LLVM from vector instructions.
"""

from __future__ import annotations

from typing import Any

import numba
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.elementary import exp

_OPTIONS = {"parallel": True, "nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}


@numba.njit(**_OPTIONS)
def _forward(indptr, score, out, chunks):
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            given, raised = score[indptr[row] : indptr[row + 1]], out[indptr[row] : indptr[row + 1]]
            if len(given):
                top = given[0]
                for k in range(len(given)):
                    top = max(top, given[k])
                for k in range(len(given)):
                    raised[k] = given[k] - top
        flat = out[indptr[chunks[chunk]] : indptr[chunks[chunk + 1]]]
        for k in range(len(flat)):
            flat[k] = exp(flat[k])
        for row in range(chunks[chunk], chunks[chunk + 1]):
            raised = out[indptr[row] : indptr[row + 1]]
            total = out.dtype.type(0)
            for k in range(len(raised)):
                total += raised[k]
            for k in range(len(raised)):
                raised[k] /= total


@numba.njit(**_OPTIONS)
def _backward(indptr, probability, g, out, chunks):
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            p, g_row = probability[indptr[row] : indptr[row + 1]], g[indptr[row] : indptr[row + 1]]
            g_score = out[indptr[row] : indptr[row + 1]]
            total = out.dtype.type(0)
            for k in range(len(p)):
                total += p[k] * g_row[k]
            for k in range(len(p)):
                g_score[k] = p[k] * (g_row[k] - total)


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjacency: Adjacency, score: Tensor) -> Tensor:
        ctx.adjacency = a = adjacency
        score = score.contiguous()
        if score.device.type == "cpu":
            out = torch.empty_like(score)
            _forward(numpy_view(a.indptr), numpy_view(score), numpy_view(out), numpy_view(a.chunks))
        else:
            from kgrec.graphs.ops import cuda

            out = cuda.edge_softmax(a.indptr, score)
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
        from kgrec.graphs.ops import cuda

        return None, cuda.edge_softmax_backward(a.indptr, probability, g)


def edge_softmax(adjacency: Adjacency, score: Tensor) -> Tensor:
    """Softmax of ``score`` over the edges of each head.

    :param score: shape: (M,), float32 or float64, in the adjacency's edge order
    :return: shape: (M,); the weights of each head with edges sum to 1
    """
    return _EdgeSoftmax.apply(adjacency, score)
