"""The quality of a knowledge graph, relation by relation: how big, how sharp, how far-reaching, how redundant, how honest.

``functionality`` is the number of distinct heads over the number of facts, ``inverse_functionality`` the same of tails: 1
where every head has one tail, near 0 where heads have many (Suchanek, Abiteboul and Senellart, PARIS, PVLDB 5(3), 2011,
where it is the harmonic mean of the heads' own; also what AMIE goes by: Galárraga et al., WWW 2013). A relation is a
*near-duplicate* of another that states most of its pairs, an *inverse* of one that states them turned around. It *reaches*
the items that have it, and *joins* those that share its other end with a second item, which is what a recommender can
pass along. A *hub* is an entity beside a large share of the items; an item that facts join to no other, or over hubs only,
is *isolated*, as is an entity without a fact.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.database import database_on_disk
from kgrec.data.io import atomic_file, read_parquet, write_json, write_parquet
from kgrec.data.schemas import RELATIONS
from kgrec.kg.graph_tables import open_graph
from kgrec.kg.leaks import find_leaks
from kgrec.kg.quality_plots import plot_relations
from kgrec.kg.quality_tables import DROPPED, HUBS, ISOLATED, QUALITY
from kgrec.kg.sql import count, query_sql, run_sql
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)


class QualitySettings(Settings):
    """From where on a relation or an entity is worth a remark. Nothing here changes the graph."""

    duplicate_share: float = Field(0.9, gt=0, le=1)
    """A relation of whose pairs at least this share is stated by another one is a near-duplicate."""

    inverse_share: float = Field(0.5, gt=0, le=1)
    """A relation of whose pairs at least this share is stated turned around by another one, or by itself, has an inverse."""

    constant_share: float = Field(0.9, gt=0, le=1)
    """A relation that has the same other end for at least this share of its items says little."""

    hub_share: float = Field(0.05, gt=0, le=1)
    """An entity beside at least this share of the items is a hub."""

    min_triples: int = Field(10, ge=1)
    """A smaller relation is called no duplicate, inverse or constant."""

    memory_gb: float = Field(1.0, gt=0)
    """Memory DuckDB may use before it works on disk; changes no output."""


def relation_report(
    graph: Path, items: Path, links: Path, out: Path, settings: QualitySettings, dropped: pa.Table | None = None
) -> dict[str, Any]:
    """Write the report of a graph into ``out``.

    ``relations.parquet`` (``QUALITY``) and the same as ``relations.csv``, biggest relation first in the latter;
    ``hubs.parquet`` (``HUBS``); ``isolated.parquet`` (``ISOLATED``); ``dropped.parquet`` (``DROPPED``);
    ``quality.json``, what this returns; ``plots/relations.png``.

    :param graph: folder of ``triples.parquet``, ``entities.parquet`` and ``relations.parquet``
    :param items: items.parquet of the interactions stage
    :param links: links.parquet of the link stage
    :param dropped: ``DROPPED``, what the build left out by name
    :return: how many relations, facts, entities and items deserve a remark, and the spread of the nodes' degrees
    :raises DataError: if a table is missing, damaged, lacks a column, or holds no triple
    """
    graph, out = Path(graph), Path(out)
    sources = read_parquet(graph / "relations.parquet", RELATIONS)
    out.mkdir(parents=True, exist_ok=True)
    with (
        database_on_disk(out, settings.memory_gb) as (connection, _),
        item_progress("relation report", total=5, unit="tables") as progress,
    ):
        open_graph(connection, graph, items, links)
        catalogue = count(connection, "items")
        progress.advance()
        run_sql(connection, "quality_ends")
        run_sql(connection, "quality_degrees")
        progress.advance()
        table = _relations(connection, catalogue, sources)
        progress.advance()
        least = max(2.0, settings.hub_share * catalogue)
        hubs = query_sql(connection, "quality_hubs", least=least).cast(HUBS)
        isolated = query_sql(connection, "quality_isolated", least=least).cast(ISOLATED)
        progress.advance()
        summary = _summary(connection, table, hubs, isolated, settings)
    dropped = (dropped if dropped is not None else DROPPED.empty_table()).cast(DROPPED)
    write_parquet(table, out / "relations.parquet")
    write_parquet(hubs, out / "hubs.parquet")
    write_parquet(isolated, out / "isolated.parquet")
    write_parquet(dropped, out / "dropped.parquet", sort_by=["relation", "pattern"])
    rows = sorted(table.to_pylist(), key=lambda row: (-row["triples"], row["relation"]))
    _write_csv(rows, out / "relations.csv")
    write_json(summary, out / "quality.json")
    plot_relations(rows, out / "plots" / "relations.png")
    log.info(
        "wrote relation report", relations=table.num_rows, suspected=summary["relations_suspected"], hubs=hubs.num_rows
    )
    return summary


def _relations(connection: duckdb.DuckDBPyConnection, catalogue: int, sources: pa.Table) -> pa.Table:
    """``QUALITY`` of the open graph."""
    reach = {row["relation"]: row for row in query_sql(connection, "quality_items").to_pylist()}
    run_sql(connection, "quality_pairs")
    doubles, inverses = _partners(connection, inverse=False), _partners(connection, inverse=True)
    examples = dict(zip(*query_sql(connection, "quality_examples").to_pydict().values(), strict=True))
    leaks: dict[str, list[dict[str, Any]]] = {}
    for row in find_leaks(connection).to_pylist():
        leaks.setdefault(row["relation"], []).append(row)
    said = dict(zip(sources["relation"].to_pylist(), sources["source"].to_pylist(), strict=True))
    rows = []
    for row in query_sql(connection, "quality_counts").to_pylist():
        name, size = row["relation"], row["triples"]
        seen = reach.get(name, {"items": 0, "items_joined": 0, "items_of_top": 0})
        double, inverse = doubles.get(name, (None, 0)), inverses.get(name, (None, 0))
        suspected = leaks.get(name, [])
        rows.append(
            row
            | {
                "source": said.get(name),
                "items": seen["items"],
                "item_share": seen["items"] / max(1, catalogue),
                "joined_share": seen["items_joined"] / max(1, catalogue),
                "top_share": seen["items_of_top"] / max(1, seen["items"]),
                "double": double[0],
                "double_share": double[1] / size,
                "inverse": inverse[0],
                "inverse_share": inverse[1] / size,
                "leaking": sum(one["leaking"] for one in suspected),
                "leak": "; ".join(dict.fromkeys(one["reason"] for one in suspected)) or None,
                "example": examples.get(name),
            }
        )
    return pa.Table.from_pylist(rows, schema=QUALITY)


def _partners(connection: duckdb.DuckDBPyConnection, inverse: bool) -> dict[str, tuple[str, int]]:
    """For each relation the one that states most of its pairs, and how many."""
    query = "SELECT r1, r2, pairs FROM shared WHERE inverse = ? ORDER BY r1, pairs, r2 DESC"
    return {r1: (r2, pairs) for r1, r2, pairs in connection.execute(query, [inverse]).fetchall()}


def _summary(
    connection: duckdb.DuckDBPyConnection,
    table: pa.Table,
    hubs: pa.Table,
    isolated: pa.Table,
    settings: QualitySettings,
) -> dict[str, Any]:
    rows = table.to_pylist()
    big = [row for row in rows if row["triples"] >= settings.min_triples]
    kinds = Counter(
        ("item" if item is not None else "entity", kind)
        for item, kind in zip(isolated["item_id"].to_pylist(), isolated["kind"].to_pylist(), strict=True)
    )
    spread = "SELECT max(degree), median(degree), quantile_disc(degree, 0.99) FROM degrees"
    most, median, p99 = connection.execute(spread).fetchall()[0]
    return {
        "relations": len(rows),
        "relations_suspected": sum(row["leak"] is not None for row in rows),
        "relations_stated_twice": sum(row["double_share"] >= settings.duplicate_share for row in big),
        "relations_with_inverse": sum(row["inverse_share"] >= settings.inverse_share for row in big),
        "relations_constant": sum(bool(row["items"]) and row["top_share"] >= settings.constant_share for row in big),
        "triples": sum(row["triples"] for row in rows),
        "triples_suspected": sum(row["leaking"] for row in rows),
        "hubs": hubs.num_rows,
        "entities_without_fact": kinds["entity", "no fact"],
        "entities_of_one_fact": count(connection, "degrees WHERE degree = 1 AND node NOT IN (SELECT node FROM items)"),
        "items_without_fact": kinds["item", "no fact"],
        "items_without_company": kinds["item", "no other item"],
        "items_over_hubs_only": kinds["item", "hubs only"],
        "degree": {"median": median, "p99": p99, "max": most},
    }


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """The table for ``dvc plots``; shares with six digits."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, QUALITY.names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
