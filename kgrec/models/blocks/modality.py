"""A modality projector maps frozen features to the width of the id vectors; nodes without the modality are masked, never
given a zero vector that could be mistaken for a feature. Features are scaled to unit length first, as CLIP's are by custom,
so that encoders of other scales (EfficientNet's pooled vectors have length 17) weigh alike."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kgrec.graphs.data import ModalityData

NodeInput = Literal["add", "replace", "concat"]


class ModalityProjector(nn.Module):
    """p = LeakyReLU(W f + b) for the nodes that have the modality, joined with their id vectors.

    :param width: d, of the id vectors
    :param join: ``add`` e + p, ``replace`` p in place of e, ``concat`` a linear map of e || p back to d
    """

    feature: Tensor
    row: Tensor

    def __init__(self, data: ModalityData, width: int, join: NodeInput, negative_slope: float) -> None:
        super().__init__()
        row = data.present.nonzero()[:, 0]
        #: rows of ``items then entities`` with the modality, and their features; part of the graph, not of the checkpoint
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("feature", F.normalize(data.feature[row].float()), persistent=False)
        self.linear = nn.Linear(data.feature.shape[1], width)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.join, self.negative_slope = join, negative_slope
        if join == "concat":
            self.merge = nn.Linear(2 * width, width)
            nn.init.xavier_uniform_(self.merge.weight)
            nn.init.zeros_(self.merge.bias)

    def forward(self, node: Tensor, n_users: int) -> Tensor:
        """Layer-0 vectors of the modality graph.

        :param node: shape: (N, d), id vectors of users, items, entities
        :return: shape: (N, d)
        """
        return self._join(node, self.row + n_users, self.feature)

    def of(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """Layer-0 vectors of some nodes alone.

        :param vectors: shape: (B, d), their id vectors
        :param rows: shape: (B,), int64, distinct; their rows of ``items then entities``, negative for users
        :return: shape: (B, d)
        """
        place = torch.searchsorted(self.row, rows)
        found = (torch.cat([self.row, self.row.new_tensor([-1])])[place] == rows) & (rows >= 0)
        at = found.nonzero()[:, 0]
        return self._join(vectors, at, self.feature[place[at]])

    def _join(self, node: Tensor, rows: Tensor, feature: Tensor) -> Tensor:
        """``node`` with the projected features joined to distinct ``rows``."""
        p = F.leaky_relu(self.linear(feature), self.negative_slope)
        if self.join == "add":
            return _PutRows.apply(node, rows, p, True)
        if self.join == "concat":
            # a copy of the weight, so that this graph outlives optimizer steps (fusion_refresh > 1)
            p = F.linear(torch.cat([node[rows], p], 1), self.merge.weight.clone(), self.merge.bias)
        return _PutRows.apply(node, rows, p, False)


class _PutRows(torch.autograd.Function):
    """``node`` with distinct ``rows`` added to or replaced by ``p``."""

    @staticmethod
    def forward(ctx: Any, node: Tensor, rows: Tensor, p: Tensor, add: bool) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.add = add
        return node.index_add(0, rows, p) if add else node.index_copy(0, rows, p)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None]:
        (rows,) = ctx.saved_tensors
        g = gradients[0]
        return (g if ctx.add else g.index_fill(0, rows, 0)), None, g.index_select(0, rows), None
