"""Edge softmax on CUDA: short rows several to a program, long rows in pieces whose maxima and sums are joined in order.

Bound: forward reads 4 M + 8 N bytes and writes 4 M; backward reads 8 M + 8 N and writes 4 M. Later passes over a row find it in
the cache.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.spans import SEGMENT, Spans, accumulator, span, spans

_ROWS = {"BLOCK_R": 8, "BLOCK_E": 32}


@triton.jit
def _short(begin, end, n_rows, SEGMENT: tl.constexpr, BLOCK_R: tl.constexpr):
    """Bounds of the rows of a program; long rows are empty here."""
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    start = tl.load(begin + row, mask=row < n_rows, other=0)
    stop = tl.load(end + row, mask=row < n_rows, other=0)
    return start, tl.where(stop - start > SEGMENT, start, stop)


@triton.jit
def _finite(top):
    """The maximum to subtract: 0 where there is no score above -inf, so that nothing subtracts -inf from itself."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit(do_not_specialize=["n_rows"])
def _forward_short(
    begin,
    end,
    score,
    out,
    n_rows,
    SEGMENT: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_E: tl.constexpr,
    ACC: tl.constexpr,
):
    start, stop = _short(begin, end, n_rows, SEGMENT, BLOCK_R)
    longest = tl.max(stop - start, 0)
    lane = start[:, None] + tl.arange(0, BLOCK_E)[None, :]
    top = tl.full((BLOCK_R,), float("-inf"), ACC)
    for at in range(0, longest, BLOCK_E):
        inside = lane + at < stop[:, None]
        value = tl.load(score + lane + at, mask=inside, other=float("-inf")).to(ACC)
        top = tl.maximum(top, tl.max(value, 1))
    top = _finite(top)[:, None]
    total = tl.zeros((BLOCK_R,), dtype=ACC)
    for at in range(0, longest, BLOCK_E):
        inside = lane + at < stop[:, None]
        total += tl.sum(tl.exp(tl.load(score + lane + at, mask=inside, other=float("-inf")).to(ACC) - top), 1)
    for at in range(0, longest, BLOCK_E):
        inside = lane + at < stop[:, None]
        raised = tl.exp(tl.load(score + lane + at, mask=inside, other=float("-inf")).to(ACC) - top)
        tl.store(out + lane + at, raised / total[:, None], mask=inside)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _forward_slots(
    begin,
    end,
    score,
    slot_top,
    slot_total,
    slot_row,
    first_slot,
    n_slots,
    n_rows,
    SEGMENT: tl.constexpr,
    ACC: tl.constexpr,
):
    """Maximum of a piece and sum of its exponentials under that maximum."""
    slot = tl.program_id(0)
    _, start, stop, _, mine = span(slot, begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    e = start + tl.arange(0, SEGMENT)
    value = tl.load(score + e, mask=e < stop, other=float("-inf")).to(ACC)
    top = tl.max(value, 0)
    tl.store(slot_top + slot, top, mask=mine)
    tl.store(slot_total + slot, tl.sum(tl.exp(value - _finite(top)), 0), mask=mine)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _forward_long(
    begin, end, score, out, slot_top, slot_total, slot_row, first_slot, n_slots, n_rows,
    SEGMENT: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Every piece joins all pieces of its row, in the same order, and writes its own probabilities."""
    row, start, stop, _, mine = span(tl.program_id(0), begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    lane = tl.arange(0, SEGMENT)
    first = tl.load(first_slot + row, mask=mine, other=0)
    degree = tl.load(end + row, mask=mine, other=0) - tl.load(begin + row, mask=mine, other=0)
    last = first + tl.cdiv(degree, SEGMENT)
    tops = tl.full((SEGMENT,), float("-inf"), ACC)
    for at in range(first, last, SEGMENT):
        tops = tl.maximum(tops, tl.load(slot_top + at + lane, mask=at + lane < last, other=float("-inf")))
    top = _finite(tl.max(tops, 0))
    totals = tl.zeros((SEGMENT,), dtype=ACC)
    for at in range(first, last, SEGMENT):
        raised = tl.exp(tl.load(slot_top + at + lane, mask=at + lane < last, other=float("-inf")) - top)
        totals += raised * tl.load(slot_total + at + lane, mask=at + lane < last, other=0.0)
    e = start + lane
    value = tl.load(score + e, mask=e < stop, other=float("-inf")).to(ACC)
    tl.store(out + e, tl.exp(value - top) / tl.sum(totals, 0), mask=e < stop)


@triton.jit(do_not_specialize=["n_rows"])
def _backward_short(
    begin, end, probability, g, out, n_rows,
    SEGMENT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_E: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    start, stop = _short(begin, end, n_rows, SEGMENT, BLOCK_R)
    longest = tl.max(stop - start, 0)
    lane = start[:, None] + tl.arange(0, BLOCK_E)[None, :]
    total = tl.zeros((BLOCK_R,), dtype=ACC)
    for at in range(0, longest, BLOCK_E):
        inside = lane + at < stop[:, None]
        p = tl.load(probability + lane + at, mask=inside, other=0.0).to(ACC)
        total += tl.sum(p * tl.load(g + lane + at, mask=inside, other=0.0).to(ACC), 1)
    for at in range(0, longest, BLOCK_E):
        inside = lane + at < stop[:, None]
        p = tl.load(probability + lane + at, mask=inside, other=0.0).to(ACC)
        given = tl.load(g + lane + at, mask=inside, other=0.0).to(ACC)
        tl.store(out + lane + at, p * (given - total[:, None]), mask=inside)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _backward_slots(
    begin,
    end,
    probability,
    g,
    slot_total,
    slot_row,
    first_slot,
    n_slots,
    n_rows,
    SEGMENT: tl.constexpr,
    ACC: tl.constexpr,
):
    slot = tl.program_id(0)
    _, start, stop, _, mine = span(slot, begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    e = start + tl.arange(0, SEGMENT)
    p = tl.load(probability + e, mask=e < stop, other=0.0).to(ACC)
    tl.store(slot_total + slot, tl.sum(p * tl.load(g + e, mask=e < stop, other=0.0).to(ACC), 0), mask=mine)


@triton.jit(do_not_specialize=["n_slots", "n_rows"])
def _backward_long(
    begin, end, probability, g, out, slot_total, slot_row, first_slot, n_slots, n_rows,
    SEGMENT: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row, start, stop, _, mine = span(tl.program_id(0), begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT)
    lane = tl.arange(0, SEGMENT)
    first = tl.load(first_slot + row, mask=mine, other=0)
    degree = tl.load(end + row, mask=mine, other=0) - tl.load(begin + row, mask=mine, other=0)
    last = first + tl.cdiv(degree, SEGMENT)
    totals = tl.zeros((SEGMENT,), dtype=ACC)
    for at in range(first, last, SEGMENT):
        totals += tl.load(slot_total + at + lane, mask=at + lane < last, other=0.0)
    e = start + lane
    p = tl.load(probability + e, mask=e < stop, other=0.0).to(ACC)
    given = tl.load(g + e, mask=e < stop, other=0.0).to(ACC)
    tl.store(out + e, p * (given - tl.sum(totals, 0)), mask=e < stop)


def _slots(plan: Spans, n_rows: int) -> tuple[Tensor, Tensor, int, int]:
    return plan.slot_row, plan.first_slot, len(plan.slot_row), n_rows


def edge_softmax(indptr: Tensor, score: Tensor) -> Tensor:
    """Softmax of ``score`` over the edges of each row.

    :param indptr: shape: (N + 1,), int32 or int64
    :param score: shape: (M,)
    :return: shape: (M,)
    """
    score, n_rows = score.contiguous(), len(indptr) - 1
    out, kind = torch.empty_like(score), {"SEGMENT": SEGMENT, "ACC": accumulator(score.dtype)}
    if not score.numel():
        return out
    plan = spans(indptr, len(score))
    slots = _slots(plan, n_rows)
    with torch.cuda.device_of(score):
        _forward_short[(triton.cdiv(n_rows, _ROWS["BLOCK_R"]),)](
            plan.begin, plan.end, score, out, n_rows, num_warps=1, **_ROWS, **kind
        )
        if slots[2]:
            real = torch.float64 if score.dtype == torch.float64 else torch.float32
            top, total = score.new_empty(2, slots[2], dtype=real)
            _forward_slots[(slots[2],)](plan.begin, plan.end, score, top, total, *slots, num_warps=1, **kind)
            _forward_long[(slots[2],)](plan.begin, plan.end, score, out, top, total, *slots, num_warps=1, **kind)
    return out


def edge_softmax_backward(indptr: Tensor, probability: Tensor, g: Tensor) -> Tensor:
    """Gradient of the scores, ``p (g - sum over the row of p g)``.

    :param probability: shape: (M,), what :func:`edge_softmax` returned
    :param g: shape: (M,), gradient of the probabilities
    :return: shape: (M,)
    """
    probability, g, n_rows = probability.contiguous(), g.contiguous(), len(indptr) - 1
    out, kind = torch.empty_like(g), {"SEGMENT": SEGMENT, "ACC": accumulator(g.dtype)}
    if not g.numel():
        return out
    plan = spans(indptr, len(g))
    slots = _slots(plan, n_rows)
    with torch.cuda.device_of(g):
        _backward_short[(triton.cdiv(n_rows, _ROWS["BLOCK_R"]),)](
            plan.begin, plan.end, probability, g, out, n_rows, num_warps=1, **_ROWS, **kind
        )
        if slots[2]:
            total = g.new_empty(slots[2], dtype=torch.float64 if g.dtype == torch.float64 else torch.float32)
            _backward_slots[(slots[2],)](plan.begin, plan.end, probability, g, total, *slots, num_warps=1, **kind)
            _backward_long[(slots[2],)](plan.begin, plan.end, probability, g, out, total, *slots, num_warps=1, **kind)
    return out
