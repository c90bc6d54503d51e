"""A published model answers three questions with NumPy alone: what to recommend, what is similar, and how much.

Scores come from the arrays of the model folder (:mod:`kgrec.serving.folder`): ``user_vector . item_vector``, or a sum
of item-item weights over the user's training history, or one popularity for all. Ties go to the item that stands first
in the vocabulary. No torch, no DGL: the first answer comes in well under a second.

Shapes: U users, I items, B users of a block, d width of vectors, K list length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.io import read_parquet
from kgrec.data.schemas import VOCAB
from kgrec.errors import CheckpointError, ConfigError, DataError
from kgrec.serving.folder import check_file, read_config

#: scores of one block of users are kept below this many bytes
BLOCK_BYTES = 64 << 20

SEEN = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("split", pa.string())])


@dataclass(frozen=True)
class Recommendation:
    """One entry of a list. ``score`` compares items for one user; it is not a probability."""

    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Rows:
    """Item indices per user, compressed: those of user ``u`` are ``items[start[u]:start[u + 1]]``."""

    start: np.ndarray
    """shape: (U + 1,), int64"""
    items: np.ndarray
    """shape: (number of pairs,), int64"""

    def __getitem__(self, user: int) -> np.ndarray:
        return self.items[self.start[user] : self.start[user + 1]]

    @classmethod
    def from_pairs(cls, users: np.ndarray, items: np.ndarray, n_users: int) -> Rows:
        """:param users: shape: (pairs,), int64; :param items: shape: (pairs,), int64"""
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=n_users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), items[order])


class Scorer(Protocol):
    """How one kind of model folder makes scores."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """:param users: shape: (B,), int64; :return: shape: (B, I), float32, the caller's to change"""

    def similar(self, item: int) -> np.ndarray | None:
        """:return: shape: (I,), float32, or None where the kind knows no similarity of items"""


@dataclass(frozen=True)
class VectorScorer:
    """``score = user . item``; items are similar by the cosine of their vectors."""

    users: np.ndarray
    """shape: (U, d), float32"""
    items: np.ndarray
    """shape: (I, d), float32"""

    def scores(self, users: np.ndarray) -> np.ndarray:
        return self.users[users] @ self.items.T

    def similar(self, item: int) -> np.ndarray:
        norms = np.maximum(np.linalg.norm(self.items, axis=1), np.finfo(np.float32).tiny)
        return (self.items @ self.items[item]) / (norms * norms[item])


@dataclass(frozen=True)
class SimilarityScorer:
    """``score(u, i) = sum of weight[j, i] over the items j of u's training history`` (ItemKNN, EASE)."""

    weight: np.ndarray
    """shape: (I, I), float32"""
    history: Rows

    def scores(self, users: np.ndarray) -> np.ndarray:
        return np.stack([self.weight[self.history[user]].sum(axis=0, dtype=np.float32) for user in users])

    def similar(self, item: int) -> np.ndarray:
        return self.weight[item].copy()


@dataclass(frozen=True)
class PopularityScorer:
    """The same scores for everyone."""

    popularity: np.ndarray
    """shape: (I,), float32"""

    def scores(self, users: np.ndarray) -> np.ndarray:
        return np.repeat(self.popularity[None], len(users), axis=0)

    def similar(self, item: int) -> None:
        return None


