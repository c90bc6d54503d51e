"""Leakage is a fact that came from what users did or chose: the answer, handed to a model among its evidence.

Three signs are looked for: a relation of a known name (``relations.LEAKS``); an award by the audience's vote, known by
its name, behind a relation that states juries' awards too (``relations.VOTED_AWARDS``); and a relation between items
whose heads mostly have the same number of tails, as a computed list of neighbours has. The third has no list of names
to go by and is a suspicion, not a finding. None of them looks at interactions: those decide what a test measures.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from kgrec.kg.filters import first_match, name_voted
from kgrec.kg.graph_tables import open_graph
from kgrec.kg.relations import LEAKS, VOTED_AWARDS
from kgrec.kg.sql import query_sql

#: ``leaking`` of ``triples`` facts of ``relation`` leak, known by ``pattern`` ("" for a suspicion), for ``reason``
SUSPECTS = pa.schema(
    [
        ("relation", pa.string()), ("triples", pa.int64()), ("leaking", pa.int64()),
        ("pattern", pa.string()), ("reason", pa.string()),
    ]
)  # fmt: skip

#: least number of heads that show a computed list
_SUPPORT = 20


def find_leaks(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Suspected leaks of a graph, as ``SUSPECTS``, sorted by relation and pattern.

    Reads ``facts(h, r, t)``, ``named(node, name)`` and ``items(node)``; without items no computed list is found.
    """
    sizes = dict(connection.execute("SELECT r::VARCHAR, count(*) FROM facts GROUP BY r ORDER BY r").fetchall())
    rows = []
    for relation, size in sizes.items():
        pattern = first_match(relation, LEAKS)
        if pattern is not None:
            rows.append((relation, size, size, pattern, LEAKS[pattern]))
    known = {relation for relation, *_ in rows}
    connection.execute("CREATE OR REPLACE TEMP VIEW spoken AS SELECT node, name FROM named WHERE name IS NOT NULL")
    name_voted(connection, VOTED_AWARDS)
    for row in query_sql(connection, "quality_through").to_pylist():
        if row["relation"] not in known:
            unknown = f"; {row['unnamed']} more cannot be judged for want of a name" if row["unnamed"] else ""
            rows.append(
                (row["relation"], sizes[row["relation"]], row["leaking"], row["pattern"], row["reason"] + unknown)
            )
    for row in query_sql(connection, "quality_lists", support=_SUPPORT).to_pylist():
        if row["relation"] not in known:
            size = sizes[row["relation"]]
            reason = (
                f"leads from items to items, mostly {row['tails']} from each: looks like a computed list of neighbours"
            )
            rows.append((row["relation"], size, size, "", reason))
    rows.sort(key=lambda row: (row[0], row[3]))
    return pa.Table.from_pylist([dict(zip(SUSPECTS.names, row, strict=True)) for row in rows], schema=SUSPECTS)


def leaks_of_graph(graph: Path, links: Path | None = None) -> pa.Table:
    """Suspected leaks, as ``SUSPECTS``, of a written graph; parameters and errors as of ``graph_tables.open_graph``."""
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        open_graph(connection, graph, links=links)
        return find_leaks(connection)
