"""Row sums: ``out[h] = sum_e weight[e] * x[column[e]]`` over the edges of each row, in a fixed order and without atomics.

Bound: M (b D + 4 + 4) + b N D bytes at b bytes per number of ``x``; tables smaller than the L2 cache are read from there.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.spans import SEGMENT, accumulator, span, spans, tile


@triton.jit
def _sum(
    column, weight, edge, x, start, stop, j, width,
    HAS_COLUMN: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_EDGE: tl.constexpr,
    BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Sum over ``start:stop``; every lane adds its own edges up, and the lanes are added at the end."""
    total = tl.zeros((BLOCK_E, BLOCK_D), dtype=ACC)
    for at in range(start, stop, BLOCK_E):
        e = at + tl.arange(0, BLOCK_E)
        inside = e < stop
        source = e
        if HAS_COLUMN:
            source = tl.load(column + e, mask=inside, other=0).to(tl.int64)
        here = inside[:, None] & (j < width)[None, :]
        value = tl.load(x + source[:, None] * width + j[None, :], mask=here, other=0).to(ACC)
        if HAS_WEIGHT:
            of = e
            if HAS_EDGE:
                of = tl.load(edge + e, mask=inside, other=0).to(tl.int64)
            value *= tl.load(weight + of, mask=inside, other=0).to(ACC)[:, None]
        total += value
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _sum_spans(
    begin, end, column, weight, edge, x, out, partial, slot_row, first_slot, n_slots, n_rows, width,
    HAS_COLUMN: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_EDGE: tl.constexpr, MEAN: tl.constexpr,
    SEGMENT: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    row, start, stop, is_slot, mine = span(program, begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    total = _sum(
        column, weight, edge, x, start, stop, j, width, HAS_COLUMN, HAS_WEIGHT, HAS_EDGE, BLOCK_E, BLOCK_D, ACC
    )
    tl.store(partial + program.to(tl.int64) * width + j, total, mask=j < tl.where(mine & is_slot, width, 0))
    if MEAN:
        total = total / tl.maximum(stop - start, 1).to(ACC)
    tl.store(out + row * width + j, total, mask=j < tl.where(mine & (is_slot == 0), width, 0))


@triton.jit(do_not_specialize=["n_rows"])
def _sum_slots(
    begin, end, partial, out, long_row, first_slot, n_rows, width,
    MEAN: tl.constexpr, SEGMENT: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    row = tl.load(long_row + tl.program_id(0))
    used = row < n_rows
    degree = tl.load(end + row, mask=used, other=0) - tl.load(begin + row, mask=used, other=0)
    first = tl.load(first_slot + row, mask=used, other=0)
    last = first + tl.cdiv(degree, SEGMENT)
    total = _sum(partial, partial, partial, partial, first, last, j, width, False, False, False, BLOCK_E, BLOCK_D, ACC)
    if MEAN:
        total = total / tl.maximum(degree, 1).to(ACC)
    tl.store(out + row * width + j, total, mask=j < tl.where(used, width, 0))


def sum_rows(
    indptr: Tensor, column: Tensor | None, weight: Tensor | None, x: Tensor, edge: Tensor | None = None, *,
    rows: Tensor | None = None, mean: bool = False, dtype: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """Weighted sum of the rows of ``x`` over the edges of each row; a row without edges gets zeros.

    :param indptr: shape: (N + 1,), int32 or int64
    :param column: shape: (M,), int32 or int64, row of ``x`` each edge reads; None for ``x[e]`` itself
    :param weight: shape: (M,), None for ones
    :param x: shape: (C, D), float32, float64, bfloat16 or float16
    :param edge: shape: (M,), int32 or int64; edge e then weighs ``weight[edge[e]]``, so the transpose needs no copy of the weights
    :param rows: shape: (R,), int64, distinct; the rows to sum, all of them if None
    :param mean: divide by the number of edges
    :param dtype: of the result, ``x``'s if None
    :return: shape: (N, D), or (R, D)
    """
    x, n_rows, width = x.contiguous(), len(indptr) - 1 if rows is None else len(rows), x.shape[1]
    n_edges = len(x) if column is None else len(column)
    out = x.new_empty(n_rows, width, dtype=dtype)
    if not out.numel():
        return out
    plan, sums = spans(indptr, n_edges, rows), accumulator(x.dtype)
    n_slots, n_long = len(plan.slot_row), len(plan.long_row)
    partial = x.new_empty(n_slots, width, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    shape = tile(width)
    columns = triton.cdiv(width, shape["BLOCK_D"])
    with torch.cuda.device_of(x):
        _sum_spans[(n_slots + n_rows, columns)](
            plan.begin, plan.end, x if column is None else column, x if weight is None else weight, x if edge is None else edge,
            x, out, partial, plan.slot_row, plan.first_slot, n_slots, n_rows, width,
            HAS_COLUMN=column is not None, HAS_WEIGHT=weight is not None, HAS_EDGE=edge is not None, MEAN=mean,
            SEGMENT=SEGMENT, ACC=sums, num_warps=1, **shape,
        )  # fmt: skip
        if n_long:
            _sum_slots[(n_long, columns)](
                plan.begin, plan.end, partial, out, plan.long_row, plan.first_slot, n_rows, width,
                MEAN=mean, SEGMENT=SEGMENT, ACC=sums, num_warps=1, **shape,
            )  # fmt: skip
    return out