class PublishedModel:
    """A model folder in memory; :func:`load` makes it.

    :param config: what ``config.json`` says
    :param users: user ids in the order of the arrays
    :param items: item ids in the order of the arrays
    :param titles: title per item; the id where an item has none
    :param seen: items of train and valid per user
    """

    def __init__(
        self, config: dict[str, Any], users: list[str], items: list[str], titles: list[str], scorer: Scorer, seen: Rows
    ) -> None:
        self.config = config
        self.users, self.items, self.titles = users, items, titles
        self._scorer, self._seen = scorer, seen
        self._user_index = {user: row for row, user in enumerate(users)}
        self._item_index = {item: row for row, item in enumerate(items)}

    def __repr__(self) -> str:
        return (
            f"<PublishedModel {self.config.get('model')} ({self.config['kind']}): "
            f"{len(self.users):,} users, {len(self.items):,} items>"
        )

    def recommend(
        self, users: str | Sequence[str], k: int = 10, *, exclude_seen: bool = True
    ) -> list[list[Recommendation]]:
        """The ``k`` best items per user, best first; fewer where a user has seen nearly everything.

        :param users: one user id or several; one list comes back per user, in the order asked
        :param exclude_seen: leave out the user's items of train and valid
        :raises DataError: for an unknown user, naming ids near to it
        :raises ConfigError: if ``k`` is less than 1
        """
        ids = [users] if isinstance(users, str) else list(users)
        return [
            [Recommendation(self.items[i], self.titles[i], float(s)) for i, s in zip(best, scores, strict=True)]
            for best, scores in self._ranked(ids, k, exclude_seen)
        ]

    def recommend_table(self, users: str | Sequence[str], k: int = 10, *, exclude_seen: bool = True) -> pa.Table:
        """As :meth:`recommend`, as one table ``user_id, rank, item_id, title, score``; ranks count from 1."""
        ids = [users] if isinstance(users, str) else list(users)
        lists = list(self._ranked(ids, k, exclude_seen))
        lengths = [len(best) for best, _ in lists]
        owners = [user for user, n in zip(ids, lengths, strict=True) for _ in range(n)]
        rows = np.concatenate([best for best, _ in lists]) if lists else np.zeros(0, np.int64)
        return pa.table(
            {
                "user_id": pa.array(owners, pa.string()),
                "rank": pa.array([rank for n in lengths for rank in range(1, n + 1)], pa.int32()),
                "item_id": pa.array([self.items[i] for i in rows], pa.string()),
                "title": pa.array([self.titles[i] for i in rows], pa.string()),
                "score": pa.array([float(s) for _, scores in lists for s in scores], pa.float32()),
            }
        )

    def similar(self, item: str, k: int = 10) -> list[Recommendation]:
        """The ``k`` items most like ``item``, best first: by the cosine of vectors, or by item-item weight.

        :raises DataError: for an unknown item; :raises CheckpointError: if the model knows no similarity of items
        """
        _check_k(k)
        row = self._item(item)
        scores = self._scorer.similar(row)
        if scores is None:
            raise CheckpointError(
                f"a {self.config['kind']} model knows no similar items; use a model of kind vectors or item_similarity"
            )
        scores[row] = -np.inf
        best = top_k(scores, k)
        return [Recommendation(self.items[i], self.titles[i], float(scores[i])) for i in best]

    def score(self, user: str, items: Sequence[str]) -> np.ndarray:
        """Scores of ``items`` for ``user``, seen or not.

        :return: shape: (len(items),), float32
        :raises DataError: for an unknown user or item
        """
        rows = np.array([self._item(item) for item in items], np.int64)
        return self._scorer.scores(np.array([self._user(user)]))[0, rows]

    def seen(self, user: str) -> list[str]:
        """Item ids that the user has in train and valid, in the order of the vocabulary."""
        return [self.items[i] for i in np.sort(self._seen[self._user(user)])]

    def title(self, item: str) -> str:
        """Title of an item, its id where none is known. :raises DataError: for an unknown item"""
        return self.titles[self._item(item)]

    def _ranked(self, users: Sequence[str], k: int, exclude_seen: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Per user the indices of the best items, shape: (<= K,), and their scores."""
        _check_k(k)
        rows = np.array([self._user(user) for user in users], np.int64)
        block = max(1, BLOCK_BYTES // (4 * max(1, len(self.items))))
        for begin in range(0, len(rows), block):
            part = rows[begin : begin + block]
            for user, scores in zip(part, self._scorer.scores(part), strict=True):
                if exclude_seen:
                    scores[self._seen[user]] = -np.inf
                best = top_k(scores, k)
                yield best, scores[best]

    def _user(self, user: str) -> int:
        row = self._user_index.get(str(user))
        if row is None:
            raise DataError(f"unknown user {str(user)!r}; {_near(str(user), self.users)}")
        return row

    def _item(self, item: str) -> int:
        row = self._item_index.get(str(item))
        if row is None:
            pairs = zip(self.items, self.titles, strict=True)
            named = [f"{one} ({title})" for one, title in pairs if str(item).lower() in title.lower()]
            hint = f"titles with this in them: {', '.join(named[:5])}" if named else _near(str(item), self.items)
            raise DataError(f"unknown item {str(item)!r}; {hint}")
        return row


def load(folder: Path | str) -> PublishedModel:
    """Read a model folder that :func:`kgrec.serving.publish.publish_model` wrote.

    >>> model = kgrec.load("artifacts/12_publish/model")          # doctest: +SKIP
    >>> model.recommend("42", k=10)[0][0].title                   # doctest: +SKIP

    :raises CheckpointError: if the folder is missing, damaged, or of another format version
    """
    folder = Path(folder)
    config = read_config(folder)
    try:
        vocab = read_parquet(check_file(folder, config, "vocab.parquet"), VOCAB)
        users = vocab.filter(pc.equal(vocab["type"], "user"))["id"]
        items = vocab.filter(pc.equal(vocab["type"], "item"))
        seen = read_parquet(check_file(folder, config, "seen.parquet"), SEEN)
        seen_users, seen_items = _indices(seen["user_id"], users), _indices(seen["item_id"], items["id"])
        scorer: Scorer
        if config["kind"] == "vectors":
            scorer = VectorScorer(
                _read_vectors(check_file(folder, config, "user_vectors.parquet"), users),
                _read_vectors(check_file(folder, config, "item_vectors.parquet"), items["id"]),
            )
        else:
            tensor = _read_tensor(check_file(folder, config, "model.safetensors"), config["kind"])
            expected = (len(items),) * (2 if config["kind"] == "item_similarity" else 1)
            if tensor.shape != expected:
                raise DataError(f"tensor {config['kind']} has shape {tensor.shape}, the vocabulary asks for {expected}")
            if config["kind"] == "popularity":
                scorer = PopularityScorer(tensor)
            else:
                train = np.asarray(pc.equal(seen["split"], "train"))
                scorer = SimilarityScorer(tensor, Rows.from_pairs(seen_users[train], seen_items[train], len(users)))
    except DataError as error:
        raise CheckpointError(f"{folder}: is not a sound model folder: {error}; publish it again") from error
    ids = items["id"].to_pylist()
    titles = [title or item for item, title in zip(ids, items["title"].to_pylist(), strict=True)]
    return PublishedModel(
        config, users.to_pylist(), ids, titles, scorer, Rows.from_pairs(seen_users, seen_items, len(users))
    )


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the ``k`` greatest scores, best first, ties by index; entries of ``-inf`` never count.

    :param scores: shape: (I,), float32
    :return: shape: (<= k,), int64
    """
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= least)
    else:
        candidates = np.arange(len(scores))
    candidates = candidates[scores[candidates] > -np.inf]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k is {k}, the length of a list must be at least 1")


