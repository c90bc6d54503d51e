"""A metric turns one user's ranked list into one number. All are computed from the same two things: which of the first
K places are hits, and how many relevant items the user has.

For a user with relevant set T and ranked list L, hit_j = [L_j in T], and k places (profile ``standard``)::

    Recall@k    = hits / |T|
    Precision@k = hits / k
    HR@k        = 1 if there is a hit, else 0
    MRR@k       = 1 / place of the first hit, 0 without one
    NDCG@k      = sum_j hit_j / log2(j + 1)  /  sum_{j <= min(|T|, k)} 1 / log2(j + 1)
    MAP@k       = sum_j hit_j * Precision@j  /  |T|

Older papers differ in two denominators; a profile says whose:

- ``recbole``: MAP divides by min(|T|, k);
- ``kgat2019``: NDCG's ideal list holds only the hits that were retrieved in the K places (K the longest k asked for),
  not all relevant items, so that one hit in first place is a perfect score; MAP divides by min(k, retrieved hits). The
  first is a known error, kept to compare with the numbers printed in that paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

Metric = Literal["Recall", "NDCG", "MRR", "HR", "Precision", "MAP"]
Profile = Literal["standard", "recbole", "kgat2019"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def user_metrics(
    hits: np.ndarray,
    n_relevant: np.ndarray,
    topk: Sequence[int],
    metrics: Sequence[Metric] = METRICS,
    profile: Profile = "standard",
) -> dict[str, np.ndarray]:
    """Metrics of every user, named ``Recall@20``.

    :param hits: shape: (B, K), bool; whether the item in each place is relevant
    :param n_relevant: shape: (B,), at least 1
    :param topk: list lengths, each at most K
    :return: shape: (B,) each, float64
    """
    n_places = hits.shape[1]
    if max(topk) > n_places:
        raise ValueError(f"lists have {n_places} places, {max(topk)} are asked for")
    if (n_relevant < 1).any():
        raise ValueError("a user without relevant items has no metrics; leave such users out")
    place = np.arange(1, n_places + 1)
    discount = 1 / np.log2(place + 1)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found = np.cumsum(hits, axis=1)
    gain = np.cumsum(hits * discount, axis=1)
    precision_sum = np.cumsum(hits * found / place, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    retrieved = found[:, -1]

    columns: dict[str, np.ndarray] = {}
    for k in topk:
        n_hits = found[:, k - 1]
        ideal_size = np.minimum(retrieved if profile == "kgat2019" else n_relevant, k)
        map_size = {
            "standard": n_relevant,
            "recbole": np.minimum(n_relevant, k),
            "kgat2019": np.minimum(retrieved, k),
        }[profile]
        values = {
            "Recall": n_hits / n_relevant,
            "NDCG": _ratio(gain[:, k - 1], ideal[ideal_size]),
            "MRR": np.where(first <= k, 1 / first, 0.0),
            "HR": (n_hits > 0).astype(np.float64),
            "Precision": n_hits / k,
            "MAP": _ratio(precision_sum[:, k - 1], map_size),
        }
        columns.update({f"{metric}@{k}": values[metric] for metric in metrics})
    return columns


def coverage(lists: np.ndarray, n_items: int, k: int) -> float:
    """Share of the catalogue that stands in the first ``k`` places of at least one list.

    :param lists: shape: (B, K), item indices, -1 where a list is shorter
    """
    shown = lists[:, :k]
    return len(np.unique(shown[shown >= 0])) / n_items


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
