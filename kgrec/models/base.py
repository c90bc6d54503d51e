"""A recommender scores items for users. Two families meet one interface: models that end in user and item vectors, and
models that score a user against all items directly. A model takes tensors and graphs; it has not heard of files or devices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from kgrec.config import Settings
from kgrec.graphs.data import GraphData

#: kinds of scoring a published model folder can hold
Kind = Literal["vectors", "item_similarity", "popularity"]


@dataclass(frozen=True)
class CFBatch:
    """Users, an item each has in train, and an item each has not."""

    #: shape: (B,), int64
    users: Tensor
    positives: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class KGBatch:
    """Triples and for each a tail that its head does not have."""

    #: shape: (B,), int64; nodes, relations, nodes, nodes
    heads: Tensor
    rels: Tensor
    tails: Tensor
    negative_tails: Tensor


class Recommender(nn.Module, ABC):
    """Base of all models. What a reload must restore is a parameter or a buffer."""

    #: settings class, beside the model
    Settings: ClassVar[type[Settings]]
    kind: ClassVar[Kind] = "vectors"
    #: what an epoch consists of: one pass over the training interactions ("cf"), over the triples ("kg"); none for models
    #: with a closed form, which :meth:`fit` computes
    phases: ClassVar[tuple[str, ...]] = ("cf",)

    def __init__(self, data: GraphData, settings: Any) -> None:
        super().__init__()
        self.n_users, self.n_items = data.n_users, data.n_items
        self.settings = settings
        #: seed of the random numbers of the current step (dropout), set by the trainer
        self.step_seed = 0

    def fit(self, data: GraphData) -> None:
        """Compute a closed-form model. Gradient-trained models have nothing to do here."""

    def cf_loss(self, batch: CFBatch) -> dict[str, Tensor]:
        """Named terms of the collaborative loss, scalars; their sum is minimised."""
        raise TypeError(f"{type(self).__name__} is not trained by gradient")

    def kg_loss(self, batch: KGBatch) -> dict[str, Tensor]:
        """Named terms of the knowledge-graph loss, scalars; their sum is minimised."""
        raise TypeError(f"{type(self).__name__} has no knowledge-graph loss")

    def before_step(self, last: bool) -> None:
        """Called between backward pass and optimizer step; ``last`` in the last step of a phase."""

    def at_boundary(self) -> bool:
        """Whether all state is in parameters and buffers now, so that a checkpoint can be written."""
        return True

    def refresh(self) -> None:
        """Recompute what is constant during an epoch (attention); called before the first epoch and after each."""

    @abstractmethod
    def full_scores(self, users: Tensor) -> Tensor:
        """Scores of all items.

        :param users: shape: (B,), int64
        :return: shape: (B, I), float32, higher is better
        """

    def pair_scores(self, users: Tensor, items: Tensor) -> Tensor:
        """Score of each (user, item) pair. shape: (B,)"""
        return self.full_scores(users).gather(1, items[:, None])[:, 0]

    def vectors(self) -> tuple[Tensor, Tensor] | None:
        """User and item vectors whose inner products are the scores, (U, D) and (I, D), or None where there are none."""
        return None


class TwoTowerRecommender(Recommender):
    """A model that ends in user and item vectors. They are kept between evaluations until training goes on."""

    _vectors: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def encode(self) -> Tensor:
        """Vectors of all users, then all items, in the current mode. shape: (U + I, D)"""

    def train(self, mode: bool = True) -> TwoTowerRecommender:
        """Forget the kept vectors whenever the mode is set: the parameters may change or have changed."""
        self._vectors = None
        return super().train(mode)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors (U, D) and item vectors (I, D), computed without dropout and without gradient."""
        if self._vectors is None:
            training = self.training
            self.eval()
            with torch.no_grad():
                z = self.encode()
            self.train(training)
            self._vectors = z[: self.n_users], z[self.n_users : self.n_users + self.n_items]
        return self._vectors

    def full_scores(self, users: Tensor) -> Tensor:
        """Inner products of the users' vectors with all item vectors. shape: (B, I)"""
        user_vectors, item_vectors = self.vectors()
        return user_vectors[users] @ item_vectors.T

    def pair_scores(self, users: Tensor, items: Tensor) -> Tensor:
        """Inner product of each pair. shape: (B,)"""
        user_vectors, item_vectors = self.vectors()
        return (user_vectors[users] * item_vectors[items]).sum(-1)
