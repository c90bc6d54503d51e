"""Keys: what other catalogues call the entities of the graph, so that their pictures and texts can be asked for there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from kgrec.kg.literals import unescape
from kgrec.kg.sql import run_sql
from kgrec.kg.vocabulary import CROSS_IDS, PICTURES

#: kind of :data:`~kgrec.data.schemas.KEYS` -> predicates (globs)
_PREDICATES = {
    "imdb": CROSS_IDS["imdb_id"], "tmdb": CROSS_IDS["tmdb_id"], "isbn": CROSS_IDS["isbn"],
    "wikipedia": CROSS_IDS["wikipedia"], "commons": PICTURES,
}  # fmt: skip
_LANGUAGE = re.compile(r"key/wikipedia\.([a-z_]+?)_title$")
_FREEBASE_ESCAPE = re.compile(r"\$([0-9A-Fa-f]{4})")
_BATCH = 1 << 16


def key_batches(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    """Keys of all entities that ``entity_batches`` gave, sorted by entity, kind and value; schema ``KEYS``.

    A Wikipedia title is written ``<language>:<title>`` with spaces; Freebase's escapes (``$0028``) are resolved. An entity
    named by its Wikidata id has that as ``wikidata``.
    """
    kinds, globs = zip(*[(kind, glob) for kind, some in _PREDICATES.items() for glob in some], strict=True)
    connection.register("key_patterns", pa.table({"kind": kinds, "pattern": globs}))
    connection.create_function("key_text", _texts, ["VARCHAR"] * 3, "VARCHAR", type="arrow")  # type: ignore[call-overload]
    run_sql(connection, "keys")
    yield from connection.table("entity_keys").order("entity_id, kind, value").to_arrow_reader(_BATCH)


def _texts(kinds: pa.ChunkedArray, predicates: pa.ChunkedArray, literals: pa.ChunkedArray) -> pa.Array:
    rows = zip(*(column.to_pylist() for column in (kinds, predicates, literals)), strict=True)
    return pa.array([_plain(*row) for row in rows], pa.string())


def _plain(kind: str, predicate: str, literal: str) -> str:
    text = unescape(literal) if literal[:1] == '"' else literal.strip("<>")
    text = _FREEBASE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).strip()
    if kind == "wikipedia" and text:
        language = _LANGUAGE.search(predicate)
        return f"{language[1]}:{text.replace('_', ' ')}" if language else ""
    return text
