"""Negatives on CUDA: the draws of the CPU, number for number, since a draw is a hash of (seed, position, try).

Bound: 40 bytes per draw in and out, and some log2(degree) dependent reads of the row's known values per try, which mostly hit
the cache; latency, not bandwidth, is the limit.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.hashing import halves, splitmix64, whole
from kgrec.graphs.ops.negatives import MAX_TRIES


@triton.jit
def is_known(value, low, last, known, active):
    """Is ``value`` among ``known[low:last]`` (sorted)?"""
    high = last
    while tl.max((active & (low < high)).to(tl.int32), 0) > 0:
        searching = active & (low < high)
        middle = (low + high) // 2
        below = tl.load(known + middle, mask=searching, other=0).to(tl.int64) < value
        low = tl.where(searching & below, middle + 1, low)
        high = tl.where(searching & (below == 0), middle, high)
    return active & (low < last) & (tl.load(known + low, mask=active & (low < last), other=0).to(tl.int64) == value)


@triton.jit(do_not_specialize=["n", "seed_low", "seed_high"])
def _draw(
    rows, low, high, indptr, known, out, n, seed_low, seed_high, TRIES: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = i < n
    seed = whole(seed_low, seed_high)
    row = tl.load(rows + i, mask=active, other=0).to(tl.int64)
    least = tl.load(low + i, mask=active, other=0).to(tl.int64)
    span = (tl.load(high + i, mask=active, other=0).to(tl.int64) - least).to(tl.uint64)
    first = tl.load(indptr + row, mask=active, other=0).to(tl.int64)
    last = tl.load(indptr + row + 1, mask=active, other=0).to(tl.int64)
    value, attempt, open = least, 0, active
    while (attempt < TRIES) & (tl.max(open.to(tl.int32), 0) > 0):
        bits = splitmix64(seed, (i * TRIES + attempt).to(tl.uint64))
        value = tl.where(open, least + (((bits >> 32) * span) >> 32).to(tl.int64), value)
        open = is_known(value, first, last, known, open)
        attempt += 1
    tl.store(out + i, value, mask=i < n)


def draw_negatives(rows: Tensor, low: Tensor, high: Tensor, indptr: Tensor, known: Tensor, seed: int) -> Tensor:
    """One value of ``low[b]:high[b]`` that row ``rows[b]`` does not know, or the last tried (see ``MAX_TRIES``).

    :param rows, low, high: shape: (B,), int32 or int64
    :param indptr: shape: (N + 1,), int32 or int64
    :param known: shape: (K,), int32 or int64, sorted within each row
    :return: shape: (B,), int64
    """
    rows, low, high = rows.contiguous(), low.contiguous(), high.contiguous()
    out = torch.empty_like(rows, dtype=torch.int64)
    if len(out):
        with torch.cuda.device_of(out):
            _draw[(triton.cdiv(len(out), 128),)](
                rows, low, high, indptr, known, out, len(out), *halves(seed), TRIES=MAX_TRIES, BLOCK=128, num_warps=4
            )
    return out
