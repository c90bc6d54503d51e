"""Dots of two looked-up rows per edge: the gradient of a learnable edge weight, and the score of an edge in attention.

Bound: ``edge_dots`` reads M (b D + 4) + b N D bytes and writes 4 M; ``pair_dots`` reads both rows, M (2 b D + 12), and
writes 4 M. Neither is near the arithmetic peak: 2 D flops per edge.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.spans import SEGMENT, accumulator, span, spans, tile


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _edge_dots(
    begin, end, column, g, x, out, slot_row, first_slot, n_slots, n_rows, width,
    SEGMENT: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row, start, stop, _, _ = span(tl.program_id(0), begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    for at in range(start, stop, BLOCK_E):
        e = at + tl.arange(0, BLOCK_E)
        inside = e < stop
        source = tl.load(column + e, mask=inside, other=0).to(tl.int64)
        total = tl.zeros((BLOCK_E, BLOCK_D), dtype=ACC)
        for first in range(0, width, BLOCK_D):
            j = first + tl.arange(0, BLOCK_D)
            here = inside[:, None] & (j < width)[None, :]
            value = tl.load(x + source[:, None] * width + j[None, :], mask=here, other=0).to(ACC)
            total += value * tl.load(g + row * width + j, mask=j < width, other=0).to(ACC)[None, :]
        tl.store(out + e, tl.sum(total, 1), mask=inside)


def edge_dots(indptr: Tensor, column: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """``out[e] = <g[row of e], x[column[e]]>``.

    :param indptr: shape: (N + 1,), int32 or int64
    :param column: shape: (M,), int32 or int64
    :param g: shape: (N, D)
    :param x: shape: (C, D), of ``g``'s type
    :return: shape: (M,), of ``g``'s type
    """
    g, x, width = g.contiguous(), x.contiguous(), x.shape[1]
    out = g.new_empty(len(column))
    if out.numel():
        plan = spans(indptr, len(column))
        n_slots, n_rows = len(plan.slot_row), len(indptr) - 1
        with torch.cuda.device_of(x):
            _edge_dots[(n_slots + n_rows,)](
                plan.begin, plan.end, column, g, x, out, plan.slot_row, plan.first_slot, n_slots, n_rows, width,
                SEGMENT=SEGMENT, ACC=accumulator(x.dtype), num_warps=1, **tile(width, 512),
            )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["n"])
def _pair_dots(left, right, i, j, edge, out, n, width, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr):
    at = tl.program_id(0) * BLOCK_E + tl.arange(0, BLOCK_E)
    inside = at < n
    row = tl.load(i + at, mask=inside, other=0).to(tl.int64)[:, None] * width
    other = tl.load(j + at, mask=inside, other=0).to(tl.int64)[:, None] * width
    total = tl.zeros((BLOCK_E, BLOCK_D), dtype=ACC)
    for first in range(0, width, BLOCK_D):
        k = first + tl.arange(0, BLOCK_D)[None, :]
        here = inside[:, None] & (k < width)
        value = tl.load(left + row + k, mask=here, other=0).to(ACC)
        total += value * tl.load(right + other + k, mask=here, other=0).to(ACC)
    tl.store(out + tl.load(edge + at, mask=inside, other=0).to(tl.int64), tl.sum(total, 1), mask=inside)


def pair_dots(left: Tensor, right: Tensor, i: Tensor, j: Tensor, edge: Tensor, out: Tensor) -> Tensor:
    """``out[edge[n]] = <left[i[n]], right[j[n]]>``, in place.

    :param left: shape: (A, D)
    :param right: shape: (B, D)
    :param i, j: shape: (E,), int32 or int64, rows of ``left`` and of ``right``
    :param edge: shape: (E,), int32 or int64, distinct places in ``out``
    :param out: shape: (M,)
    :return: ``out``
    """
    left, right, width = left.contiguous(), right.contiguous(), left.shape[1]
    if len(edge):
        shape = tile(width, 2048)
        with torch.cuda.device_of(left):
            _pair_dots[(triton.cdiv(len(edge), shape["BLOCK_E"]),)](
                left, right, i, j, edge, out, len(edge), width, ACC=accumulator(left.dtype), num_warps=4, **shape
            )
    return out
