"""Filters turn raw facts into the triples of the graph and count what each of them drops: the funnel."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import duckdb
import numpy as np
import pyarrow as pa

from kgrec.kg.sql import count, run_sql


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relation fits one of the glob patterns (``film.*``), case-sensitively."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def filter_triples(
    connection: duckdb.DuckDBPyConnection, allow: Iterable[str], deny: Iterable[str], min_entity: int, min_relation: int
) -> dict[str, int]:
    """Turn ``raw(h, r, t, source)`` into ``triples(h, r, t, source)``, one row per fact, its sources joined by ``+``.

    :param min_entity: least triples of an entity that is no item
    :param min_relation: least triples of a relation
    :return: the funnel, in order: facts read, what each step dropped, triples left
    """
    facts, loops = count(connection, "raw"), count(connection, "raw WHERE h = t")
    distinct = count(connection, "(SELECT DISTINCT h, r, t FROM raw WHERE h <> t)")
    run_sql(connection, "merge")
    merged = count(connection, "triples")
    relations = [row[0] for row in connection.execute("SELECT DISTINCT r FROM triples ORDER BY r").fetchall()]
    _keep(connection, "r", [r for r in relations if matches(r, allow) and not matches(r, deny)])
    wanted = count(connection, "triples")
    if min_entity > 1 or min_relation > 1:
        _core(connection, min_entity, min_relation)
    left = count(connection, "triples")
    return {
        "facts": facts,
        "self_loops": loops,
        "repeats": facts - loops - distinct,
        "inverses_merged": distinct - merged,
        "relations_not_wanted": merged - wanted,
        "below_minimum": wanted - left,
        "triples": left,
    }


def core(
    heads: np.ndarray, relations: np.ndarray, tails: np.ndarray, items: np.ndarray, min_entity: int, min_relation: int
) -> np.ndarray:
    """Which triples stay when rare relations and rare entities go, again and again until nothing changes.

    :param heads: int[M] node codes; ``tails`` likewise, ``relations`` int[M] relation codes
    :param items: bool[N], nodes that count as frequent whatever their triples
    :return: bool[M]
    """
    keep = np.ones(len(heads), dtype=bool)
    while True:
        frequent = np.bincount(relations[keep], minlength=relations.max(initial=0) + 1) >= min_relation
        now = keep & frequent[relations]
        degree = np.bincount(heads[now], minlength=len(items)) + np.bincount(tails[now], minlength=len(items))
        stays = (degree >= min_entity) | items
        now &= stays[heads] & stays[tails]
        if now.sum() == keep.sum():
            return now
        keep = now


def _core(connection: duckdb.DuckDBPyConnection, min_entity: int, min_relation: int) -> None:
    """Apply ``core`` to ``triples``."""
    table = connection.sql("SELECT h, r, t FROM triples ORDER BY h, r, t").to_arrow_table()
    heads, relations, tails = (table[name].combine_chunks() for name in ("h", "r", "t"))
    nodes = pa.concat_arrays([heads, tails]).dictionary_encode()
    codes = nodes.indices.to_numpy()
    known = {row[0] for row in connection.execute("SELECT node FROM items").fetchall()}
    items = np.array([node in known for node in nodes.dictionary.to_pylist()], dtype=bool)
    kinds = relations.dictionary_encode().indices.to_numpy()
    keep = core(codes[: len(heads)], kinds, codes[len(heads) :], items, min_entity, min_relation)
    connection.register("kept", table.filter(pa.array(keep)))
    connection.execute(
        "CREATE OR REPLACE TABLE triples AS SELECT * FROM triples SEMI JOIN kept USING (h, r, t) ORDER BY h, r, t"
    )
    connection.unregister("kept")


def _keep(connection: duckdb.DuckDBPyConnection, column: str, values: list[str]) -> None:
    connection.register("kept", pa.table({"value": pa.array(values, pa.string())}))
    connection.execute(f"DELETE FROM triples WHERE {column} NOT IN (SELECT value FROM kept)")
    connection.unregister("kept")
