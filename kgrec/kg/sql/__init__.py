"""The SQL of the knowledge graph stage; each file says which tables it reads and writes."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from kgrec.data.database import statement


def run_sql(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> None:
    """Run the statement of ``<name>.sql`` in this folder with ``$parameters``."""
    connection.execute(statement(__name__, name), parameters or None)


def query_sql(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any) -> pa.Table:
    """Rows of the query in ``<name>.sql`` with ``$parameters``."""
    return connection.sql(statement(__name__, name), params=parameters or None).to_arrow_table()


def count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    """Rows of a table, with or without a WHERE clause behind its name."""
    return int(connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])
