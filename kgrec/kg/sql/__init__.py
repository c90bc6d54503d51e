"""The SQL of the knowledge graph stage; each file says which tables it reads and writes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa


@contextmanager
def database_on_disk(beside: Path, memory_gb: float) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty database that works on disk once it has used ``memory_gb``, and its folder.

    It is hidden beside ``beside`` and gone in the end; what a killed run left there is cleared first. Rows have no order
    but what ``ORDER BY`` gives them.
    """
    prefix = f".{beside.name}.work."
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


def quoted(path: Path) -> str:
    """A path as a string of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def run_sql(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> None:
    """Run the statement of ``<name>.sql`` in this folder with ``$parameters``."""
    connection.execute(_text(name), parameters or None)


def query_sql(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> pa.Table:
    """Rows of the query in ``<name>.sql`` with ``$parameters``."""
    return connection.sql(_text(name), params=parameters or None).to_arrow_table()


def count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    """Rows of a table, with or without a WHERE clause behind its name."""
    return int(connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
