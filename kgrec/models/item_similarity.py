"""Item-similarity models score an item by its similarity to the user's training items: EASE and ItemKNN, both closed-form."""

from __future__ import annotations

import numba
import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor

from kgrec.config import Settings
from kgrec.errors import NotFittedError
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.models.base import Recommender

#: columns summed together: their float64 sums stay in the first cache
_COLUMNS = 2048


@numba.njit(parallel=True, nogil=True, cache=True)
def _sum_rows(indptr, items, users, weight, out):
    """``out[b] = sum of weight[items of users[b]]``. shape: (B, I)"""
    for row in numba.prange(len(users)):
        total = np.empty(_COLUMNS)
        for first in range(0, out.shape[1], _COLUMNS):
            width = min(_COLUMNS, out.shape[1] - first)
            total[:] = 0
            for at in range(indptr[users[row]], indptr[users[row] + 1]):
                part = weight[items[at], first : first + width]
                for j in range(width):
                    total[j] += part[j]
            for j in range(width):
                out[row, first + j] = total[j]


class _ItemSimilarity(Recommender):
    """Scores are the sum of rows of ``item_similarity`` over the user's training items."""

    kind = "item_similarity"
    phases = ()
    item_similarity: Tensor

    def __init__(self, data: GraphData, settings: Settings) -> None:
        super().__init__(data, settings)
        order = torch.argsort(data.train_users * data.n_items + data.train_items)
        counts = torch.bincount(data.train_users, minlength=data.n_users)
        self.register_buffer("_indptr", torch.cat([counts.new_zeros(1), counts.cumsum(0)]), persistent=False)
        self.register_buffer("_items", data.train_items[order], persistent=False)
        #: shape: (I, I), float32; row j holds what item j of the history adds to each item. NaN until fitted
        self.register_buffer("item_similarity", torch.full((data.n_items, data.n_items), torch.nan))

    def _matrix(self, data: GraphData) -> sparse.csr_matrix:
        users, items = data.train_users.cpu().numpy(), data.train_items.cpu().numpy()
        ones = np.ones(len(users), np.float64)
        return sparse.csr_matrix((ones, (users, items)), shape=(data.n_users, data.n_items))

    def full_scores(self, users: Tensor) -> Tensor:
        """History times similarity. On the CPU summed in float64 by ascending item and rounded once, so that a user's scores
        do not depend on who else is asked for. shape: (B, I)"""
        if torch.isnan(self.item_similarity[:1, :1]).any():
            raise NotFittedError(f"{type(self).__name__} has not been fitted; call fit(data) or load a checkpoint")
        if users.device.type == "cpu":
            scores = torch.empty(len(users), self.n_items)
            arrays = (self._indptr, self._items, users, self.item_similarity, scores)
            _sum_rows(*(numpy_view(tensor) for tensor in arrays))
            return scores
        history = torch.zeros(len(users), self.n_items, device=users.device)
        lengths = self._indptr[users + 1] - self._indptr[users]
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        ends = lengths.cumsum(0)
        within = torch.arange(len(rows), device=users.device) - (ends - lengths)[rows]
        history[rows, self._items[self._indptr[users][rows] + within]] = 1
        return history @ self.item_similarity


class EASESettings(Settings):
    """Settings of EASE."""

    l2: float = Field(500.0, gt=0)
    """lambda of the ridge regression."""


class EASE(_ItemSimilarity):
    """Ridge regression of every item on all others with zero diagonal: B = I - P / diag(P), P = (X^T X + lambda I)^-1
    (Steck, WWW 2019, eq. (8))."""

    Settings = EASESettings

    def fit(self, data: GraphData) -> None:
        """Invert the regularised item Gram matrix in float64; I^3 flops, 8 I^2 bytes."""
        x = self._matrix(data)
        gram = torch.from_numpy((x.T @ x).toarray())
        gram.diagonal().add_(self.settings.l2)
        p = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        b = p / -p.diagonal()
        b.diagonal().zero_()
        self.item_similarity.copy_(b)


class ItemKNNSettings(Settings):
    """Settings of ItemKNN."""

    neighbors: int = Field(100, gt=0)
    """K, most similar items kept per item."""
    shrink: float = Field(10.0, ge=0)
    """Added to the denominator of the cosine; damps similarities that rest on few users."""


class ItemKNN(_ItemSimilarity):
    """Cosine similarity of items by the users they share, the K largest kept per item (Sarwar et al., WWW 2001)."""

    Settings = ItemKNNSettings

    def fit(self, data: GraphData) -> None:
        """Compute the similarities; ties among neighbours go to the lower item id."""
        x = self._matrix(data)
        gram = (x.T @ x).toarray()
        norm = np.sqrt(np.diag(gram))
        similarity = gram / (np.outer(norm, norm) + self.settings.shrink)
        np.fill_diagonal(similarity, 0)
        k = min(self.settings.neighbors, self.n_items)
        # column i keeps the neighbours of item i, so that a score sums over the neighbours the user has
        keep = np.argsort(-similarity, axis=0, kind="stable")[:k]
        kept = np.zeros_like(similarity)
        np.put_along_axis(kept, keep, np.take_along_axis(similarity, keep, 0), 0)
        self.item_similarity.copy_(torch.from_numpy(kept))
