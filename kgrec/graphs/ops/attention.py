"""Knowledge-graph attention scores an edge by (W_r e_t)^T tanh(W_r e_h + e_r) (KGAT eq. (4), Multi-KG4Rec eq. (8), B4).

The score is e_t^T v(h, r) with v(h, r) = W_r^T tanh(W_r e_h + e_r). v is made once per distinct pair of head and relation, and
an edge costs one dot product with a row of the node table: tails are never projected. In a graph that stores every relation
both ways this takes as many products as projecting heads and tails would, since the pairs (t, r) are those of r's inverse.
No gradient: the weights are recomputed once per epoch and used as constants.

Bound, with P pairs: 4 P D K operations of matrix products, P K of tanh, and one row of D numbers per edge.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numba
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.edge_softmax import edge_softmax
from kgrec.graphs.ops.elementary import tanh

#: pairs projected at a time; their rows stay in the processor's cache from the first product to the last dot
_BLOCK = 8192


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _tanh_of_sum(x, bias):
    for n in numba.prange(len(x)):
        row = x[n]
        for k in range(len(row)):
            row[k] = tanh(row[k] + bias[k])


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _pair_dots(left, right, i, j, edge, out):
    for n in numba.prange(len(edge)):
        a, b = left[i[n]], right[j[n]]
        total = out.dtype.type(0)
        for k in range(len(a)):
            total += a[k] * b[k]
        out[edge[n]] = total


class _Block(NamedTuple):
    """Up to ``_BLOCK`` pairs of one relation, and their edges."""

    relation: int
    #: shape: (P',), int64; the pairs' heads
    heads: Tensor
    #: shape: (M',), int32; each edge's pair within the block, and its tail
    pair: Tensor
    tail: Tensor
    #: shape: (M',), int32 where that is wide enough; each edge's position in the adjacency
    edge: Tensor


class KGAttention:
    """Attention weights of all edges, from node vectors and relation parameters.

    :param rels: shape: (M,), int64 or int32, relation of each edge in the adjacency's order
    """

    def __init__(self, adjacency: Adjacency, rels: Tensor) -> None:
        self.adjacency, self.rels = adjacency, rels
        self._blocks: list[_Block] = []
        if not len(rels):
            return
        order = torch.argsort(rels, stable=True)  # heads ascend within a relation, as they do in the adjacency
        heads, tails = adjacency.heads()[order], adjacency.tail[order]
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(rels).cumsum(0).cpu()]).tolist()
        for r, (start, stop) in enumerate(pairwise(starts)):
            if start == stop:
                continue
            nodes, count = torch.unique_consecutive(heads[start:stop], return_counts=True)
            pair = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), count)
            at = [start, *(start + count.cumsum(0)[_BLOCK - 1 :: _BLOCK]).tolist()]
            at = [*at, stop] if at[-1] < stop else at
            for number, (low, high) in enumerate(pairwise(at)):
                first = number * _BLOCK
                within = (pair[low - start : high - start] - first).to(torch.int32)
                edge = order[low:high].to(torch.int32 if len(rels) < 2**31 else torch.int64)
                self._blocks.append(_Block(r, nodes[first : first + _BLOCK], within, tails[low:high], edge))

    @torch.no_grad()
    def scores(self, x: Tensor, relation: Tensor, matrix: Tensor) -> Tensor:
        """Raw scores. Beside its result it takes three times ``_BLOCK`` rows, however large the graph.

        :param x: shape: (N, D), node vectors, float32 or float64
        :param relation: shape: (R, K), relation vectors e_r
        :param matrix: shape: (R, K, D), projections W_r
        :return: shape: (M,)
        """
        x = x.contiguous()
        out = x.new_empty(self.adjacency.n_edges)
        for r, heads, pair, tail, edge in self._blocks:
            projected = x.index_select(0, heads) @ matrix[r].T
            if x.device.type == "cpu":
                _tanh_of_sum(numpy_view(projected), numpy_view(relation[r]))
                _pair_dots(
                    numpy_view(projected @ matrix[r]),
                    numpy_view(x),
                    numpy_view(pair),
                    numpy_view(tail),
                    numpy_view(edge),
                    numpy_view(out),
                )
            else:
                from kgrec.graphs.ops import cuda

                cuda.pair_dots(torch.tanh_(projected.add_(relation[r])) @ matrix[r], x, pair, tail, edge, out)
        return out

    @torch.no_grad()
    def __call__(self, x: Tensor, relation: Tensor, matrix: Tensor) -> Tensor:
        """Softmax of :meth:`scores` over the edges of each head. shape: (M,)"""
        return edge_softmax(self.adjacency, self.scores(x, relation, matrix))
