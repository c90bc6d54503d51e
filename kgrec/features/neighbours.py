"""The neighbours of a vector are the rows of a feature table with the highest cosine to it; equal ones go by key.

The search is exact and streams: a block of rows at a time against all queries. Vectors are float16, whose products are
exact in float64 and whose sums nearly are, so neither the number of threads nor the cut into blocks changes an answer;
similarities are compared after rounding to nine digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgrec.data.io import check_parquet
from kgrec.data.schemas import features
from kgrec.errors import DataError

#: rows compared at once; with 1280-d vectors and 1000 queries 150 MB
BLOCK = 8192
_DIGITS = 9


@dataclass(frozen=True)
class Neighbour:
    """A key and its cosine similarity to the query, -1 to 1."""

    key: str
    similarity: float


@dataclass(frozen=True)
class Neighbourhood:
    """A query's neighbours, best first, and how like it all rows are."""

    neighbours: list[Neighbour]
    compared: int
    mean: float
    std: float


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a feature table."""

    start: int
    """number of the first row"""
    keys: pa.StringArray
    contents: pa.StringArray
    """``content_sha256``"""
    vectors: NDArray[np.float64]
    """shape: (rows, width)"""
    norms: NDArray[np.float64]
    """lengths of the vectors. shape: (rows,)"""


def vector_blocks(path: Path, rows: int = BLOCK) -> Iterator[Block]:
    """Read a feature table block by block. :raises DataError: if it is missing or damaged, or a vector is not finite"""
    check_parquet(path, features(1))
    start = 0
    try:
        for batch in _batches(path, rows):
            column = batch["vector"]
            flat = column.flatten().to_numpy(zero_copy_only=False)
            vectors = flat.reshape(-1, column.type.list_size).astype(np.float64)
            norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
            if not np.isfinite(norms).all():
                row = int(np.flatnonzero(~np.isfinite(norms))[0])
                raise DataError(f"the vector of {batch['key'][row]} is not finite; run features again", path=path)
            yield Block(start, batch["key"], batch["content_sha256"], vectors, norms)
            start += batch.num_rows
    except (pa.ArrowException, OSError, AttributeError, ValueError) as error:
        raise DataError(f"cannot be read as a feature table ({error}); run features again", path=path) from error


def _batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Group by group: Arrow keeps all groups it has been asked for at once."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=["key", "content_sha256", "vector"])


def nearest(path: Path, queries: NDArray[np.floating], k: int, prefix: str = "") -> list[Neighbourhood]:
    """The ``k`` rows nearest to each query; fewer where the table has fewer.

    :param path: a feature table, sorted by key
    :param queries: shape: (queries, width); length does not matter
    :param prefix: only keys that begin so
    :raises DataError: if the table is missing or damaged, or its vectors have another width
    """
    wanted = _unit(np.asarray(queries, np.float64))
    held = _Best(len(wanted), k)
    for block in vector_blocks(path):
        if block.vectors.shape[1] != wanted.shape[1]:
            raise DataError(
                f"holds vectors of {block.vectors.shape[1]} numbers, the query has {wanted.shape[1]}", path=path
            )
        rows = np.arange(block.start, block.start + len(block.keys))
        scores = wanted @ block.vectors.T
        scores /= np.where(block.norms > 0, block.norms, 1.0)
        if prefix:
            chosen = pc.starts_with(block.keys, prefix).to_numpy(zero_copy_only=False)
            rows, scores = rows[chosen], scores[:, chosen]
        if len(rows):
            held.offer(scores, rows)
    keys = pq.read_table(path, columns=["key"])["key"]
    mean, std = held.spread()
    return [
        Neighbourhood(
            list(map(Neighbour, keys.take(rows).to_pylist(), similarities.tolist())), held.compared, mean[at], std[at]
        )
        for at, (rows, similarities) in enumerate(held.lists())
    ]


def nearest_to_keys(path: Path, keys: list[str], vectors: NDArray[np.floating], k: int) -> list[list[Neighbour]]:
    """:func:`nearest`, each key left out of its own neighbours. ``vectors`` are those of ``keys``."""
    found = nearest(path, vectors, k + 1)
    return [[one for one in row.neighbours if one.key != key][:k] for key, row in zip(keys, found, strict=True)]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


class _Best:
    """The best ``k`` rows of each query so far."""

    def __init__(self, queries: int, k: int) -> None:
        self.queries, self.k, self.compared = queries, k, 0
        self._sums = np.zeros((2, queries))
        self.query = np.empty(0, np.int64)
        self.similarity = np.empty(0, np.float64)
        self.row = np.empty(0, np.int64)

    def offer(self, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """:param scores: shape: (queries, rows)"""
        self.compared += len(rows)
        self._sums += scores.sum(1), np.einsum("qn,qn->q", scores, scores)
        floor = self._floor()
        if len(rows) > self.k:
            if not np.isfinite(floor).all():
                floor = np.maximum(floor, np.partition(scores, -self.k, axis=1)[:, -self.k])
            query, place = np.nonzero(scores >= floor[:, None] - 2 * 10.0**-_DIGITS)
        else:
            query, place = (axis.ravel() for axis in np.indices(scores.shape))
        query = np.concatenate([self.query, query])
        similarity = np.concatenate([self.similarity, np.round(scores[query[len(self.query) :], place], _DIGITS)])
        row = np.concatenate([self.row, rows[place]])
        order = np.lexsort((row, -similarity, query))
        starts = np.searchsorted(query[order], np.arange(self.queries))
        kept = order[np.arange(len(order)) - starts[query[order]] < self.k]
        self.query, self.similarity, self.row = query[kept], similarity[kept], row[kept]

    def _floor(self) -> NDArray[np.float64]:
        """The similarity of each query's k-th row, -inf where it has fewer."""
        floor = np.full(self.queries, -np.inf)
        counts = np.bincount(self.query, minlength=self.queries)
        full = np.flatnonzero(counts == self.k)
        floor[full] = self.similarity[np.cumsum(counts)[full] - 1]
        return floor

    def spread(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the similarities of each query to all rows."""
        mean, squares = self._sums / max(1, self.compared)
        std = np.sqrt(np.maximum(squares - mean**2, 0))
        return mean.round(_DIGITS).tolist(), std.round(_DIGITS).tolist()

    def lists(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Rows and similarities of each query, best first."""
        ends = np.cumsum(np.bincount(self.query, minlength=self.queries))
        for start, end in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
            yield self.row[start:end], self.similarity[start:end]
