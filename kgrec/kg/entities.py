"""Entities: every node of the graph with what a person calls it, a description, and its type."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from kgrec.data.schemas import ENTITIES
from kgrec.kg.literals import unescape
from kgrec.kg.sql import query_sql, run_sql


def entity_table(connection: duckdb.DuckDBPyConnection, languages: Sequence[str]) -> pa.Table:
    """Entities of ``triples`` and all linked entities, sorted by id.

    A name comes from the dump, in the first of ``languages`` it has (a name without a language comes last); else from
    the source that named the entity (KGAT's maps, metadata), else, for an item, from its title; else it is null. The
    type comes from the source that made the entity (metadata), else ``kinds.sql``; an item without any is ``item``.
    """
    run_sql(connection, "wanted")
    spoken = [lang.lower() for lang in languages] + [""]
    places = pa.table({"lang": spoken, "place": list(range(len(spoken)))})
    connection.register("languages", places)
    text: dict[str, dict[str, str]] = {"name": {}, "description": {}}
    for row in query_sql(connection, "names").to_pylist():
        value = unescape(row["literal"]).strip()
        if value:
            text[row["kind"]][row["node"]] = value
    types = {row["node"]: row["type"] for row in query_sql(connection, "kinds").to_pylist()}
    rows = connection.execute("SELECT node, name, type, item FROM wanted ORDER BY node").fetchall()
    columns = [
        [node for node, *_ in rows],
        [text["name"].get(node, name) for node, name, *_ in rows],
        [text["description"].get(node) for node, *_ in rows],
        [kind or types.get(node) or ("item" if item else None) for node, _, kind, item in rows],
    ]
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=ENTITIES)
