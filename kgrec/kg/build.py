"""A knowledge graph is a set of facts ``head -relation-> tail`` around the items: built here from all sources at once.

The way: facts near the linked entities out of an RDF dump (``rdf``, ``neighbourhood``), ready-made graphs and item
metadata (``readers``); relations that state a fact from both ends merged; relations and entities filtered. Joins run in
DuckDB on disk, so memory stays bounded. Each step counts what it drops: the funnel in the returned counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ENTITIES, ITEMS, LINKS, RELATIONS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.entities import entity_table
from kgrec.kg.filters import filter_triples
from kgrec.kg.ids import item_node
from kgrec.kg.neighbourhood import gather_neighbourhood
from kgrec.kg.rdf import Store, scan_dump, unescape
from kgrec.kg.readers import METADATA, KgatFolder, Triple, metadata_triples, read_recbole_kg
from kgrec.kg.relations import DENIED, INVERSES
from kgrec.kg.sql import count, run_sql
from kgrec.kg.titles import same_title, title_agreement
from kgrec.progress import get_logger

log = get_logger(__name__)

Source = Literal["rdf", "recbole", "kgat", "metadata"]
_BATCH = 500_000


class KGSettings(Settings):
    """Which facts make the knowledge graph."""

    sources: Literal["auto"] | list[Source] = "auto"
    """Sources to combine; ``auto`` takes every one whose files are there. A source named here must be there."""

    hops: int = Field(1, ge=1, le=2)
    """Facts of the linked entities (1), and of the entities these lead to (2). Of the RDF dump only."""

    hub_degree: int = Field(1000, ge=1)
    """An entity with more facts than this (a country, a genre) is not expanded in the second hop."""

    relations_allow: list[str] = ["*"]
    """Glob patterns of relations that may stay, on final names (``film.*``, ``metadata.genre``)."""

    relations_deny: list[str] = list(DENIED)
    """Glob patterns of relations that are left out, on dump predicates and on final names."""

    min_entity: int = Field(1, ge=1)
    """Least number of triples of an entity; items always stay. Together with ``min_relation`` repeated until stable."""

    min_relation: int = Field(1, ge=1)
    """Least number of triples of a relation."""

    languages: list[str] = ["en"]
    """Languages of names and descriptions, best first."""

    collapse_mediators: bool = True
    """Join the two halves of a fact across a mediator (CVT) node into one relation ``p1..p2``."""

    mediator_named_share: float = Field(0.05, ge=0, le=1)
    """A type whose nodes have a name in fewer than this share of cases is a mediator type."""

    merge_inverses: bool = True
    """Keep one direction of two relations that state each fact from both ends, the one starting at the item."""

    inverse_share: float = Field(0.5, gt=0, le=1)
    """Share of each relation's facts that must occur turned around in the other for the two to be inverses."""

    inverse_support: int = Field(10, ge=1)
    """Least number of facts that show two relations to be inverses; well-known pairs need none."""

    metadata: list[Literal["director", "actor", "writer", "genre", "country", "language"]] = list(METADATA)
    """Columns of items.parquet that become triples ``metadata.<column>``."""

    max_malformed: float = Field(0.01, ge=0, le=1)
    """Share of malformed dump lines above which the dump is refused."""

    min_title_agreement: float = Field(0.3, ge=0, le=1)
    """Least share of linked items whose title looks like their entity's name; below it the links are refused."""

    memory_gb: float = Field(4.0, gt=0)
    """Memory DuckDB may use before it works on disk; changes no output."""


def build_kg(items: Path, links: Path, kg: Path, out: Path, settings: KGSettings) -> dict[str, Any]:
    """Write ``triples.parquet``, ``entities.parquet`` and ``relations.parquet`` into ``out``.

    :param items: items.parquet
    :param links: links.parquet
    :param kg: folder of knowledge graph files: RDF dumps ``*.gz``, RecBole ``*.kg``, KGAT ``kg_final.txt`` with maps
    :return: counts per source, the funnel, and coverage of the items
    :raises DataError: if a file is damaged or malformed, a source is missing, no linked entity occurs in the dump, or the
        entities' names do not fit the items' titles
    """
    items, links, kg, out = Path(items), Path(links), Path(kg), Path(out)
    catalogue = read_parquet(items, ITEMS)
    linked = read_parquet(links, LINKS)
    entity_of = dict(zip(linked["item_id"].to_pylist(), linked["entity_id"].to_pylist(), strict=True))
    nodes = {item: entity_of.get(item, item_node(item)) for item in catalogue["item_id"].to_pylist()}
    files = _sources(kg, settings)
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.store.") as folder,
        duckdb.connect(str(Path(folder) / "kg.duckdb")) as connection,
    ):
        connection.execute("SET memory_limit = ?", [f"{settings.memory_gb}GB"])
        connection.execute("SET temp_directory = ?", [str(Path(folder) / "spill")])
        connection.execute("SET enable_progress_bar = false")
        return _build(connection, Path(folder), catalogue, nodes, files, out, settings)


