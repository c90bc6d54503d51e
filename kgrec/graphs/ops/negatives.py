"""Negatives are drawn uniformly from what is not known to be true: items a user has not in train, tails a head has not.

A draw is a hash of (seed, position, try), so any batch can be drawn again from its seed alone, whatever came before it.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import _indptr
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.bi_interaction import _U, _hash

#: after so many rejected draws the last one is kept: the head is then (nearly) connected to every candidate
MAX_TRIES = 128


#: draws a thread takes at a time
_BLOCK = 1024
#: known pairs are also kept as one bit per row and value while that takes no more memory than this, in bytes
BITMAP_BYTES = 32 * 2**20


@numba.njit(inline="always")
def _known(row, value, indptr, sorted_values, bits):
    if len(bits):
        return (bits[_U(row), _U(value) >> _U(5)] >> np.uint32(value & 31)) & np.uint32(1) != 0
    low, high = indptr[row], indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if sorted_values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < indptr[row + 1] and sorted_values[low] == value


@numba.njit(inline="always")
def _candidate(seed, position, attempt, low, high):
    hashed = _hash(seed, _U(position) * _U(MAX_TRIES) + _U(attempt))
    # multiply-shift maps 32 random bits to the span without division; bias below span / 2^32
    return low + np.int64(((hashed >> _U(32)) * _U(high - low)) >> _U(32))


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _draw(rows, low, high, indptr, known, bits, out, seed):
    """Everybody's first try is drawn on vectors; then those that are known try again."""
    for block in numba.prange((len(rows) + _BLOCK - 1) // _BLOCK):
        start, stop = block * _BLOCK, min((block + 1) * _BLOCK, len(rows))
        drawn, row, lowest, highest = out[start:stop], rows[start:stop], low[start:stop], high[start:stop]
        for k in range(len(drawn)):
            drawn[k] = _candidate(seed, start + k, 0, lowest[k], highest[k])
        for k in range(len(drawn)):
            attempt = 1
            while attempt < MAX_TRIES and _known(row[k], drawn[k], indptr, known, bits):
                drawn[k] = _candidate(seed, start + k, attempt, lowest[k], highest[k])
                attempt += 1


@numba.njit(parallel=True, nogil=True, cache=True)
def _sort_rows(indptr, values, count):
    """Sort the values of every row, the distinct ones first, and count these."""
    for row in numba.prange(len(count)):
        own = values[indptr[row] : indptr[row + 1]]
        own.sort()
        kept = min(len(own), 1)
        for k in range(1, len(own)):
            if own[k] != own[k - 1]:
                own[kept] = own[k]
                kept += 1
        count[row] = kept


@numba.njit(nogil=True, cache=True)
def _close_gaps(indptr, values, count):
    """Move the first ``count[row]`` values of every row together, and set ``indptr`` to them."""
    end = 0
    for row in range(len(count)):
        start = indptr[row]
        indptr[row] = end
        for k in range(count[row]):
            values[end] = values[start + k]
            end += 1
    indptr[len(count)] = end


@numba.njit(nogil=True, cache=True)
def _set_bits(indptr, values, bits):
    for row in range(len(indptr) - 1):
        for at in range(indptr[row], indptr[row + 1]):
            bits[row, values[at] >> 5] |= np.uint32(1) << np.uint32(values[at] & 31)


class _Known:
    """Sorted distinct values of each row, in compressed rows, and as bits where there are few enough."""

    def __init__(self, rows: Tensor, values: Tensor, n_rows: int, n_values: int) -> None:
        rows, values = rows.cpu(), values.cpu().to(torch.int32, copy=True)
        if bool((rows[1:] < rows[:-1]).any()):
            order = torch.argsort(rows)
            rows, values = rows[order], values[order]
        self.indptr, count = _indptr(rows, n_rows), np.empty(n_rows, np.int64)
        _sort_rows(numpy_view(self.indptr), numpy_view(values), count)
        _close_gaps(numpy_view(self.indptr), numpy_view(values), count)
        self.values = values[: int(self.indptr[-1])].clone()
        words = -(-n_values // 32)
        fits = 4 * n_rows * words <= BITMAP_BYTES
        self._bits = np.zeros((n_rows if fits else 0, words), dtype=np.uint32)
        if fits:
            _set_bits(numpy_view(self.indptr), numpy_view(self.values), self._bits)

    def draw(self, rows: Tensor, low: Tensor, high: Tensor, seed: int) -> Tensor:
        """One value from ``low[i]:high[i]`` for each of ``rows``; all on one device. shape: (B,)"""
        seed &= 0xFFFFFFFFFFFFFFFF
        if self.indptr.device != rows.device:
            self.indptr, self.values = self.indptr.to(rows.device), self.values.to(rows.device)
        if rows.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            rows, low, high = (t.long().contiguous() for t in (rows, low, high))
            return cuda.draw_negatives(rows, low, high, self.indptr, self.values.long(), seed)
        out = torch.empty(len(rows), dtype=torch.int64)
        _draw(
            numpy_view(rows), numpy_view(low), numpy_view(high), numpy_view(self.indptr), numpy_view(self.values),
            self._bits, numpy_view(out), _U(seed),
        )  # fmt: skip
        return out


class NegativeItems:
    """Draws items outside a user's training items.

    :param users, items: shape: (T,), int64, training interactions
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        self._known = _Known(users, items, n_users, n_items)
        self.n_items = n_items

    def draw(self, users: Tensor, seed: int) -> Tensor:
        """One item per user, uniform over the items not in train (see ``MAX_TRIES``). shape: (B,), int64"""
        bounds = torch.tensor([0, self.n_items], device=users.device)
        return self._known.draw(users, bounds[:1].expand(len(users)), bounds[1:].expand(len(users)), seed)


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
