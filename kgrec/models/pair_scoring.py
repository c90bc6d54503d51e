"""A pair-scoring model has no item vector that serves every user: a user attends to an item's neighbours (KGCN, RippleNet) or
meets it in a convolution (ConvNCF). All scores of a user then cost as many passes as there are items, so they are made in
chunks of users times items, and what depends on the user alone is computed once a chunk of users, not once a chunk of items.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from kgrec.models.base import Recommender

#: users and pairs scored at once
_USERS, _PAIRS = 256, 2**17


class PairScoringRecommender(Recommender):
    """Base of models that score pairs. A member gives :meth:`user_state` and :meth:`score_block`, and for training its own
    :meth:`pair_scores`: the inherited one scores all items of every user."""

    def user_state(self, users: Tensor) -> Any:
        """What all items of a user share: vectors, ripple sets, attention over relations.

        :param users: shape: (B,), int64
        :return: anything :meth:`score_block` reads; ``users`` where nothing is shared
        """
        return users

    @abstractmethod
    def score_block(self, state: Any, items: Tensor) -> Tensor:
        """Scores of every user of a state with every item.

        :param state: of B users, from :meth:`user_state`
        :param items: shape: (C,), int64
        :return: shape: (B, C), float32
        """

    def full_scores(self, users: Tensor) -> Tensor:
        """All items, in chunks. shape: (B, I)"""
        return score_all_pairs(self, users)


def score_all_pairs(
    model: PairScoringRecommender, users: Tensor, *, user_chunk: int = _USERS, pairs: int = _PAIRS
) -> Tensor:
    """Scores of ``users`` with all items, in chunks of at most ``pairs`` pairs.

    :param users: shape: (B,), int64
    :param user_chunk: users whose state is held at once
    :return: shape: (B, I), float32
    """
    scores = torch.empty(len(users), model.n_items, device=users.device)
    every = torch.arange(model.n_items, device=users.device)
    for first in range(0, len(users), user_chunk):
        some = users[first : first + user_chunk]
        state = model.user_state(some)
        at = 0
        for items in every.split(max(1, pairs // len(some))):
            scores[first : first + len(some), at : at + len(items)] = model.score_block(state, items)
            at += len(items)
    return scores
