"""Negatives are drawn uniformly from what is not known to be true: items a user has not in train, tails a head has not.

A draw is a hash of (seed, position, try), so any batch can be drawn again from its seed alone, whatever came before it.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.bi_interaction import _U, _hash

#: after so many rejected draws the last one is kept: the head is then (nearly) connected to every candidate
MAX_TRIES = 128


@numba.njit(inline="always")
def _known(row, value, indptr, sorted_values):
    low, high = indptr[row], indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if sorted_values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < indptr[row + 1] and sorted_values[low] == value


@numba.njit(parallel=True, nogil=True, cache=True)
def _draw(rows, low, high, indptr, known, out, seed):
    for i in numba.prange(len(rows)):
        span = _U(high[i] - low[i])
        value = low[i]
        for attempt in range(MAX_TRIES):
            bits = _hash(seed, _U(i) * _U(MAX_TRIES) + _U(attempt))
            # multiply-shift maps 32 random bits to the span without division; bias below span / 2^32
            value = low[i] + np.int64(((bits >> _U(32)) * span) >> _U(32))
            if not _known(rows[i], value, indptr, known):
                break
        out[i] = value


class _Known:
    """Sorted distinct values of each row, in compressed rows."""

    def __init__(self, rows: Tensor, values: Tensor, n_rows: int, n_values: int) -> None:
        keys = torch.unique(rows.cpu() * n_values + values.cpu())
        counts = torch.bincount(keys // n_values, minlength=n_rows)
        self.indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.values = keys % n_values

    def draw(self, rows: Tensor, low: Tensor, high: Tensor, seed: int) -> Tensor:
        rows_cpu = rows.cpu()
        out = torch.empty_like(rows_cpu)
        _draw(
            numpy_view(rows_cpu), numpy_view(low.cpu()), numpy_view(high.cpu()), numpy_view(self.indptr), numpy_view(self.values), numpy_view(out),
            _U(seed & 0xFFFFFFFFFFFFFFFF),
        )  # fmt: skip
        return out.to(rows.device)


class NegativeItems:
    """Draws items outside a user's training items.

    :param users, items: shape: (T,), int64, training interactions
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        self._known = _Known(users, items, n_users, n_items)
        self.n_items = n_items

    def draw(self, users: Tensor, seed: int) -> Tensor:
        """One item per user, uniform over the items not in train (see ``MAX_TRIES``). shape: (B,), int64"""
        low = torch.zeros_like(users, device="cpu")
        return self._known.draw(users, low, low + self.n_items, seed)


class NegativeTails:
    """Draws tails that no triple of the head has, under any relation.

    Candidates are all items and entities; where the true tail is a user, all users; where the head is a user, all items.

    :param heads, tails: shape: (M,), int64, nodes of all edges
    """

    def __init__(self, heads: Tensor, tails: Tensor, n_users: int, n_items: int, n_nodes: int) -> None:
        self._known = _Known(heads, tails, n_nodes, n_nodes)
        self._users, self._items_end, self._nodes = n_users, n_users + n_items, n_nodes

    def draw(self, heads: Tensor, tails: Tensor, seed: int) -> Tensor:
        """One false tail per triple.

        :param heads, tails: shape: (B,), int64, nodes of the true triples
        :return: shape: (B,), int64, nodes
        """
        to_user = tails < self._users
        low = torch.where(to_user, 0, self._users)
        high = torch.where(to_user, self._users, torch.where(heads < self._users, self._items_end, self._nodes))
        return self._known.draw(heads, low, high, seed)
