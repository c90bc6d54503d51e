"""BPR-MF factors the interactions into user and item vectors (Rendle et al., UAI 2009)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from kgrec.config import Settings
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import gather_rows
from kgrec.models.base import CFBatch, TwoTowerRecommender
from kgrec.models.blocks.losses import bpr_loss, embedding_l2


class BPRMFSettings(Settings):
    """Settings of BPR-MF."""

    embedding_size: int = Field(64, gt=0)
    """Width of the vectors."""
    reg_weight: float = Field(1e-5, ge=0)
    """lambda of the L2 term on the looked-up vectors."""


class BPRMF(TwoTowerRecommender):
    """Matrix factorisation with the pairwise ranking loss."""

    Settings = BPRMFSettings

    def __init__(self, data: GraphData, settings: BPRMFSettings) -> None:
        super().__init__(data, settings)
        #: shape: (U + I, d)
        self.node = nn.Parameter(torch.empty(data.n_users + data.n_items, settings.embedding_size))
        nn.init.xavier_uniform_(self.node)

    def encode(self) -> Tensor:
        """The vectors themselves. shape: (U + I, d)"""
        return self.node

    def cf_loss(self, batch: CFBatch) -> dict[str, Tensor]:
        """BPR and L2 of the looked-up vectors."""
        rows = torch.cat([batch.users, self.n_users + batch.positives, self.n_users + batch.negatives])
        user, positive, negative = gather_rows(self.encode(), rows).split(len(batch.users))
        regularised = gather_rows(self.node, rows).split(len(batch.users))
        return {
            "bpr": bpr_loss((user * positive).sum(-1), (user * negative).sum(-1)),
            "l2": self.settings.reg_weight * embedding_l2(*regularised),
        }
