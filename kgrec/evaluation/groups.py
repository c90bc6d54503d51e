"""Groups show whom a mean hides: users by how much they did in training, items by how popular they were in training.

Groups are quartiles of the training counts: a group ends at the count that a quarter, a half, three quarters of all
users (or items) do not exceed. Users or items with equal counts share a group, so groups need not be of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgrec.evaluation.ranking import UserItems, find_hits


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of users or items."""

    #: ``1-18``: the lowest and the highest training count in each group, ascending
    names: list[str]
    #: shape: (n,), int64; group of each user or item
    of: np.ndarray


def quartiles(counts: np.ndarray) -> Groups:
    """Group by training counts, shape (n,)."""
    edges = np.unique(np.quantile(counts, [0.25, 0.5, 0.75], method="inverted_cdf"))
    _, of = np.unique(np.searchsorted(edges, counts, side="left"), return_inverse=True)
    names = []
    for group in range(int(of.max()) + 1):
        low, high = int(counts[of == group].min()), int(counts[of == group].max())
        names.append(str(low) if low == high else f"{low}-{high}")
    return Groups(names, of)


def activity_rows(users: np.ndarray, columns: dict[str, np.ndarray], groups: Groups) -> Iterator[dict[str, Any]]:
    """Mean metrics by user activity: group, metric, value, users.

    :param users: shape: (B,)
    :param columns: per-user metrics, shape: (B,) each
    """
    of = groups.of[users]
    for group, name in enumerate(groups.names):
        inside = of == group
        for metric, values in columns.items():
            if inside.any():
                yield {
                    "group": name,
                    "metric": metric,
                    "value": float(values[inside].mean()),
                    "users": int(inside.sum()),
                }


def popularity_rows(
    lists: np.ndarray, users: np.ndarray, relevant: UserItems, groups: Groups, topk: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """By item popularity: Recall@k of the relevant items in the group alone, over users who have one, and Share@k, the
    part of all recommended places that the group takes.

    :param lists: shape: (B, K), item indices, -1 where a list is shorter
    """
    rows, items = relevant.select(users)
    hits = find_hits(lists, users, relevant)
    shown = np.where(lists >= 0, groups.of[np.maximum(lists, 0)], -1)
    for group, name in enumerate(groups.names):
        wanted = np.bincount(rows[groups.of[items] == group], minlength=len(users))
        having = wanted > 0
        for k in topk:
            inside = shown[:, :k] == group
            if having.any():
                found = (hits[:, :k] & inside).sum(1)[having] / wanted[having]
                yield {"group": name, "metric": f"Recall@{k}", "value": float(found.mean()), "users": int(having.sum())}
            share = float(inside.sum() / max(1, (shown[:, :k] >= 0).sum()))
            yield {"group": name, "metric": f"Share@{k}", "value": share, "users": len(users)}
