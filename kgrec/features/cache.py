"""The feature cache remembers the vector of every content an encoder has seen, so that a refresh encodes only what
changed.

One SQLite file per encoder fingerprint, keyed by the content's SHA-256. It is only ever a speed-up: entries depend on
nothing but encoder and content, so deleting the file changes no output.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec.progress import get_logger

log = get_logger(__name__)


class FeatureCache:
    """Vectors by content hash. A context manager.

    :param folder: made if absent
    :param fingerprint: of the encoder; names the file
    :param description: stored beside the vectors, for a person who looks
    """

    def __init__(self, folder: Path, fingerprint: str, width: int, description: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.width = folder / f"{fingerprint}.sqlite", width
        try:
            self._database = self._open(description)
        except sqlite3.DatabaseError as error:
            log.warning("feature cache is damaged and is begun anew", path=str(self.path), error=str(error))
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._database = self._open(description)

    def _open(self, description: Mapping[str, Any]) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=60)
        try:
            if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("integrity check failed")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS encoder (description TEXT PRIMARY KEY)")
            database.execute("CREATE TABLE IF NOT EXISTS vectors (sha256 BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            text = json.dumps(description, sort_keys=True)
            database.execute("INSERT OR IGNORE INTO encoder VALUES (?)", (text,))
            database.commit()
        except BaseException:
            database.close()
            raise
        return database

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    def get(self, hashes: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        """Those of ``hashes`` (hexadecimal) that are known, with their vectors. shape: (width,)"""
        found: dict[str, NDArray[np.float16]] = {}
        for start in range(0, len(hashes), 500):
            keys = [bytes.fromhex(value) for value in hashes[start : start + 500]]
            marks = ",".join("?" * len(keys))
            for key, vector in self._database.execute(f"SELECT * FROM vectors WHERE sha256 IN ({marks})", keys):
                if len(vector) == 2 * self.width:
                    found[key.hex()] = np.frombuffer(vector, dtype="<f2")
        return found

    def put(self, rows: Iterable[tuple[str, NDArray[np.float16]]]) -> None:
        """Store vectors, all or none; known ones stay as they are."""
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                ((bytes.fromhex(sha256), vector.astype("<f2").tobytes()) for sha256, vector in rows),
            )
