"""A segment reduction turns the rows between two bounds into one row: their sum, their mean, or the maximum of each column.

Bound: reading M rows and writing N, (M + N) D numbers, forward and backward.
"""

from __future__ import annotations

from typing import Any, Literal

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view

_CHUNKS = 64
_OPTIONS = {"parallel": True, "nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}


@numba.njit(nogil=True, cache=True)
def _first_row(indptr, chunk):
    """First row of a chunk; the chunks share rows plus elements evenly, whatever the lengths of the segments."""
    rows = len(indptr) - 1
    target = (indptr[rows] + rows) * chunk // _CHUNKS
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        if indptr[middle] + middle < target:
            low = middle + 1
        else:
            high = middle
    return rows if chunk == _CHUNKS else low


@numba.njit(**_OPTIONS)
def _sum(indptr, x, mean, out):
    for chunk in numba.prange(_CHUNKS):
        for row in range(_first_row(indptr, chunk), _first_row(indptr, chunk + 1)):
            total = out[row]
            total[:] = 0
            for at in range(indptr[row], indptr[row + 1]):
                one = x[at]
                for j in range(len(one)):
                    total[j] += one[j]
            if mean and indptr[row + 1] > indptr[row]:
                count = out.dtype.type(indptr[row + 1] - indptr[row])
                for j in range(len(total)):
                    total[j] /= count


@numba.njit(**_OPTIONS)
def _sum_backward(indptr, g, mean, out):
    for chunk in numba.prange(_CHUNKS):
        for row in range(_first_row(indptr, chunk), _first_row(indptr, chunk + 1)):
            count = out.dtype.type(indptr[row + 1] - indptr[row] if mean else 1)
            g_row = g[row]
            for at in range(indptr[row], indptr[row + 1]):
                one = out[at]
                for j in range(len(one)):
                    one[j] = g_row[j] / count


@numba.njit(**_OPTIONS)
def _max(indptr, x, out, place):
    for chunk in numba.prange(_CHUNKS):
        for row in range(_first_row(indptr, chunk), _first_row(indptr, chunk + 1)):
            top, where = out[row], place[row]
            start = indptr[row]
            if start == indptr[row + 1]:
                top[:], where[:] = 0, -1
                continue
            top[:], where[:] = x[start], start
            for at in range(start + 1, indptr[row + 1]):
                one = x[at]
                for j in range(len(one)):
                    # the first of equal maxima stays; a NaN wins over numbers
                    higher = one[j] > top[j] or (np.isnan(one[j]) and not np.isnan(top[j]))
                    top[j] = one[j] if higher else top[j]
                    where[j] = at if higher else where[j]


@numba.njit(**_OPTIONS)
def _max_backward(g, place, out):
    for row in numba.prange(len(g)):
        for j in range(g.shape[1]):
            if place[row, j] >= 0:
                out[place[row, j], j] = g[row, j]


class _SegmentReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, indptr: Tensor, x: Tensor, kind: Literal["sum", "mean", "max"]) -> Tensor:
        ctx.kind, ctx.rows = kind, len(x)
        x, place = x.contiguous(), None
        if x.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            out, place = cuda.segment_reduce(indptr, x, kind)
        else:
            out = x.new_empty(len(indptr) - 1, x.shape[1])
            if kind == "max":
                place = torch.empty_like(out, dtype=torch.int64)
                _max(numpy_view(indptr), numpy_view(x), numpy_view(out), numpy_view(place))
            else:
                _sum(numpy_view(indptr), numpy_view(x), kind == "mean", numpy_view(out))
        ctx.save_for_backward(indptr, place)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        indptr, place = ctx.saved_tensors
        g = gradients[0].contiguous()
        if g.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            return None, cuda.segment_reduce_backward(indptr, g, ctx.kind, place, ctx.rows), None
        if ctx.kind == "max":
            out = g.new_zeros(ctx.rows, g.shape[1])
            _max_backward(numpy_view(g), numpy_view(place), numpy_view(out))
        else:
            out = g.new_empty(ctx.rows, g.shape[1])
            _sum_backward(numpy_view(indptr), numpy_view(g), ctx.kind == "mean", numpy_view(out))
        return None, out, None


def segment_reduce(indptr: Tensor, x: Tensor, kind: Literal["sum", "mean", "max"]) -> Tensor:
    """Reduce ``x[indptr[n]:indptr[n + 1]]`` to row n. A segment without rows gives zeros and takes no gradient, under ``max`` too.

    :param indptr: shape: (N + 1,), int32 or int64, ascending from 0 to M
    :param x: shape: (M, D), float32 or float64
    :param kind: of equal maxima the first gets the gradient
    :return: shape: (N, D)
    """
    return _SegmentReduce.apply(indptr, x, kind)
