"""Entities: every node of the graph with what a person calls it, a description, and its type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from kgrec.data.schemas import ENTITIES
from kgrec.kg.literals import unescape
from kgrec.kg.sql import run_sql

_BATCH = 1 << 16


def entity_batches(connection: duckdb.DuckDBPyConnection, languages: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Entities of ``triples`` and all linked entities, sorted by id; schema ``ENTITIES``.

    A name comes from the dump, in the first of ``languages`` it has (a name without a language comes last); else from
    the source that named the entity (KGAT's maps, metadata), else, for an item, from its title; else it is null. The
    type comes from the source that made the entity (metadata), else ``kinds.sql``; an item without any is ``item``.
    """
    run_sql(connection, "wanted")
    spoken = [lang.lower() for lang in languages] + [""]
    connection.register("languages", pa.table({"lang": spoken, "place": list(range(len(spoken)))}))
    for table in ("names", "kinds", "described"):
        run_sql(connection, table)
    for batch in connection.table("described").order("entity_id").to_arrow_reader(_BATCH):
        rows = batch.to_pydict()
        names = [_text(one) or other for one, other in zip(rows["literal"], rows["name"], strict=True)]
        columns = [rows["entity_id"], names, [_text(one) for one in rows["description"]], rows["type"]]
        yield pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=ENTITIES)


def _text(literal: str | None) -> str | None:
    return (unescape(literal).strip() or None) if literal else None
