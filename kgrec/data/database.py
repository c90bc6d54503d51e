"""A database on disk joins tables that need not fit into memory; it lives for one function and leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import duckdb


@contextmanager
def database_on_disk(beside: Path, memory_gb: float) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty database that works on disk once it has used ``memory_gb``, and its folder.

    It is hidden beside ``beside`` and gone in the end; what a killed run left there is cleared first. Rows have no order
    but what ``ORDER BY`` gives them.
    """
    prefix = f".{beside.name}.work."
    beside.parent.mkdir(parents=True, exist_ok=True)
    for leftover in beside.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    with (
        tempfile.TemporaryDirectory(dir=beside.parent, prefix=prefix) as folder,
        duckdb.connect(str(Path(folder) / "work.duckdb")) as connection,
    ):
        connection.execute("SET memory_limit = ?", [f"{memory_gb}GB"])
        connection.execute("SET temp_directory = ?", [str(Path(folder) / "spill")])
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET preserve_insertion_order = false")
        yield connection, Path(folder)


def statement(package: str, name: str) -> str:
    """The SQL of ``<name>.sql`` in a package."""
    return resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def quoted(path: Path) -> str:
    """A path as a string of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
