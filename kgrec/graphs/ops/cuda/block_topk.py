"""A scan of a tile of scores keeps the few candidates that pass their row's threshold, in item order.

Bound: reading the tile once, b U T bytes; candidates are rare once the threshold has risen.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.negatives import is_known


@triton.jit(do_not_specialize=["first_item"])
def _scan(
    scores, stride, threshold, seen_indptr, seen, candidates, values, count, n_items, first_item, capacity,
    HAS_SEEN: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    user = tl.program_id(0).to(tl.int64)
    least = tl.load(threshold + user)
    taken = tl.load(count + user)
    for wide in range(0, n_items, WIDE):
        items = wide + tl.arange(0, WIDE)
        best = tl.max(tl.load(scores + user * stride + items, mask=items < n_items, other=float("-inf")), 0)
        stop = tl.where(best.to(tl.float32) >= least, tl.minimum(wide + WIDE, n_items), wide)
        for at in range(wide, stop, BLOCK):  # found in the cache
            item = at + tl.arange(0, BLOCK)
            score = tl.load(scores + user * stride + item, mask=item < n_items, other=float("-inf")).to(tl.float32)
            passes = (score >= least) & (item < n_items)
            number = (first_item + item).to(tl.int64)
            if HAS_SEEN:
                start = tl.load(seen_indptr + user).to(tl.int64) + tl.zeros((BLOCK,), dtype=tl.int64)
                last = tl.load(seen_indptr + user + 1).to(tl.int64) + tl.zeros((BLOCK,), dtype=tl.int64)
                passes = passes & (is_known(number, start, last, seen, passes) == 0)
            place = taken + tl.cumsum(passes.to(tl.int32), 0) - 1
            kept = passes & (place < capacity)
            tl.store(candidates + user * capacity + place, number, mask=kept)
            tl.store(values + user * capacity + place, score, mask=kept)
            taken += tl.sum(passes.to(tl.int32), 0)
    tl.store(count + user, taken)


def block_topk_scan(
    scores: Tensor, first_item: int, threshold: Tensor, candidates: Tensor, values: Tensor, count: Tensor,
    seen_indptr: Tensor | None = None, seen: Tensor | None = None,
) -> None:  # fmt: skip
    """Append to each row's candidates the items of a tile that score at least its threshold and are not seen.

    :param scores: shape: (U, T), float32 or bfloat16, last dimension contiguous; column t is item ``first_item + t``
    :param threshold: shape: (U,), float32
    :param candidates: shape: (U, C), int32 or int64, items in the order found, written in place
    :param values: shape: (U, C), float32, their scores
    :param count: shape: (U,), int32, candidates found so far; above C the row overflowed and the rest was not kept
    :param seen_indptr, seen: shapes (U + 1,) and (S,): sorted items of each row that never become candidates
    """
    n_users, n_items = scores.shape
    if n_users and n_items:
        with torch.cuda.device_of(scores):
            _scan[(n_users,)](
                scores, scores.stride(0), threshold, count if seen_indptr is None else seen_indptr,
                count if seen is None else seen, candidates, values, count, n_items, first_item, candidates.shape[1],
                HAS_SEEN=seen is not None, WIDE=4096, BLOCK=512, num_warps=4,
            )  # fmt: skip
