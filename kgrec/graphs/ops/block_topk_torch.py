"""Block top-k in plain torch, for devices without numba: the definitions, bounds and results of
:mod:`kgrec.graphs.ops.block_topk`.

Of each tile the items with the highest upper bounds join a pool; the pool's best stay, and the highest bound that was ever
dropped is kept. The pool is scored exactly. A user whose k-th score is not above what was dropped is scored against all items.

Shapes: B users of a block, I items, D width, K list length, T items of a tile, C candidates of a pool.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: items of a tile, candidates of a pool, and vectors of candidates held at once
_TILE, _POOL, _VECTORS = 16384, 256, 2**17


class DeviceTopK:
    """Items made ready for ranking on their device.

    :param items: shape: (I, D), float32, finite
    """

    def __init__(self, items: Tensor, tile: int = _TILE, pool: int = _POOL) -> None:
        self._items = items.detach().float()
        self._tile, self._pool = tile, pool

    @torch.no_grad()
    def __call__(
        self, vectors: Tensor, users: np.ndarray, start: np.ndarray, seen: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`kgrec.graphs.ops.block_topk.BlockTopK.__call__`; ``vectors`` are on the device of the items."""
        vectors = vectors.detach().float()
        best = np.full((len(vectors), k), -1, np.int64)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        if not len(vectors) or not len(self._items):
            return best, scores
        counts = start[users + 1] - start[users]
        rows = np.repeat(np.arange(len(users)), counts)
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = np.stack([rows, seen[np.repeat(start[users], counts) + inside]])
        bounds, pool, dropped = self._collect(
            vectors, torch.from_numpy(taken).to(vectors.device), max(self._pool, 2 * k)
        )
        exact = self._score(vectors, pool).masked_fill(bounds == -torch.inf, -torch.inf)
        items, values = _best(pool, exact, k)
        # what was dropped could tie with the last place: that is enough to look again
        last = values[:, -1] if values.shape[1] == k else values.new_full((len(values),), -torch.inf)
        for row in (dropped >= last.double()).nonzero()[:, 0].tolist():
            every = torch.arange(len(self._items), device=vectors.device)[None]
            mine = self._score(vectors[row : row + 1], every)
            mine[0, torch.from_numpy(taken[1][taken[0] == row]).to(mine.device)] = -torch.inf
            items[row], values[row] = (part[0] for part in _best(every, mine, items.shape[1]))
        items[values == -torch.inf] = -1
        best[:, : items.shape[1]], scores[:, : items.shape[1]] = items.cpu().numpy(), values.cpu().numpy()
        return best, scores

    def _collect(self, vectors: Tensor, taken: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pools: upper bounds (B, C) and items (B, C), and the highest bound dropped (B,), float64.

        float32 vectors are scaled by powers of two, so that their elements are at most 1; equation (1) then leaves
        ``gamma |p| |q|`` and underflow. Twice the gamma covers the rounding of the bounds themselves.
        """
        width = vectors.shape[1]
        p, p_scale, p_norm = _scaled(vectors)
        bounds = torch.zeros(len(vectors), 0, device=vectors.device, dtype=torch.float64)
        pool = torch.zeros(len(vectors), 0, device=vectors.device, dtype=torch.int64)
        dropped = bounds.new_full((len(vectors),), -torch.inf)
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            for first in range(0, len(self._items), self._tile):
                q, q_scale, q_norm = _scaled(self._items[first : first + self._tile])
                slack = 2 * width * 2.0**-24 / (1 - width * 2.0**-24) * p_norm[:, None] * q_norm + width * 2.0**-120
                upper = ((p @ q.T).double() + slack) * q_scale * p_scale[:, None]
                inside = (taken[1] >= first) & (taken[1] < first + len(q))
                upper[taken[0, inside], taken[1, inside] - first] = -torch.inf
                bounds = torch.cat([bounds, upper], 1)
                some = torch.arange(first, first + len(q), device=pool.device).expand(len(vectors), -1)
                pool = torch.cat([pool, some], 1)
                kept = bounds.topk(min(size + 1, bounds.shape[1]), dim=1)
                if kept.values.shape[1] > size:
                    dropped = torch.maximum(dropped, kept.values[:, size])
                bounds, pool = kept.values[:, :size], pool.gather(1, kept.indices[:, :size])
        finally:
            torch.set_float32_matmul_precision(precision)
        # an inner product just below a score may round up to it
        return bounds, pool, dropped + dropped.abs() * 2.0**-22 + 2.0**-148

    def _score(self, vectors: Tensor, items: Tensor) -> Tensor:
        """Exact scores, summed in float64 from the first column to the last. items: shape: (B, C); return: (B, C)"""
        scores = torch.empty(items.shape, device=vectors.device)
        for at, chosen in enumerate(items.split(step := max(1, _VECTORS // items.shape[1]))):
            left = vectors[at * step : at * step + len(chosen)]
            right = self._items[chosen]
            total = torch.zeros(chosen.shape, dtype=torch.float64, device=vectors.device)
            for column in range(vectors.shape[1]):
                total += left[:, column, None].double() * right[:, :, column].double()
            scores[at * step : at * step + len(chosen)] = total.float() + 0.0  # no negative zero
        return scores


def _scaled(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows over a power of two, float32; the power and the norm that is left, float64."""
    wide = x.double()
    exponent = torch.frexp(wide.abs().amax(1)).exponent
    power = torch.ldexp(torch.ones_like(wide[:, 0]), exponent)
    small = wide / power[:, None]
    return small.float(), power, small.norm(dim=1)


def _best(items: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` highest, by descending score, then ascending item. shape: (B, min(k, C)) each"""
    items, order = items.sort(dim=1)
    values, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return items.gather(1, order)[:, :k], values[:, :k]
