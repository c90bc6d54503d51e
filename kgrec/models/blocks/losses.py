"""Losses shared by the models. All are means over the batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of softplus(-(y_ui - y_uj)) (B8).

    :param positive, negative: shape: (B,), scores
    """
    return F.softplus(negative - positive).mean()


def embedding_l2(*vectors: Tensor) -> Tensor:
    """Half the sum of squares of the looked-up vectors, per row of the batch: sum ||e||^2 / (2 B) (B8).

    :param vectors: each of shape: (B, D)
    """
    total = vectors[0].new_zeros(())
    for v in vectors:
        total = total + v.square().sum()
    return total / (2 * len(vectors[0]))
