"""Sum, mean and maximum of the rows between two bounds. Sum and mean are row sums that look nothing up; this is the maximum.

Bound: reads b M D + 8 N bytes, writes b N D, and 8 N D for the places of the maxima.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.spans import SEGMENT, accumulator, span, spans, tile
from kgrec.graphs.ops.cuda.sum_rows import sum_rows

Kind = Literal["sum", "mean", "max"]


@triton.jit
def _max(
    x, place, start, stop, j, width,
    HAS_PLACE: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Maximum over ``start:stop`` and the first edge that has it, -1 if there is none."""
    none: tl.constexpr = 0x7FFFFFFFFFFFFFFF
    best = tl.full((BLOCK_E, BLOCK_D), float("-inf"), ACC)
    where = tl.full((BLOCK_E, BLOCK_D), none, tl.int64)
    for at in range(start, stop, BLOCK_E):
        e = at + tl.arange(0, BLOCK_E)
        here = (e < stop)[:, None] & (j < width)[None, :]
        offset = e[:, None] * width + j[None, :]
        value = tl.load(x + offset, mask=here, other=float("-inf")).to(ACC)
        found = tl.zeros((BLOCK_E, BLOCK_D), dtype=tl.int64) + e[:, None]
        if HAS_PLACE:
            found = tl.load(place + offset, mask=here, other=0)
        better = here & ((value > best) | (where == none) | ((value != value) & (best == best)))
        best = tl.where(better, value, best)
        where = tl.where(better, found, where)
    # a NaN wins over numbers, the first over later ones
    undefined = tl.min(tl.where(best != best, where, none), 0)
    top = tl.max(tl.where(best == best, best, float("-inf")), 0)
    first = tl.min(tl.where((best == top[None, :]) & (where != none), where, none), 0)
    first = tl.where(undefined != none, undefined, first)
    top = tl.where(undefined != none, float("nan"), tl.where(first == none, 0.0, top))
    return top, tl.where(first == none, -1, first)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _max_spans(
    begin, end, x, out, place, partial, slot_place, slot_row, first_slot, n_slots, n_rows, width,
    SEGMENT: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    row, start, stop, is_slot, mine = span(program, begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    top, first = _max(x, x, start, stop, j, width, False, BLOCK_E, BLOCK_D, ACC)
    slot = program.to(tl.int64) * width + j
    tl.store(partial + slot, top, mask=j < tl.where(mine & is_slot, width, 0))
    tl.store(slot_place + slot, first, mask=j < tl.where(mine & is_slot, width, 0))
    tl.store(out + row * width + j, top, mask=j < tl.where(mine & (is_slot == 0), width, 0))
    tl.store(place + row * width + j, first, mask=j < tl.where(mine & (is_slot == 0), width, 0))


@triton.jit(do_not_specialize=["n_rows"])
def _max_slots(
    begin, end, partial, slot_place, out, place, long_row, first_slot, n_rows, width,
    SEGMENT: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    row = tl.load(long_row + tl.program_id(0))
    used = row < n_rows
    degree = tl.load(end + row, mask=used, other=0) - tl.load(begin + row, mask=used, other=0)
    start = tl.load(first_slot + row, mask=used, other=0)
    stop = start + tl.cdiv(degree, SEGMENT)
    top, first = _max(partial, slot_place, start, stop, j, width, True, BLOCK_E, BLOCK_D, ACC)
    tl.store(out + row * width + j, top, mask=j < tl.where(used, width, 0))
    tl.store(place + row * width + j, first, mask=j < tl.where(used, width, 0))


def segment_reduce(indptr: Tensor, x: Tensor, kind: Kind) -> tuple[Tensor, Tensor | None]:
    """Reduce ``x[indptr[n]:indptr[n + 1]]`` to one row each; an empty segment gives zeros.

    :param indptr: shape: (N + 1,), int32 or int64
    :param x: shape: (M, D)
    :param kind: of several equal maxima the first counts
    :return: shapes (N, D), and for ``max`` (N, D), int64: the row of ``x`` each maximum is in, -1 for an empty segment
    """
    if kind != "max":
        return sum_rows(indptr, None, None, x, mean=kind == "mean"), None
    x, n_rows, width = x.contiguous(), len(indptr) - 1, x.shape[1]
    out, place = x.new_empty(n_rows, width), x.new_empty(n_rows, width, dtype=torch.int64)
    if not out.numel():
        return out, place
    plan, sums, shape = spans(indptr, len(x)), accumulator(x.dtype), tile(width, 512)
    n_slots, n_long = len(plan.slot_row), len(plan.long_row)
    partial, slot_place = x.new_empty(n_slots, width), x.new_empty(n_slots, width, dtype=torch.int64)
    columns = triton.cdiv(width, shape["BLOCK_D"])
    with torch.cuda.device_of(x):
        _max_spans[(n_slots + n_rows, columns)](
            plan.begin, plan.end, x, out, place, partial, slot_place, plan.slot_row, plan.first_slot, n_slots, n_rows, width,
            SEGMENT=SEGMENT, ACC=sums, num_warps=1, **shape,
        )  # fmt: skip
        if n_long:
            _max_slots[(n_long, columns)](
                plan.begin, plan.end, partial, slot_place, out, place, plan.long_row, plan.first_slot, n_rows, width,
                SEGMENT=SEGMENT, ACC=sums, num_warps=1, **shape,
            )  # fmt: skip
    return out, place


def segment_reduce_backward(indptr: Tensor, g: Tensor, kind: Kind, place: Tensor | None, n_rows: int) -> Tensor:
    """Gradient of ``x``. Torch does it as well: every element is written once.

    :param g: shape: (N, D), gradient of the segments
    :param place: what :func:`segment_reduce` returned beside the maxima
    :param n_rows: M
    :return: shape: (M, D)
    """
    if kind == "max":
        assert place is not None
        spare = torch.where(place < 0, n_rows, place)  # empty segments write to a row that is cut off
        return g.new_zeros(n_rows + 1, g.shape[1]).scatter_(0, spare, g)[:n_rows]
    degree = indptr.diff().long()
    if kind == "mean":
        g = g / degree.clamp(min=1)[:, None]
    return torch.repeat_interleave(g, degree, 0, output_size=n_rows)
