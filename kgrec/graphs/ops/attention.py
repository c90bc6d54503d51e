"""Knowledge-graph attention scores an edge by (W_r e_t)^T tanh(W_r e_h + e_r) (KGAT eq. (4), Multi-KG4Rec eq. (8), B4).

Each distinct (relation, node) pair is projected once, tanh is taken once per distinct (relation, head), and an edge costs
one dot product of two rows. No gradient: the weights are recomputed once per epoch and used as constants.
"""

from __future__ import annotations

import numba
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.edge_softmax import edge_softmax


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _pair_dots(left, right, i, j, edge, out):
    for n in numba.prange(len(edge)):
        total = out.dtype.type(0)
        for k in range(left.shape[1]):
            total += left[i[n], k] * right[j[n], k]
        out[edge[n]] = total


class KGAttention:
    """Attention weights of all edges, from node vectors and relation parameters.

    :param rels: shape: (M,), int64, relation of each edge in the adjacency's order
    """

    def __init__(self, adjacency: Adjacency, rels: Tensor) -> None:
        self.adjacency, self.rels = adjacency, rels
        heads, tails = adjacency.heads(), adjacency.tail.long()
        order = torch.argsort(rels, stable=True)
        counts = torch.bincount(rels, minlength=int(rels.max()) + 1 if len(rels) else 0).tolist()
        self._groups: list[tuple[int, Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        start = 0
        for r, count in enumerate(counts):
            edge = order[start : start + count]
            start += count
            if count:
                head_nodes, head_of = torch.unique(heads[edge], return_inverse=True)
                tail_nodes, tail_of = torch.unique(tails[edge], return_inverse=True)
                self._groups.append((r, edge, head_nodes, head_of.int(), tail_nodes, tail_of.int()))

    @torch.no_grad()
    def scores(self, x: Tensor, relation: Tensor, matrix: Tensor) -> Tensor:
        """Raw scores.

        :param x: shape: (N, D), node vectors
        :param relation: shape: (R, K), relation vectors e_r
        :param matrix: shape: (R, K, D), projections W_r
        :return: shape: (M,)
        """
        out = x.new_empty(self.adjacency.n_edges)
        for r, edge, head_nodes, head_of, tail_nodes, tail_of in self._groups:
            left = torch.tanh(torch.addmm(relation[r], x[head_nodes], matrix[r].T))
            right = x[tail_nodes] @ matrix[r].T
            if x.device.type == "cpu":
                _pair_dots(
                    numpy_view(left),
                    numpy_view(right),
                    numpy_view(head_of),
                    numpy_view(tail_of),
                    numpy_view(edge),
                    numpy_view(out),
                )
            else:
                out[edge] = (left[head_of] * right[tail_of]).sum(-1)
        return out

    @torch.no_grad()
    def __call__(self, x: Tensor, relation: Tensor, matrix: Tensor) -> Tensor:
        """Softmax of :meth:`scores` over the edges of each head. shape: (M,)"""
        return edge_softmax(self.adjacency, self.scores(x, relation, matrix))
