"""A span is what one program works on: a whole row, or ``SEGMENT`` edges of a row too long for one program.

Degrees follow a power law (a film has 3,000 raters, its neighbour in the table two): were a row always one program, the last
rows would run alone on an idle device. The pieces of a long row write to slots, and what reads the slots goes through them in
order. Numbers of slots and of long rows are bounds known from the number of edges, so planning never waits for the device;
programs beyond the true number find an empty span.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: edges of a row one program takes; a power of two
SEGMENT = 256


@dataclass(frozen=True)
class Spans:
    """Where rows begin and end, and where the pieces of the long ones lie.

    Legend: N rows, S slots (at most 2 M / SEGMENT), L long rows (at most M / SEGMENT).
    """

    #: shape: (N,), int64; edges of row n are ``begin[n]:end[n]``
    begin: Tensor
    end: Tensor
    #: shape: (S,), int64; row of each slot, N where the slot is unused
    slot_row: Tensor
    #: shape: (N,), int64; number of slots before those of each row
    first_slot: Tensor
    #: shape: (L,), int64; the long rows, then N
    long_row: Tensor


_PLANS: Any = WeakTensorKeyDictionary()


def spans(indptr: Tensor, n_edges: int, rows: Tensor | None = None) -> Spans:
    """The spans of compressed rows. Those of all rows are made once per ``indptr`` tensor, which must not change afterwards.

    :param indptr: shape: (N' + 1,), int32 or int64
    :param n_edges: M, ``indptr[-1]``
    :param rows: shape: (N,), int64, distinct; the rows to plan for, all of them if None
    """
    if rows is not None:
        return _plan(indptr[rows].long(), indptr[rows + 1].long(), n_edges)
    plan = _PLANS.get(indptr)
    if plan is None:  # copies, since a view would keep its key alive
        plan = _PLANS[indptr] = _plan(
            indptr[:-1].to(torch.int64, copy=True), indptr[1:].to(torch.int64, copy=True), n_edges
        )
    return plan


def _plan(begin: Tensor, end: Tensor, n_edges: int) -> Spans:
    degree = end - begin
    slots = torch.where(degree > SEGMENT, (degree + SEGMENT - 1) // SEGMENT, 0)
    after = slots.cumsum(0)
    n_long = n_edges // (SEGMENT + 1)
    n_slots = n_long + n_edges // SEGMENT  # a row of d edges has at most 1 + d / SEGMENT
    count = torch.arange(n_slots, device=begin.device)
    slot_row = torch.searchsorted(after, count, right=True)
    long_row = torch.searchsorted((slots > 0).cumsum(0), count[:n_long], right=True)
    return Spans(begin, end, slot_row, after - slots, long_row)


@triton.jit
def span(program, begin, end, slot_row, first_slot, n_slots, n_rows, SEGMENT: tl.constexpr):
    """(row, first edge, one past the last edge, is it a slot, is there anything to write) of a program: slots come first."""
    is_slot = program < n_slots
    row = tl.where(is_slot, tl.load(slot_row + program, mask=is_slot, other=0), (program - n_slots).to(tl.int64))
    used = row < n_rows
    start = tl.load(begin + row, mask=used, other=0)
    stop = tl.load(end + row, mask=used, other=0)
    mine = used & (is_slot | (stop - start <= SEGMENT))
    before = tl.load(first_slot + row, mask=used & is_slot, other=0)
    start = tl.where(is_slot & used, start + (program - before) * SEGMENT, start)
    stop = tl.where(is_slot, tl.minimum(start + SEGMENT, stop), stop)
    return row, start, tl.where(mine, stop, start), is_slot, mine


def accumulator(dtype: torch.dtype) -> tl.dtype:
    """The type sums are held in."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def tile(width: int, elements: int = 1024) -> dict[str, int]:
    """Edges and columns one warp holds at once: rows of up to 128 columns, some 16-byte loads in flight per thread."""
    block_d = min(max(triton.next_power_of_2(width), 16), 128)
    return {"BLOCK_E": max(elements // block_d, 1), "BLOCK_D": block_d}
