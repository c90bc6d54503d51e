"""Full ranking: every item of the catalogue is a candidate for every user, except what the user has seen.

Users are ranked in blocks, so memory is bounded by one block. Equal scores are ordered by ascending item index, which
makes a ranking a function of the scores alone: not of the block size, the device or the sort. Where a model ends in user and
item vectors, the score is their inner product as :mod:`kgrec.graphs.ops.block_topk` defines it, and most scores are never
made; other models are asked for all scores of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kgrec.errors import TrainingError
from kgrec.graphs.ops.block_topk import BLOCK, BlockTopK
from kgrec.graphs.ops.block_topk_torch import DeviceTopK

#: scores held at once, at most: 128 MiB of float32
_BLOCK_SCORES = 2**25


class Scorer(Protocol):
    """What ranking needs of a model. One with ``vectors()``, as :class:`kgrec.models.base.Recommender` has it, is ranked by
    them unless they are None."""

    def full_scores(self, users: Tensor) -> Tensor:
        """Scores of all items for ``users``, int64 (B,). shape: (B, I)"""


@dataclass(frozen=True, eq=False)
class UserItems:
    """Items of every user, as compressed rows."""

    #: shape: (U + 1,), int64; the items of user u are ``items[starts[u]:starts[u + 1]]``
    starts: np.ndarray
    #: shape: (P,), int64, ascending inside a user
    items: np.ndarray

    @classmethod
    def from_pairs(cls, users: np.ndarray | Tensor, items: np.ndarray | Tensor, n_users: int) -> UserItems:
        """Collect (user, item) pairs, in any order; repeated pairs count once."""
        rows, columns = np.asarray(users, np.int64), np.asarray(items, np.int64)
        span = int(columns.max(initial=0)) + 1
        keys = rows * span + columns  # one integer a pair sorts many times faster than two
        keys.sort()
        keys = keys[np.diff(keys, prepend=-1) > 0]
        return cls(np.searchsorted(keys, np.arange(n_users + 1) * span).astype(np.int64), keys % span)

    def counts(self) -> np.ndarray:
        """Number of items of every user. shape: (U,)"""
        return np.diff(self.starts)

    def select(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (row in ``users``, item) of the given users, sorted."""
        counts = self.counts()[users]
        rows = np.repeat(np.arange(len(users)), counts)
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self.items[np.repeat(self.starts[users], counts) + inside]


def stable_topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` highest scores of each row and their columns, by descending score, then ascending column, exactly.

    ``torch.topk`` leaves open which of several equal scores it returns. Only rows in which the last place is shared
    with a column left out are looked at again.

    :param scores: shape: (B, I), without NaN
    :return: values and columns, shape: (B, min(k, I))
    """
    k = min(k, scores.shape[1])
    values, columns = scores.topk(k, dim=1)
    last = values[:, -1:]
    shared = ((scores == last).sum(1) > (values == last).sum(1)).nonzero()[:, 0]
    if len(shared):
        rows, bound = scores[shared], last[shared]
        equal = rows == bound
        room = k - (rows > bound).sum(1, keepdim=True)
        kept = (rows > bound) | (equal & (equal.cumsum(1) <= room))
        columns[shared] = kept.nonzero()[:, 1].view(-1, k)
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


@torch.no_grad()
def rank_topk(
    model: Scorer,
    users: np.ndarray,
    seen: UserItems,
    k: int,
    *,
    block: int | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The best ``k`` items of each user that the user has not seen.

    :param users: shape: (B,), int64
    :param seen: items left out, by user
    :param block: users scored at once; chosen by the size of the catalogue if None
    :param device: where the model is
    :return: shape: (B, k), int64, -1 where fewer than ``k`` items are left
    :raises TrainingError: if the model gives a score that is not finite
    """
    users = np.asarray(users, np.int64)
    vectors = model.vectors() if hasattr(model, "vectors") else None
    if vectors is None:
        return _rank_scores(model, users, seen, k, block, device)
    return _rank_vectors(model, vectors[0], vectors[1], users, seen, k, block)


def _rank_vectors(
    model: Scorer, of_users: Tensor, of_items: Tensor, users: np.ndarray, seen: UserItems, k: int, block: int | None
) -> np.ndarray:
    lists = np.full((len(users), k), -1, np.int64)
    if not torch.isfinite(of_items).all():
        item = int((~torch.isfinite(of_items)).any(1).nonzero()[0])
        raise _diverged(model, f"item {item} a vector")
    find = BlockTopK(of_items) if of_items.device.type == "cpu" else DeviceTopK(of_items)
    size = block or BLOCK
    for start in range(0, len(users), size):
        batch = users[start : start + size]
        some = of_users[torch.from_numpy(batch).to(of_users.device)]
        best, scores = find(some, batch, seen.starts, seen.items, k)
        # an inner product of finite vectors can leave float32; that of vectors that are not finite is asked about first
        wrong = ~torch.isfinite(some).all(1).cpu().numpy() | (~np.isfinite(scores) & (best >= 0)).any(1)
        if wrong.any():
            raise _diverged(model, f"user {int(batch[wrong.argmax()])} a score")
        lists[start : start + len(batch)] = best
    return lists


def _rank_scores(
    model: Scorer, users: np.ndarray, seen: UserItems, k: int, block: int | None, device: torch.device | str
) -> np.ndarray:
    lists = np.full((len(users), k), -1, np.int64)
    start = 0
    size = block or 1
    while start < len(users):
        batch = users[start : start + size]
        scores = model.full_scores(torch.from_numpy(batch).to(device))
        if not torch.isfinite(scores).all():
            user = int(batch[int((~torch.isfinite(scores)).any(1).nonzero()[0])])
            raise _diverged(model, f"user {user} a score")
        rows, items = (torch.from_numpy(part).to(device) for part in seen.select(batch))
        scores = scores.index_put((rows, items), scores.new_tensor(-torch.inf))  # not in place: they may be the model's
        values, columns = stable_topk(scores, k)
        columns[values == -torch.inf] = -1
        lists[start : start + len(batch), : columns.shape[1]] = columns.cpu().numpy()
        start += len(batch)
        size = block or min(4096, max(1, _BLOCK_SCORES // scores.shape[1]))
    return lists


def _diverged(model: Scorer, what: str) -> TrainingError:
    return TrainingError(
        f"{type(model).__name__} gives {what} that is not finite; its training "
        "diverged: lower the learning rate and train it again"
    )


def find_hits(lists: np.ndarray, users: np.ndarray, relevant: UserItems) -> np.ndarray:
    """Whether each place of each list holds a relevant item of its user.

    :param lists: shape: (B, K), item indices, -1 where a list is shorter
    :return: shape: (B, K), bool
    """
    rows, items = relevant.select(users)
    span = max(int(lists.max(initial=0)), int(items.max(initial=0))) + 2
    keys = rows * span + items
    wanted = np.arange(len(lists))[:, None] * span + np.where(lists < 0, span - 1, lists)
    place = np.searchsorted(keys, wanted)
    return np.concatenate([keys, [-1]])[place] == wanted
