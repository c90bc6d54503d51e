"""A written graph, opened as tables of a DuckDB connection: facts, names and items.

Nodes are numbered in the order of their ids, so that joins and sorts work on integers; ``nodes`` has the ids.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from kgrec.data.database import quoted
from kgrec.data.io import check_parquet
from kgrec.data.schemas import ENTITIES, ITEMS, LINKS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.ids import item_node
from kgrec.kg.sql import count, run_sql


def open_graph(
    connection: duckdb.DuckDBPyConnection, graph: Path, items: Path | None = None, links: Path | None = None
) -> None:
    """Make ``nodes(node, id)``, ``facts(h, r, t)`` without repeats, ``named(node, name, type)`` and
    ``items(node, item_id, title)``.

    :param graph: folder of ``triples.parquet`` and, where it has them, ``entities.parquet`` and ``links.parquet``
    :param items: items.parquet; without it the items are the linked entities and the nodes made for unlinked items
    :param links: links.parquet; without it the one in ``graph``, else no item is linked
    :raises DataError: if a file is missing, damaged, lacks a column, or holds no triple
    """
    graph = Path(graph)
    if not graph.is_dir():
        raise DataError("no such folder; give one that the kg stage or `kgrec kg import` wrote", path=graph)
    entities, inside = graph / "entities.parquet", graph / "links.parquet"
    links = links or (inside if inside.exists() else None)
    _view(connection, "read_triples", graph / "triples.parquet", TRIPLES)
    _view(connection, "read_entities", entities if entities.exists() else None, ENTITIES)
    _view(connection, "read_links", links, LINKS)
    _view(connection, "read_items", items, ITEMS)
    if not count(connection, "read_triples"):
        raise DataError("holds no triple", path=graph / "triples.parquet")
    listing = "quality_items_given" if items is not None else "quality_items_guessed"
    run_sql(connection, listing, prefix=item_node(""))
    for name in ("nodes", "names_of_relations", "facts", "named", "listed"):
        run_sql(connection, f"quality_{name}")


def _view(connection: duckdb.DuckDBPyConnection, name: str, path: Path | None, schema: pa.Schema) -> None:
    """A view of a Parquet file with the columns of ``schema``; of no rows where there is no file."""
    if path is None:
        connection.register(name, schema.empty_table())
        return
    check_parquet(path, schema)
    connection.execute(
        f"CREATE VIEW {name} AS SELECT {', '.join(schema.names)} FROM read_parquet({quoted(Path(path))})"
    )
