"""The contents of a modality are what its keys have in the media tables, read a few rows at a time.

A content is known by its position, the number of its row counted over all shards, which are sorted by key. Nothing of the
catalogue is held but 32 bytes of hash a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgrec.data import schemas
from kgrec.data.io import check_parquet
from kgrec.errors import DataError
from kgrec.features.tables import DIGEST, from_hex

#: modality -> folder of its shards, or name of its one table, in a media folder
_PLACES = {"image": "images", "audio": "audio", "video": "video", "text": "texts.parquet"}
_SCHEMAS = {"image": schemas.IMAGES, "audio": schemas.CLIPS, "video": schemas.CLIPS, "text": schemas.TEXTS}

#: rows decoded at a time
_ROWS = {"image": 64, "audio": 16, "video": 4, "text": 4096}
#: bytes of a column read at a time
_BUFFER = 4 << 20


@dataclass(frozen=True)
class _RowGroup:
    path: Path
    number: int
    start: int
    rows: int


@dataclass(frozen=True)
class Contents:
    """Keys and contents of a modality. Can be pickled; where a table changes meanwhile, nothing is promised."""

    modality: str
    groups: tuple[_RowGroup, ...]

    def __len__(self) -> int:
        return self.groups[-1].start + self.groups[-1].rows if self.groups else 0

    def digests(self) -> NDArray[Any]:
        """SHA-256 of each key's content; of a text, of its UTF-8. shape: (n,), ``S32``

        :raises DataError: if a table is damaged, or keys are not rising over all shards
        """
        digests = np.empty(len(self), DIGEST)
        column = "text" if self.modality == "text" else "sha256"
        start, last = 0, None
        for group, batch in self._batches(["key", column], max(4096, _ROWS[self.modality])):
            keys = batch["key"] if last is None else pa.concat_arrays([last, batch["key"]])
            if keys.null_count or not pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py():
                raise DataError("keys are not rising over all shards; rerun the media stage", path=group.path)
            last = batch["key"][-1:]
            try:
                digests[start : start + len(batch)] = (
                    _hash_texts(batch[column]) if column == "text" else from_hex(batch[column])
                )
            except ValueError as error:
                raise DataError(f"column {column}: {error}; rerun the media stage", path=group.path) from error
            start += len(batch)
        return digests

    def keys(self, rows: int) -> Iterator[pa.Array]:
        """All keys in order, ``rows`` at a time."""
        waiting: list[pa.Array] = []
        for _, batch in self._batches(["key"], rows):
            waiting.append(batch["key"])
            while sum(map(len, waiting)) >= rows:
                joined = pa.concat_arrays(waiting)
                yield joined[:rows]
                waiting = [joined[rows:]]
        if any(map(len, waiting)):
            yield pa.concat_arrays(waiting)

    def key(self, position: int) -> str:
        """Key of a content."""
        group = next(group for group in self.groups if position < group.start + group.rows)
        column = pq.ParquetFile(group.path).read_row_group(group.number, columns=["key"])["key"]
        return column[position - group.start].as_py()

    def read(self, positions: NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
        """Position and content (bytes of the file, or text) of each of ``positions``, which are rising.

        :raises DataError: if a table is damaged
        """
        column = "text" if self.modality == "text" else "bytes"
        for group in self.groups:
            wanted = _between(positions, group.start, group.rows)
            start = group.start
            for _, batch in self._batches([column], _ROWS[self.modality], (group,)) if len(wanted) else ():
                for position in _between(wanted, start, len(batch)).tolist():
                    yield position, batch[column][position - start].as_py()
                start += len(batch)
                if start > wanted[-1]:
                    break

    def _batches(
        self, columns: list[str], rows: int, groups: tuple[_RowGroup, ...] | None = None
    ) -> Iterator[tuple[_RowGroup, pa.RecordBatch]]:
        for group in self.groups if groups is None else groups:
            try:
                with pq.ParquetFile(group.path, buffer_size=_BUFFER, pre_buffer=False) as file:
                    for batch in file.iter_batches(rows, [group.number], columns, use_threads=False):
                        yield group, batch
            except FileNotFoundError:
                raise DataError("no such file on this machine", path=group.path) from None
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(f"is damaged ({error}); rerun the media stage", path=group.path) from error


def open_contents(media: Path, modality: str) -> Contents:
    """Contents of a modality.

    :param media: folder written by :func:`kgrec.media.collect.collect_media`
    :raises DataError: if its tables are missing or lack a column
    """
    place = media.resolve() / _PLACES[modality]
    shards = [place] if modality == "text" else sorted(place.glob(f"{place.name}-*.parquet"))
    if not shards:
        raise DataError(f"holds no {place.name}-*.parquet; run the media stage first", path=place)
    groups: list[_RowGroup] = []
    start = 0
    for shard in shards:
        check_parquet(shard, _SCHEMAS[modality])
        metadata = pq.read_metadata(shard)
        for number in range(metadata.num_row_groups):
            if rows := metadata.row_group(number).num_rows:
                groups.append(_RowGroup(shard, number, start, rows))
                start += rows
    return Contents(modality, tuple(groups))


def _between(positions: NDArray[np.int64], start: int, rows: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(positions, (start, start + rows))
    return positions[low:high]


def _hash_texts(texts: pa.Array) -> NDArray[Any]:
    if texts.null_count:
        raise ValueError("a text is null")
    views = texts.cast(pa.binary()).to_pylist()
    return np.frombuffer(b"".join(hashlib.sha256(text).digest() for text in views), DIGEST)
