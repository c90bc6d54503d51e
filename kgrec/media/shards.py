"""Shards are Parquet files of pictures or clips, bytes as published, sorted by key over all of them; each row group holds
what fits into memory many times over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.data import schemas
from kgrec.data.io import PARQUET_OPTIONS
from kgrec.media.clips import Clip
from kgrec.media.images import Picture

#: rows are read back one row group at a time
_GROUP_BYTES = 32_000_000
_COLUMNS: dict[str, tuple[str, ...]] = {
    "images": ("sha256", "data", "width", "height", "format", "phash"),
    "audio": ("sha256", "data", "seconds", "format"),
    "video": ("sha256", "data", "seconds", "format"),
}


class ShardWriter:
    """Writes rows in the order they come to ``<name>-00000.parquet`` … A context manager.

    :param folder: exists; the shards go there
    :param name: ``images``, ``audio`` or ``video``
    :param shard_bytes: size at which a new shard is begun
    """

    def __init__(self, folder: Path, name: str, shard_bytes: int) -> None:
        self.folder, self.name, self.shard_bytes = folder, name, shard_bytes
        self.schema = schemas.IMAGES if name == "images" else schemas.CLIPS
        self.rows = self.count = self.total = self._in_shard = self._in_group = 0
        self._waiting: list[tuple[str, Picture | Clip]] = []
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self._flush()
            if self.count == 0:
                self._open()  # a table without rows is still a table
        if self._writer is not None:
            self._writer.close()

    def add(self, key: str, one: Picture | Clip) -> None:
        """Append a row."""
        size = len(one.data)
        if self._in_shard and self._in_shard + size > self.shard_bytes:
            self._flush()
            if self._writer is not None:
                self._writer.close()
            self._writer, self._in_shard = None, 0
        self._waiting.append((key, one))
        self._in_shard += size
        self._in_group += size
        self.total += size
        self.rows += 1
        if self._in_group >= _GROUP_BYTES:
            self._flush()

    def _open(self) -> pq.ParquetWriter:
        path = self.folder / f"{self.name}-{self.count:05d}.parquet"
        options: dict[str, Any] = PARQUET_OPTIONS | {"use_dictionary": ["format"], "write_statistics": ["key"]}
        self._writer = pq.ParquetWriter(path, self.schema, **options)
        self.count += 1
        return self._writer

    def _flush(self) -> None:
        if not self._waiting:
            return
        writer = self._writer or self._open()
        keys = [key for key, _ in self._waiting]
        columns = [[getattr(one, name) for _, one in self._waiting] for name in _COLUMNS[self.name]]
        writer.write_table(pa.table([keys, *columns], schema=self.schema))
        self._waiting, self._in_group = [], 0