def _sources(kg: Path, settings: KGSettings) -> dict[Source, list[Path]]:
    """Files of each source to read."""
    present: dict[Source, list[Path]] = {
        "rdf": sorted(kg.rglob("*.gz")),
        "recbole": sorted(kg.rglob("*.kg")),
        "kgat": sorted(kg.rglob("kg_final.txt")),
        "metadata": [],
    }
    if settings.sources == "auto":
        return {source: files for source, files in present.items() if files or source == "metadata"}
    for source in settings.sources:
        if source != "metadata" and not present[source]:
            pattern = {"rdf": "*.gz", "recbole": "*.kg", "kgat": "kg_final.txt"}[source]
            raise DataError(f"has no {pattern} for the source {source!r}; add it, or take it out of kg.sources", path=kg)
    return {source: present[source] for source in settings.sources}


def _build(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    catalogue: pa.Table,
    nodes: dict[str, str],
    files: dict[Source, list[Path]],
    out: Path,
    settings: KGSettings,
) -> dict[str, Any]:
    run = connection.execute
    items = pa.table(
        {"node": list(nodes.values()), "item_id": list(nodes), "title": catalogue["title"].combine_chunks()}
    )
    connection.register("items_table", items)
    run("CREATE TABLE items AS SELECT * FROM items_table ORDER BY node")
    run("CREATE TABLE raw(h VARCHAR, r VARCHAR, t VARCHAR, source VARCHAR)")
    run("CREATE TABLE given(node VARCHAR, name VARCHAR, type VARCHAR)")
    counts: dict[str, Any] = {"sources": {}}

    with Store(folder) as store:
        scans = [scan_dump(path, store, settings.relations_deny, settings.max_malformed) for path in files.get("rdf", [])]
    for name in ("facts", "types", "labels"):
        run(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{getattr(store, name)}')")
    named_share = settings.mediator_named_share if settings.collapse_mediators else None
    near = gather_neighbourhood(connection, settings.hops, settings.hub_degree, named_share)
    if scans:
        if not near["items_found"]:
            raise DataError(
                "holds no fact of any linked entity; do the links and the dump use the same ids? "
                f"(an entity of the links: {next(iter(nodes.values()), None)!r})",
                path=files["rdf"][0],
            )
        counts["sources"]["rdf"] = {**_total(scans), **near}
        _check_titles(connection, files["rdf"][0], settings, counts)

    for path in files.get("recbole", []):
        counts["sources"].setdefault("recbole", {})[path.name] = _insert(connection, read_recbole_kg(path), "recbole")
    for path in files.get("kgat", []):
        graph = KgatFolder(path, nodes)
        rows = _insert(connection, graph.triples(), "kgat")
        counts["sources"].setdefault("kgat", {})[path.parent.name] = {"triples": rows, "items": graph.items}
        _give(connection, [(node, name, None) for node, name in graph.names.items()])

    run_sql(connection, "stated")
    run_sql(connection, "mirrors", share=settings.inverse_share, support=settings.inverse_support)
    known = pa.table({"r1": [min(p) for p in INVERSES], "r2": [max(p) for p in INVERSES]})
    connection.register("known_mirrors", known)
    if not settings.merge_inverses:
        run("DELETE FROM mirrors")
    else:
        run_sql(connection, "known")
    run_sql(connection, "collapse")
    run_sql(connection, "direct")
    if "metadata" in files:
        triples = list(metadata_triples(catalogue, list(settings.metadata), nodes))
        counts["sources"]["metadata"] = {"triples": _insert(connection, triples, "metadata")}
        given = {tail: tuple(tail.split(":", 1)) for _, _, tail in triples}
        _give(connection, [(node, name, kind) for node, (kind, name) in given.items()])

    counts["funnel"] = filter_triples(
        connection, settings.relations_allow, settings.relations_deny, settings.min_entity, settings.min_relation
    )
    if not counts["funnel"]["triples"]:
        raise DataError(f"no triple is left; the funnel: {counts['funnel']}", path=out)
    return counts | _write(connection, out, settings)


def _write(connection: duckdb.DuckDBPyConnection, out: Path, settings: KGSettings) -> dict[str, Any]:
    """Write the three tables; returns their sizes and the coverage of the items."""
    triples = connection.sql("SELECT h AS head, r AS relation, t AS tail FROM triples ORDER BY ALL").to_arrow_table()
    relations = run_sql(connection, "relations").to_arrow_table()
    entities = entity_table(connection, settings.languages)
    write_parquet(triples.cast(TRIPLES), out / "triples.parquet")
    write_parquet(entities.cast(ENTITIES), out / "entities.parquet")
    write_parquet(relations.cast(RELATIONS), out / "relations.parquet")
    linked = "items WHERE node NOT LIKE 'item:%'"
    inside = "node IN (SELECT h FROM triples UNION SELECT t FROM triples)"
    merged = connection.execute("SELECT r1, r2 FROM mirrors ORDER BY ALL").fetchall()
    return {
        "triples": triples.num_rows,
        "relations": relations.num_rows,
        "entities": entities.num_rows,
        "entities_named": entities.num_rows - entities["name"].null_count,
        "entities_described": entities.num_rows - entities["description"].null_count,
        "items": count(connection, "items"),
        "items_linked": count(connection, linked),
        "items_with_triples": count(connection, f"items WHERE {inside}"),
        "linked_items_with_triples": count(connection, f"{linked} AND {inside}"),
        "inverse_pairs": [list(pair) for pair in merged],
    }


def _check_titles(connection: duckdb.DuckDBPyConnection, path: Path, settings: KGSettings, counts: dict[str, Any]) -> None:
    """Refuse links that join items to entities of another name: the sign of two catalogues numbered alike."""
    pairs = connection.execute(
        "SELECT title, o FROM items JOIN labels ON s = node WHERE kind = 'name' ORDER BY node, o"
    ).fetchall()
    best: dict[str, tuple[str, str]] = {}
    by_item: dict[str, list[str]] = {}
    for title, literal in pairs:
        by_item.setdefault(title or "", []).append(unescape(literal))
    for title, names in by_item.items():
        best[title] = (title, next((name for name in names if same_title(title, name)), names[0]))
    agreeing, compared = title_agreement(best.values())
    counts["titles_compared"], counts["titles_agreeing"] = compared, agreeing
    if compared >= 20 and agreeing / compared < settings.min_title_agreement:
        wrong = [pair for pair in best.values() if not same_title(*pair)][:3]
        raise DataError(
            f"names only {agreeing} of {compared} linked entities like the item's title ({wrong}); the link file seems to "
            "number other items (kg.min_title_agreement)",
            path=path,
        )


def _total(scans: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum of the counts of several dumps; the first malformed lines are those of all."""
    total: dict[str, Any] = {}
    for scan in scans:
        for name, value in scan.items():
            total[name] = total[name] + value if name in total else value
    return total


def _insert(connection: duckdb.DuckDBPyConnection, triples: Iterable[Triple], source: Source) -> int:
    """Append triples to ``raw`` batch by batch; returns their number."""
    stream, total = iter(triples), 0
    while batch := list(islice(stream, _BATCH)):
        heads, relations, tails = zip(*batch, strict=True)
        table = pa.table({"h": heads, "r": relations, "t": tails, "source": [source] * len(batch)})
        connection.register("batch", table)
        connection.execute("INSERT INTO raw SELECT h, r, t, source FROM batch")
        connection.unregister("batch")
        total += len(batch)
    return total


def _give(connection: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, str, str | None]]) -> None:
    """Append ``(node, name, type)`` rows to ``given``, what a source other than a dump says of an entity."""
    nodes, names, types = zip(*rows, strict=True)
    text = pa.string()
    connection.register("batch", pa.table({"a": pa.array(nodes, text), "b": pa.array(names, text), "c": pa.array(types, text)}))
    connection.execute("INSERT INTO given SELECT a, b, c FROM batch")
    connection.unregister("batch")
