"""The SQL of the knowledge graph stage; each file says which tables it reads and writes."""

from __future__ import annotations

from importlib import resources
from typing import Any

import duckdb


def run_sql(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> duckdb.DuckDBPyConnection:
    """Run ``<name>.sql`` of this folder with ``$parameters``."""
    text = resources.files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return connection.execute(text, parameters or None)


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number ``SELECT count(*) FROM <query>`` gives."""
    return int(connection.execute(f"SELECT count(*) FROM {query}").fetchall()[0][0])
