"""Relation-wise projection multiplies each row by the matrix of its relation.

Gathering one d x k matrix per row would take B d k floats (84 MB at B = 5120, d = k = 64); rows sorted by relation need none of
it. On the CPU one kernel walks the rows in blocks of one relation; elsewhere it is one product per relation present.
Bound: 2 B d k flops forward, twice that backward.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.simd import LANES, load, multiply_tile, multiply_tile_transposed, store

_BLOCK = 8
_PANEL = 2 * LANES


@numba.njit(parallel=True, nogil=True, cache=True)
def _project(x, starts, relation, bounds, matrix, out):
    """``out[b] = x[b] @ matrix[relation]`` over blocks of at most eight rows of one relation."""
    for block in numba.prange(len(starts)):
        start, r = starts[block], relation[block]
        count = min(_BLOCK, bounds[r + 1] - start)
        rows = np.zeros((_BLOCK, x.shape[1]), np.float32)
        product = np.zeros((_BLOCK, out.shape[1]), np.float32)
        for i in range(count):
            for j in range(0, x.shape[1], LANES):
                store(rows, i, j, load(x, start + i, j))
        for j in range(0, out.shape[1], _PANEL):
            multiply_tile(product, 0, j, rows, 0, matrix[r], x.shape[1], 0)
        for i in range(count):
            for j in range(0, out.shape[1], LANES):
                store(out, start + i, j, load(product, i, j))


@numba.njit(parallel=True, nogil=True, cache=True)
def _matrix_gradient(x, g, bounds, present, out):
    """``out[r] += g[rows of r].T @ x[rows of r]``; a tile of eight rows of a matrix is one thread's work."""
    tiles = out.shape[1] // _BLOCK
    for work in numba.prange(len(present) * tiles):
        r, i = present[work // tiles], work % tiles * _BLOCK
        for j in range(0, out.shape[2], _PANEL):
            multiply_tile_transposed(out[r], i, j, g, i, x, bounds[r + 1], bounds[r])


def _in_tiles(x: Tensor, matrix: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not any(w % _PANEL for w in matrix.shape[1:])


def _blocks(bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and relation of every block."""
    per_relation = -(-np.diff(bounds) // _BLOCK)
    relation = np.repeat(np.arange(len(bounds) - 1), per_relation)
    inside = np.arange(len(relation)) - np.repeat(np.cumsum(per_relation) - per_relation, per_relation)
    return bounds[relation] + inside * _BLOCK, relation


class _RelationProject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bounds: list[int]) -> Tensor:
        ctx.save_for_backward(x, matrix)
        ctx.bounds = bounds
        out = x.new_empty(len(x), matrix.shape[1])
        if _in_tiles(x, matrix):
            ends = np.asarray(bounds)
            turned = numpy_view(matrix.transpose(1, 2).contiguous())
            _project(numpy_view(x.contiguous()), *_blocks(ends), ends, turned, numpy_view(out))
            return out
        for r, (start, stop) in enumerate(pairwise(bounds)):
            if stop > start:
                torch.mm(x[start:stop], matrix[r].T, out=out[start:stop])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, matrix = ctx.saved_tensors
        g = gradients[0].contiguous()
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_matrix = torch.zeros_like(matrix) if ctx.needs_input_grad[1] else None
        if _in_tiles(x, matrix):
            ends = np.asarray(ctx.bounds)
            if grad_x is not None:
                _project(numpy_view(g), *_blocks(ends), ends, numpy_view(matrix.contiguous()), numpy_view(grad_x))
            if grad_matrix is not None:
                present = np.flatnonzero(np.diff(ends))
                _matrix_gradient(numpy_view(x.contiguous()), numpy_view(g), ends, present, numpy_view(grad_matrix))
            return grad_x, grad_matrix, None
        for r, (start, stop) in enumerate(pairwise(ctx.bounds)):
            if stop == start:
                continue
            if grad_x is not None:
                torch.mm(g[start:stop], matrix[r], out=grad_x[start:stop])
            if grad_matrix is not None:
                torch.mm(g[start:stop].T, x[start:stop], out=grad_matrix[r])
        return grad_x, grad_matrix, None


def relation_project(x: Tensor, matrix: Tensor, bounds: list[int]) -> Tensor:
    """``out[b] = matrix[r(b)] @ x[b]`` for rows sorted by relation.

    :param x: shape: (B, D), rows sorted by relation
    :param matrix: shape: (R, K, D)
    :param bounds: R + 1 row numbers; relation r has rows ``bounds[r]:bounds[r + 1]``
    :return: shape: (B, K)
    """
    return _RelationProject.apply(x, matrix, bounds)
