"""TransR holds a triple plausible when its projected head plus its relation is near its projected tail:
g(h, r, t) = || W_r e_h + e_r - W_r e_t ||^2 (Multi-KG4Rec eq. (1), B2); low is plausible."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kgrec.graphs.ops import relation_project, triple_loss
from kgrec.models.base import KGBatch


class TransR(nn.Module):
    """Relation vectors and projections.

    :param n_relations: R', inverses included
    :param width: d, of the node vectors
    :param relation_width: k, of the relation space
    """

    def __init__(self, n_relations: int, width: int, relation_width: int) -> None:
        super().__init__()
        #: shape: (R', k)
        self.relation = nn.Parameter(torch.empty(n_relations, relation_width))
        #: shape: (R', k, d)
        self.matrix = nn.Parameter(torch.empty(n_relations, relation_width, width))
        nn.init.xavier_uniform_(self.relation)
        for matrix in self.matrix:
            nn.init.xavier_uniform_(matrix)

    def loss(self, lookup: Callable[[Tensor], Tensor], batch: KGBatch, l2: float = 0.0) -> Tensor:
        """Mean of softplus(g(h, r, t) - g(h, r, t')) plus ``l2`` times half the mean squared norm of the projected
        vectors (Multi-KG4Rec eq. (2), B3).

        :param lookup: nodes, shape (n,), int64 -> their vectors, shape (n, d)
        """
        order = torch.argsort(batch.rels, stable=True)
        rels = batch.rels[order]
        counts = torch.bincount(rels, minlength=len(self.relation))
        bounds = [0, *(3 * counts.cumsum(0)).tolist()]
        nodes = torch.stack([batch.heads, batch.tails, batch.negative_tails], 1)[order]
        projected = relation_project(lookup(nodes.reshape(-1)), self.matrix, bounds)
        loss, squares = triple_loss(projected, self.relation, rels)  # eqs. (1) and (2)
        return loss + l2 * squares if l2 else loss
