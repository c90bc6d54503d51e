"""Filters turn raw facts into the triples of the graph, count what each of them drops, and say for which reason.

What goes because of a name, a relation's or an award's, is kept in the table ``dropped(relation, facts, pattern, reason)``
of the connection, so that a report can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import duckdb
import numpy as np
import pyarrow as pa

from kgrec.kg.quality_tables import DROPPED
from kgrec.kg.relations import spell_out
from kgrec.kg.sql import count, query_sql, run_sql

_NOT_ALLOWED = "fits no pattern of kg.relations_allow"


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relation fits one of the glob patterns (``film.*``), case-sensitively."""
    return first_match(name, patterns) is not None


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """The first of the glob patterns that a relation fits."""
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def refused(facts: Mapping[str, int], allow: Iterable[str], deny: Iterable[str] | Mapping[str, str]) -> pa.Table:
    """Which relations may not stay, and why.

    :param facts: number of facts by relation
    :param deny: patterns, or patterns with reasons; see ``kgrec.kg.relations``
    :return: ``DROPPED``, one row per relation refused, sorted by relation
    """
    allowed, reasons = tuple(allow), spell_out(deny)
    rows = []
    for relation in sorted(facts):
        pattern = first_match(relation, reasons)
        if pattern is not None:
            rows.append((relation, facts[relation], pattern, reasons[pattern]))
        elif not matches(relation, allowed):
            rows.append((relation, facts[relation], "", _NOT_ALLOWED))
    return pa.Table.from_pylist([dict(zip(DROPPED.names, row, strict=True)) for row in rows], schema=DROPPED)


def name_voted(connection: duckdb.DuckDBPyConnection, names: Mapping[str, str]) -> None:
    """Make ``voted(node, name, pattern, reason)`` of ``spoken(node, name)``: the awards by the audience's vote.

    :param names: glob of a lower-case name -> who votes, as ``kgrec.kg.relations.VOTED_AWARDS``
    """
    reasons = [f"an award by the vote of {who}" for who in names.values()]
    patterns = pa.table({"pattern": pa.array(names, pa.string()), "reason": pa.array(reasons, pa.string())})
    connection.register("voted_names", patterns)
    run_sql(connection, "quality_voted")
    connection.unregister("voted_names")


def drop_voted(connection: duckdb.DuckDBPyConnection, names: Mapping[str, str]) -> dict[str, int]:
    """Leave out awards by the audience's vote, and every fact stated through one.

    Works between gathering and merging, on ``near``, ``star``, ``mediators``, ``labels``, ``raw`` and ``given``: a
    nomination is a mediator of award, work and nominee, and goes whole when its award is such a one.

    :param names: as for ``name_voted``
    :return: how many awards and ceremonies, and how many facts
    """
    run_sql(connection, "quality_spoken")
    name_voted(connection, names)
    run_sql(connection, "quality_voted_facts")
    gone = query_sql(connection, "quality_dropped").cast(DROPPED)
    note_dropped(connection, gone)
    for table, head, tail in (("near", "s", "o"), ("star", "s", "o"), ("raw", "h", "t")):
        connection.execute(
            f"DELETE FROM {table} WHERE {head} IN (SELECT node FROM through) OR {tail} IN (SELECT node FROM through)"
        )
    return {"voted_awards": count(connection, "voted"), "voted_facts": sum(gone["facts"].to_pylist())}


def note_dropped(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    """Append ``DROPPED`` rows to ``dropped``."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS dropped(relation VARCHAR, facts BIGINT, pattern VARCHAR, reason VARCHAR)"
    )
    connection.register("noted", rows)
    connection.execute("INSERT INTO dropped SELECT * FROM noted")
    connection.unregister("noted")


def dropped(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """``DROPPED``: what the filters of this connection left out because of a name, most facts first."""
    note_dropped(connection, DROPPED.empty_table())
    query = "SELECT * FROM dropped ORDER BY facts DESC, relation, pattern"
    return connection.sql(query).to_arrow_table().cast(DROPPED)


def filter_triples(
    connection: duckdb.DuckDBPyConnection,
    allow: Iterable[str],
    deny: Iterable[str] | Mapping[str, str],
    min_entity: int,
    min_relation: int,
) -> dict[str, int]:
    """Turn ``raw(h, r, t, source)`` into ``triples(h, r, t, source)``, one row per fact, its sources joined by ``+``.

    :param deny: patterns, or patterns with reasons; what they drop is added to ``dropped``
    :param min_entity: least triples of an entity that is no item
    :param min_relation: least triples of a relation
    :return: the funnel, in order: facts read, what each step dropped, triples left
    """
    facts, loops = count(connection, "raw"), count(connection, "raw WHERE h = t")
    distinct = count(connection, "(SELECT DISTINCT h, r, t FROM raw WHERE h <> t)")
    run_sql(connection, "merge")
    merged = count(connection, "triples")
    found = dict(connection.execute("SELECT r, count(*) FROM triples GROUP BY r ORDER BY r").fetchall())
    out = refused(found, allow, deny)
    note_dropped(connection, out)
    connection.register("refused", out)
    connection.execute("DELETE FROM triples WHERE r IN (SELECT relation FROM refused)")
    connection.unregister("refused")
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
