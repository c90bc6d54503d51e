"""Entities: every node of the graph with what a person calls it, a description, and its type."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from kgrec.data.schemas import ENTITIES
from kgrec.kg.rdf import unescape
from kgrec.kg.sql import run_sql


def entity_table(connection: duckdb.DuckDBPyConnection, languages: Sequence[str]) -> pa.Table:
    """Entities of ``triples`` and all linked entities, sorted by id.

    A name comes from the dump in the first of ``languages`` it has, else from the source that named the entity (KGAT's
    maps, metadata), else, for an item, from its title; else it is null. Types: see ``kinds.sql``.
    """
    run_sql(connection, "wanted")
    places = pa.table({"lang": [lang.lower() for lang in languages], "place": list(range(len(languages)))})
    connection.register("languages", places)
    text: dict[str, dict[str, str]] = {"name": {}, "description": {}}
    for node, kind, literal in run_sql(connection, "names").fetchall():
        value = unescape(literal).strip()
        if value:
            text[kind][node] = value
    types = dict(run_sql(connection, "kinds").fetchall())
    rows = connection.execute("SELECT node, name, type FROM wanted ORDER BY node").fetchall()
    columns = [
        [node for node, _, _ in rows],
        [text["name"].get(node, name) for node, name, _ in rows],
        [text["description"].get(node) for node, _, _ in rows],
        [types.get(node, kind) for node, _, kind in rows],
    ]
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=ENTITIES)
