"""LightGCN averages id vectors propagated over the interaction graph, with no weights but the ids (He et al., SIGIR 2020)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import Adjacency, aggregate
from kgrec.models.bpr_mf import BPRMF, BPRMFSettings


class LightGCNSettings(BPRMFSettings):
    """Settings of LightGCN."""

    layers: int = Field(3, gt=0)
    """Propagation steps."""


class LightGCN(BPRMF):
    """e^(l+1) = D^-1/2 A D^-1/2 e^(l); the representation is the mean over layers 0..L."""

    Settings = LightGCNSettings

    def __init__(self, data: GraphData, settings: LightGCNSettings) -> None:
        super().__init__(data, settings)
        rows = data.n_users + data.n_items
        users, items = data.train_users, data.train_items + data.n_users
        heads, tails = torch.cat([users, items]), torch.cat([items, users])
        order = torch.argsort(heads * rows + tails)
        self.adjacency = Adjacency.from_edges(heads[order], tails[order], (rows, rows))
        degree = self.adjacency.indptr.diff().clamp(min=1).float()
        weight = (degree[heads] * degree[tails]).rsqrt()[order]
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("by_tail", weight[self.adjacency.t_edge], persistent=False)

    def encode(self) -> Tensor:
        """Mean over the layers. shape: (U + I, d)"""
        x = total = self.node
        for _ in range(self.settings.layers):
            x = aggregate(self.adjacency, self.weight, x, self.by_tail)
            total = total + x
        return total / (self.settings.layers + 1)

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        """Move the adjacency along with the parameters."""
        super()._apply(fn, recurse)
        if self.adjacency.indptr.device != self.node.device:
            self.adjacency = self.adjacency.to(self.node.device)
        return self
