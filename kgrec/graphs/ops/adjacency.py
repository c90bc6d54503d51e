"""An adjacency is the edge list in compressed rows (by head) together with its transpose (by tail).

Both are made once, so that a backward pass is as cheap as a forward pass. Legend: N rows (heads), C columns (tails), M edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view

_CHUNKS = 64
#: edges that cost as much as a row does beside its own: in a layer of an encoder, and on the way back through it
LAYER_ROW, LAYER_ROW_BACK = 40, 12


@dataclass(frozen=True)
class Adjacency:
    """Edges sorted by head. Parallel edges stay separate edges."""

    #: number of heads N and of tails C
    shape: tuple[int, int]
    #: shape: (N + 1,), int64; edges of head h are ``indptr[h]:indptr[h + 1]``
    indptr: Tensor
    #: shape: (M,), int32; tail of each edge
    tail: Tensor
    #: shape: (C + 1,), int64; the same edges by tail
    t_indptr: Tensor
    #: shape: (M,), int32; head of each edge, ordered by tail
    t_head: Tensor
    #: shape: (M,), int64; position among the edges sorted by head, ordered by tail
    t_edge: Tensor
    #: shape: (K + 1,), int64; bounds of row chunks with about M / K edges each, the unit of work of a thread
    chunks: Tensor
    t_chunks: Tensor

    @classmethod
    def from_edges(cls, heads: Tensor, tails: Tensor, shape: tuple[int, int]) -> Adjacency:
        """Build from edges sorted by head.

        :param heads: shape: (M,), int64, ascending
        :param tails: shape: (M,), int64
        :raises ValueError: if ``heads`` is not sorted
        """
        if heads.numel() > 1 and bool((heads[1:] < heads[:-1]).any()):
            raise ValueError("edges must be sorted by head")
        indptr = _indptr(heads, shape[0])
        t_edge = torch.argsort(tails, stable=True)
        t_indptr = _indptr(tails[t_edge], shape[1])
        return cls(
            shape, indptr, tails.to(torch.int32), t_indptr, heads[t_edge].to(torch.int32), t_edge,
            row_chunks(indptr), row_chunks(t_indptr),
        )  # fmt: skip

    @property
    def n_edges(self) -> int:
        """M."""
        return len(self.tail)

    @cached_property
    def layer_chunks(self) -> Tensor:
        """Bounds of row chunks of even work in a layer of an encoder."""
        return row_chunks(self.indptr, LAYER_ROW)

    @cached_property
    def t_layer_chunks(self) -> Tensor:
        """The same of the transpose, on the way back through a layer."""
        return row_chunks(self.t_indptr, LAYER_ROW_BACK)

    def heads(self) -> Tensor:
        """Head of each edge. shape: (M,), int64"""
        return torch.repeat_interleave(torch.arange(self.shape[0], device=self.indptr.device), self.indptr.diff())

    def first_rows(self, n: int) -> Adjacency:
        """The adjacency of the first ``n`` heads alone; its edges are the first ``indptr[n]`` edges of this one."""
        kept = self.t_head < n
        before = torch.cat([self.t_indptr.new_zeros(1), kept.cumsum(0)])
        indptr, t_indptr = self.indptr[: n + 1], before[self.t_indptr]
        return Adjacency(
            (n, self.shape[1]), indptr, self.tail[: int(indptr[n])], t_indptr, self.t_head[kept], self.t_edge[kept],
            row_chunks(indptr), row_chunks(t_indptr),
        )  # fmt: skip

    def to(self, device: torch.device | str) -> Adjacency:
        """The same adjacency on ``device``."""
        names = ("indptr", "tail", "t_indptr", "t_head", "t_edge", "chunks", "t_chunks")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def _indptr(sorted_ids: Tensor, n: int) -> Tensor:
    indptr = torch.zeros(n + 1, dtype=torch.int64, device=sorted_ids.device)
    torch.cumsum(torch.bincount(sorted_ids, minlength=n), 0, out=indptr[1:])
    return indptr


def row_chunks(indptr: Tensor, row_cost: int = 1) -> Tensor:
    """Row bounds such that every chunk has about the same work, an edge counting 1 and a row ``row_cost``."""
    load = indptr.cpu().numpy() + row_cost * np.arange(len(indptr))
    bounds = np.searchsorted(load, np.linspace(0, load[-1], _CHUNKS + 1).astype(np.int64))
    bounds[0], bounds[-1] = 0, len(indptr) - 1
    return torch.from_numpy(bounds).to(indptr.device)


@numba.njit(nogil=True, cache=True)
def _number(index, number, rows):
    """Number the values that occur, in ascending order, and return how many there are."""
    for value in index:
        number[value] = 0
    count = 0
    for value in range(len(number)):
        if number[value] == 0:
            number[value] = count
            rows[count] = value
            count += 1
    return count


def distinct(index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The distinct values of ``index`` and where each of its entries is among them, as ``torch.unique`` gives them, without
    sorting.

    :param index: shape: (B,), int64, values below ``n``
    :return: shape: (R,), ascending, and (B,), int64
    """
    if index.device.type != "cpu" or n > 64 * len(index):
        rows, position = torch.unique(index, return_inverse=True)
        return rows, position
    number, rows = torch.full((n,), -1, dtype=torch.int64), torch.empty(min(n, len(index)), dtype=torch.int64)
    count = _number(numpy_view(index), numpy_view(number), numpy_view(rows))
    return rows[:count], number[index]
