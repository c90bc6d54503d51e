"""Popularity scores every item by its number of training interactions, the same for all users."""

from __future__ import annotations

import torch
from torch import Tensor

from kgrec.config import Settings
from kgrec.graphs.data import GraphData
from kgrec.models.base import Recommender


class PopularitySettings(Settings):
    """Popularity has no settings."""


class Popularity(Recommender):
    """The baseline every model must beat."""

    Settings = PopularitySettings
    kind = "popularity"
    phases = ()

    def __init__(self, data: GraphData, settings: PopularitySettings) -> None:
        super().__init__(data, settings)
        #: shape: (I,), float32
        self.register_buffer("popularity", torch.zeros(data.n_items))

    def fit(self, data: GraphData) -> None:
        """Count the training interactions of each item."""
        self.popularity.copy_(torch.bincount(data.train_items, minlength=self.n_items))

    def full_scores(self, users: Tensor) -> Tensor:
        """The counts, once per user. shape: (B, I)"""
        return self.popularity.expand(len(users), -1).clone()