def _near(wanted: str, known: list[str]) -> str:
    """A hint for a person who typed an id that does not exist."""
    alike = [one for one in known if one[:1] == wanted[:1] and abs(len(one) - len(wanted)) <= 1] or known
    near = get_close_matches(wanted, alike[:50_000], n=3, cutoff=0.5)
    return f"near ids: {', '.join(near)}" if near else f"ids look like {', '.join(known[:3])} ({len(known):,} in all)"


def _indices(values: pa.ChunkedArray, known: pa.ChunkedArray) -> np.ndarray:
    """Positions of ``values`` in ``known``. :raises DataError: if one is not there"""
    index = pc.index_in(values, value_set=known.combine_chunks())
    if index.null_count:
        stranger = values.filter(pc.is_null(index))[0].as_py()
        raise DataError(f"seen.parquet names {stranger!r}, which is not in vocab.parquet")
    return index.to_numpy().astype(np.int64)


def _read_vectors(path: Path, ids: pa.ChunkedArray) -> np.ndarray:
    """:return: shape: (len(ids), d), float32"""
    table = read_parquet(path, columns=["id", "vector"])
    if not table["id"].combine_chunks().equals(ids.combine_chunks()):
        raise DataError("its ids are not those of vocab.parquet in their order", path=path)
    column = table["vector"].combine_chunks()
    return column.values.to_numpy().reshape(len(table), column.type.list_size)


def _read_tensor(path: Path, name: str) -> np.ndarray:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"cannot be read as safetensors ({error})", path=path) from error
    if name not in tensors:
        raise DataError(f"has no tensor {name!r}, only {', '.join(sorted(tensors)) or 'none'}", path=path)
    return tensors[name]
