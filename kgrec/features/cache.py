"""The feature cache remembers what an encoder made of every content it has seen, so that a refresh encodes only what
changed.

One folder per encoder fingerprint: ``records.bin`` holds the float16 values, appended record after record, and
``index.sqlite`` says which content's record lies where. (A million vectors of 1280 in rows of SQLite are written forty
times slower and take twice the room.) A record counts once its row is committed, so a process killed at any point loses
at most its last batch. The cache is only ever a speed-up: entries depend on nothing but encoder and content, so deleting
it changes no output.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec.data.io import atomic_folder, read_parquet
from kgrec.errors import DataError
from kgrec.features.tables import DIGEST, from_hex
from kgrec.progress import get_logger

log = get_logger(__name__)

_ENTRY = np.dtype([("digest", DIGEST), ("offset", "<i8"), ("tokens", "<i4"), ("cut", "<i4"), ("crc", "<u4")])
_INDEX, _RECORDS, _TOKENS = "index.sqlite", "records.bin", "-tokens"
_LAYOUT = 2


def cache_path(cache: Path, modality: str, fingerprint: str, tokens: bool) -> Path:
    """Where an encoder's cache lies. With token states it is another one: a model's vector may be rounded otherwise where
    it gives its tokens too."""
    return cache / modality / (fingerprint + (_TOKENS if tokens else ""))


class CacheDamaged(Exception):
    """A record is not what was stored; :meth:`FeatureCache.clear` and encode again."""


class FeatureCache:
    """Vectors, and token states where the encoder gives them, by content. A context manager.

    Several processes may share a cache.

    :param path: its folder (see :func:`cache_path`), made if absent
    :param width: of a vector
    :param description: stored beside the vectors, for a person who looks
    :param token_width: of a token's state; None: tokens are not kept
    :raises DataError: if the folder cannot be used; a damaged cache is begun anew with a warning
    """

    def __init__(self, path: Path, width: int, description: Mapping[str, Any], token_width: int | None = None) -> None:
        self.path, self.width, self.token_width, self._description = path, width, token_width, dict(description)
        try:
            self._open()
        except _Damaged as error:
            self._begin_anew(str(error))

    def _open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._opened = ExitStack()
        self._records = os.open(self.path / _RECORDS, os.O_RDWR | os.O_CREAT, 0o644)
        self._opened.callback(os.close, self._records)
        try:
            self._database = sqlite3.connect(self.path / _INDEX, timeout=60, isolation_level=None)
            self._opened.callback(self._database.close)
            if self._database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise _Damaged("integrity check failed")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            for table in (
                "encoder (layout INTEGER PRIMARY KEY, width INTEGER, token_width INTEGER, description TEXT)",
                "puts (id INTEGER PRIMARY KEY, entries BLOB NOT NULL)",
            ):
                self._database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            meant = (_LAYOUT, self.width, self.token_width)
            text = json.dumps(self._description, sort_keys=True)
            self._database.execute("INSERT OR IGNORE INTO encoder VALUES (?, ?, ?, ?)", (*meant, text))
            if self._database.execute("SELECT layout, width, token_width FROM encoder").fetchall() != [meant]:
                raise _Damaged("it holds vectors of another layout")
            self.refresh()
        except sqlite3.OperationalError as error:
            self.close()
            raise DataError(f"the feature cache cannot be used ({error})", path=self.path) from error
        except sqlite3.DatabaseError as error:
            self.close()
            raise _Damaged(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _begin_anew(self, reason: str) -> None:
        log.warning("feature cache is damaged and is begun anew", path=str(self.path), error=reason)
        shutil.rmtree(self.path)
        self._open()

    def close(self) -> None:
        """What was put stays."""
        self._opened.close()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def clear(self, reason: str) -> None:
        """Forget everything, with a warning that names ``reason``."""
        self.close()
        self._begin_anew(reason)

    def refresh(self) -> None:
        """Learn what was put since the last call, by this process or another; until then :meth:`find` does not see it."""
        rows = self._database.execute("SELECT entries FROM puts ORDER BY id")
        entries = np.frombuffer(b"".join(row[0] for row in rows), _ENTRY)
        digests = np.ascontiguousarray(entries["digest"])
        order = np.argsort(digests, kind="stable")
        digests = digests[order]
        first = np.ones(len(digests), bool)
        np.not_equal(digests[1:], digests[:-1], out=first[1:])
        self._entries, self._digests = entries[order[first]], digests[first]
        end = (self._entries["offset"] + self._sizes(self._entries)).max(initial=0)
        if os.fstat(self._records).st_size < end:
            raise _Damaged(f"{_RECORDS} was cut short")

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digests: NDArray[Any]) -> NDArray[np.int64]:
        """Number of each content's entry, -1 where it is not known.

        :param digests: shape: (n,), ``S32``
        """
        if not len(self._digests):
            return np.full(len(digests), -1)
        place = np.searchsorted(self._digests, digests).clip(max=len(self._digests) - 1)
        return np.where(self._digests[place] == digests, place, -1)

    def cut(self, entries: NDArray[np.int64]) -> NDArray[np.int32]:
        """Tokens left out of each content's text because it is too long. shape: (n,)"""
        return self._entries["cut"][entries]

    def tokens(self, entries: NDArray[np.int64]) -> NDArray[np.int32]:
        """Number of tokens each entry has states of. shape: (n,)"""
        return self._entries["tokens"][entries]

    def read(self, entries: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Vectors, and token states one after another in the order of ``entries``.

        :return: shapes: (n, width) and (sum of :meth:`tokens`, token_width or 0)
        :raises CacheDamaged: if a record is not what was stored
        """
        chosen = self._entries[entries]
        vectors = np.empty((len(chosen), self.width), "<f2")
        states = np.empty((int(chosen["tokens"].sum()), self.token_width or 0), "<f2")
        token_ends = np.cumsum(chosen["tokens"])
        vector_bytes = 2 * self.width
        for rows, record in self._runs(chosen):
            view, start = memoryview(record), 0
            if len(view) != int(self._sizes(chosen[rows]).sum()):
                raise CacheDamaged(f"{_RECORDS} was cut short")
            for row in rows.tolist():
                tokens = int(chosen["tokens"][row])
                end = start + vector_bytes + 2 * tokens * states.shape[1]
                if zlib.crc32(view[start:end]) != chosen["crc"][row]:
                    raise CacheDamaged("a record's checksum differs")
                vectors[row] = np.frombuffer(view[start : start + vector_bytes], "<f2")
                if tokens:
                    part = np.frombuffer(view[start + vector_bytes : end], "<f2").reshape(tokens, -1)
                    states[token_ends[row] - tokens : token_ends[row]] = part
                start = end
        return vectors, states

    def _runs(self, chosen: NDArray[Any], most: int = 32 << 20) -> Iterator[tuple[NDArray[np.intp], bytes]]:
        """Rows of ``chosen`` whose records follow one another in the file, with their bytes: one read each."""
        order = np.argsort(chosen["offset"], kind="stable")
        starts, sizes = chosen["offset"][order], self._sizes(chosen)[order]
        ends = starts + sizes
        new = np.ones(len(order), bool)
        new[1:] = (starts[1:] != ends[:-1]) | (np.cumsum(sizes)[1:] // most != np.cumsum(sizes)[:-1] // most)
        for rows in np.split(np.arange(len(order)), np.flatnonzero(new)[1:]):
            if len(rows):
                start = int(starts[rows[0]])
                yield order[rows], os.pread(self._records, int(ends[rows[-1]]) - start, start)

    def _sizes(self, entries: NDArray[Any]) -> NDArray[np.int64]:
        return 2 * (self.width + entries["tokens"].astype(np.int64) * (self.token_width or 0))

    def put(
        self, digests: NDArray[Any], vectors: NDArray[np.float16], cut: NDArray[np.int32] | None = None,
        tokens: Sequence[NDArray[np.float16]] | None = None,
    ) -> None:  # fmt: skip
        """Store what was encoded, all or none.

        :param digests: shape: (n,), ``S32``
        :param vectors: shape: (n, width)
        :param cut: tokens left out of each text; None: none. shape: (n,)
        :param tokens: per content, shape: (its tokens, token_width); given exactly if the cache keeps tokens
        """
        if vectors.shape != (len(digests), self.width) or (tokens is None) != (self.token_width is None):
            raise ValueError(f"vectors of shape {vectors.shape} do not fit the cache {self.path.name}")
        rows = vectors.astype("<f2", copy=False)
        records = [
            row.tobytes() + (b"" if tokens is None else tokens[i].astype("<f2", copy=False).tobytes())
            for i, row in enumerate(rows)
        ]
        entries = np.zeros(len(records), _ENTRY)
        entries["digest"] = digests
        entries["tokens"] = 0 if tokens is None else [len(matrix) for matrix in tokens]
        entries["cut"] = 0 if cut is None else cut
        entries["crc"] = [zlib.crc32(record) for record in records]
        sizes = np.array([len(record) for record in records], np.int64)
        self._database.execute("BEGIN IMMEDIATE")  # one process appends at a time
        try:
            start = os.fstat(self._records).st_size
            entries["offset"] = start + np.cumsum(sizes) - sizes
            _write_all(self._records, b"".join(records), start)
            self._database.execute("INSERT INTO puts (entries) VALUES (?)", (entries.tobytes(),))
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise


class _Damaged(Exception):
    """What is found on opening is not what was stored."""


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


@dataclass(frozen=True)
class CachedEncoder:
    """What the cache holds of one encoder. ``entries`` is None where it is damaged or of a former version: not read."""

    modality: str
    path: Path
    encoder: str
    entries: int | None
    bytes: int


def cached_encoders(cache: Path) -> list[CachedEncoder]:
    """What the feature cache holds, by modality and encoder.

    :param cache: as given to :func:`kgrec.features.encode.encode_features`
    """
    found = []
    for path in sorted(cache.glob("*/*")):
        modality = path.parent.name
        if (path / _INDEX).exists():
            try:
                description, *_, entries = _card(path)
                held = CachedEncoder(modality, path, description.get("encoder", ""), entries, _size(path))
            except (sqlite3.DatabaseError, TypeError, ValueError):
                held = CachedEncoder(modality, path, "", None, _size(path))
            found.append(held)
        elif path.suffix == ".sqlite":
            files = path.parent.glob(path.name + "*")
            found.append(CachedEncoder(modality, path, "", None, sum(map(_size, files))))
    return found


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def prune_cache(cache: Path, features: Path) -> dict[str, int]:
    """Remove from the cache what the present feature tables do not use. Not to be called while features are encoded.

    :param cache: as given to :func:`kgrec.features.encode.encode_features`
    :param features: its ``out``
    :return: ``kept`` and ``removed`` entries, ``freed`` bytes
    :raises DataError: if there is no feature table, because then everything would go
    """
    if not any(features.glob("vectors/*.parquet")):
        raise DataError("holds no vectors/*.parquet; run the features stage first", path=features)
    counts = {"kept": 0, "removed": 0, "freed": 0}
    for held in cached_encoders(cache):
        kept = 0 if held.entries is None else _keep(held.path, _used(held, features))
        if not kept:
            for path in [held.path] if held.path.is_dir() else held.path.parent.glob(held.path.name + "*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        counts["kept"] += kept
        counts["removed"] += (held.entries or 0) - kept
        counts["freed"] += held.bytes - (_size(held.path) if kept else 0)
    log.info("pruned the feature cache", **counts)
    return counts


def _used(held: CachedEncoder, features: Path) -> NDArray[Any]:
    """Digests of the contents whose vectors the present tables have from this cache. shape: (n,)"""
    fingerprint = held.path.name.removesuffix(_TOKENS)
    table = features / "vectors" / f"{held.modality}.parquet"
    has_tokens = (features / "tokens" / table.name).exists()
    if table.exists() and has_tokens == held.path.name.endswith(_TOKENS):
        rows = read_parquet(table, columns=["content_sha256", "encoder"])
        if all(label.endswith(f"@{fingerprint[:12]}") for label in rows["encoder"].unique().to_pylist()):
            return np.unique(from_hex(rows["content_sha256"]))
    return np.empty(0, DIGEST)


def _keep(path: Path, digests: NDArray[Any]) -> int:
    """Rewrite a cache with the entries of ``digests`` alone, if it holds more than them; returns their number."""
    description, width, token_width, _ = _card(path)
    with FeatureCache(path, width, description, token_width) as old:
        entries = old.find(digests)
        entries = entries[entries >= 0]
        size = int(old._sizes(old._entries[entries]).sum())
        if len(entries) and size != os.fstat(old._records).st_size:
            with atomic_folder(path) as folder, FeatureCache(folder, width, description, token_width) as new:
                for start in range(0, len(entries), 256):
                    part = entries[start : start + 256]
                    vectors, states = old.read(part)
                    tokens = np.split(states, np.cumsum(old.tokens(part))[:-1])
                    new.put(old._digests[part], vectors, old.cut(part), None if token_width is None else tokens)
    return len(entries)


def _card(path: Path) -> tuple[dict[str, Any], int, int | None, int]:
    """Description, width, token width and number of entries (of :meth:`FeatureCache.put`, some perhaps twice)."""
    database = sqlite3.connect(path / _INDEX, timeout=60)
    try:
        text, width, token_width = database.execute("SELECT description, width, token_width FROM encoder").fetchone()
        size = database.execute("SELECT coalesce(sum(length(entries)), 0) FROM puts").fetchone()[0]
        return json.loads(text), width, token_width, size // _ENTRY.itemsize
    finally:
        database.close()
