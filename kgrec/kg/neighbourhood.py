"""The neighbourhood of the items in a dump: facts with a linked entity at either end, and the facts behind mediators.

Freebase writes a fact of more than two parties (who plays whom in which film) as a nameless mediator, or CVT, node with
one edge per party. ``film -starring-> mediator -actor-> person`` becomes one relation with two dots where the mediator
was: ``film.film.starring..film.performance.actor``.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from kgrec.kg.sql import count, run_sql
from kgrec.kg.vocabulary import NAMES


def gather_neighbourhood(
    connection: duckdb.DuckDBPyConnection, hops: int, hub_degree: int, named_share: float | None
) -> dict[str, Any]:
    """Fill ``near`` and ``star(s, p, o, copies)``, ``mediators(node)`` and ``expanded(node)`` from the store of a dump.

    Nodes are codes. Reads the views of ``kgrec.kg.store``, ``refused_predicates(p)`` and ``seeds(node)``.

    :param hub_degree: nodes with more facts than this are not expanded in later hops
    :param named_share: see ``mediators.sql``; None to treat no node as a mediator
    """
    run = connection.execute
    connection.register("naming", pa.table({"p": NAMES}))
    run("CREATE VIEW stated_facts AS SELECT * FROM facts WHERE p NOT IN (SELECT p FROM refused_predicates)")
    run("CREATE TABLE expanded AS SELECT node FROM seeds ORDER BY node")
    run("CREATE TABLE frontier AS SELECT node FROM expanded ORDER BY node")
    run("CREATE TABLE all_near(s BIGINT, p VARCHAR, o BIGINT, copies BIGINT)")
    run("CREATE TABLE all_mediators(node BIGINT)")
    run("CREATE TABLE all_star(s BIGINT, p VARCHAR, o BIGINT, copies BIGINT)")
    hubs = 0
    for hop in range(hops):
        if hop:
            hubs += _next_frontier(connection, hub_degree)
        run_sql(connection, "near")
        if named_share is None:
            run("CREATE OR REPLACE TABLE mediators(node BIGINT)")
        else:
            run_sql(connection, "mediators", named_share=named_share)
        run_sql(connection, "star")
        for table in ("near", "mediators", "star"):
            run(f"INSERT INTO all_{table} SELECT * FROM {table} EXCEPT SELECT * FROM all_{table} ORDER BY ALL")
    for table in ("near", "mediators", "star"):
        run(f"DROP TABLE {table}")
        run(f"ALTER TABLE all_{table} RENAME TO {table}")
    both = "SELECT * FROM near UNION SELECT * FROM star"
    found = "seeds WHERE node IN (SELECT s FROM near UNION SELECT o FROM near)"
    return {
        "facts_near": count(connection, "near"),
        "repeats": int(run(f"SELECT coalesce(sum(copies - 1), 0) FROM ({both})").fetchall()[0][0]),
        "mediators": count(connection, "mediators"),
        "mediator_facts": count(connection, "star"),
        "entities_expanded": count(connection, "expanded"),
        "hubs_not_expanded": hubs,
        "items_found": count(connection, found),
    }


def _next_frontier(connection: duckdb.DuckDBPyConnection, hub_degree: int) -> int:
    """Move ``frontier`` to the entities reached and not yet expanded; returns how many were too big to expand."""
    run_sql(connection, "reached")
    hubs = count(connection, f"reached WHERE degree > {hub_degree}")
    connection.execute(
        "CREATE OR REPLACE TABLE frontier AS SELECT node FROM reached WHERE degree <= ? ORDER BY node", [hub_degree]
    )
    connection.execute("INSERT INTO expanded SELECT node FROM frontier ORDER BY node")
    return hubs
