"""Filters turn raw facts into the triples of the graph and count what each of them drops: the funnel."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import duckdb
import pyarrow as pa

from kgrec.kg.sql import count, run_sql


def filter_triples(
    connection: duckdb.DuckDBPyConnection,
    allow: Iterable[str],
    deny: Iterable[str],
    min_entity: int,
    min_relation: int,
) -> dict[str, int]:
    """Turn ``raw(h, r, t, source)`` into ``triples(h, r, t, source)``, one row per fact, its sources joined by ``+``.

    :param min_entity: least triples of an entity that is no item
    :return: the funnel, in order: rows read, and what each step dropped
    """
    run = connection.execute
    funnel = {"facts": count(connection, "raw")}
    funnel["self_loops"] = count(connection, "raw WHERE h = t")
    funnel["repeats"] = funnel["facts"] - funnel["self_loops"]
    funnel["repeats"] -= count(connection, "(SELECT DISTINCT h, r, t FROM raw WHERE h <> t)")
    before = funnel["facts"] - funnel["self_loops"] - funnel["repeats"]
    run_sql(connection, "merge")
    after = count(connection, "triples")
    funnel["inverses_merged"] = before - after
    relations = [row[0] for row in run("SELECT DISTINCT r FROM triples ORDER BY r").fetchall()]
    kept = [r for r in relations if _matches(r, allow) and not _matches(r, deny)]
    connection.register("kept_relations", pa.table({"r": pa.array(kept, pa.string())}))
    run("DELETE FROM triples WHERE r NOT IN (SELECT r FROM kept_relations)")
    funnel["relations_not_wanted"], after = after - count(connection, "triples"), count(connection, "triples")
    while True:
        run("DELETE FROM triples WHERE r IN (SELECT r FROM triples GROUP BY r HAVING count(*) < ?)", [min_relation])
        run_sql(connection, "rare", min_entity=min_entity)
        now = count(connection, "triples")
        if now == after - funnel.get("below_minimum", 0):
            break
        funnel["below_minimum"] = after - now
    funnel.setdefault("below_minimum", 0)
    funnel["triples"] = now
    return funnel


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relation, or a half of a collapsed one, fits a glob pattern."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
