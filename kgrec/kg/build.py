"""A knowledge graph is a set of facts ``head -relation-> tail`` around the items, built here from all sources at once.

The way: facts near the linked entities out of the store of the RDF dumps (``store``, ``neighbourhood``), ready-made graphs
and item metadata (``readers``); awards by vote dropped, relations that state a fact from both ends merged, then relations and
entities filtered (``filters``). Joins run in DuckDB on disk, so memory stays bounded. Each step counts what it drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.database import database_on_disk, quoted
from kgrec.data.io import check_parquet, read_json, read_parquet, write_batches, write_parquet
from kgrec.data.schemas import ENTITIES, ITEMS, KEYS, LINKS, RELATIONS, TRIPLES
from kgrec.errors import ConfigError, DataError
from kgrec.kg.entities import entity_batches
from kgrec.kg.entity_keys import key_batches
from kgrec.kg.filters import drop_voted, dropped, filter_triples, note_dropped, refused
from kgrec.kg.ids import item_node
from kgrec.kg.literals import unescape
from kgrec.kg.neighbourhood import gather_neighbourhood
from kgrec.kg.quality import QualitySettings, relation_report
from kgrec.kg.readers import KGAT_MAPS, KGAT_TRIPLES, KgatFolder, Triple, metadata_triples, read_recbole_kg
from kgrec.kg.relations import INVERSES, VOTED_AWARDS, spell_out
from kgrec.kg.sql import count, query_sql, run_sql
from kgrec.kg.store import ExtractSettings, build_store, dump_files, open_store
from kgrec.kg.titles import same_title
from kgrec.kg.vocabulary import DESCRIPTIONS, NAMES
from kgrec.progress import get_logger

log = get_logger(__name__)

Source = Literal["rdf", "recbole", "kgat", "metadata"]
Column = Literal["director", "actor", "writer", "genre", "country", "language"]

#: how the files of a source are found in the kg folder; dumps come out of the store
PATTERNS: dict[Source, str] = {"recbole": "*.kg", "kgat": "kg_final.txt"}
_BATCH = 500_000
_FEW = 20


class KGSettings(Settings):
    """Which facts make the knowledge graph."""

    sources: Literal["auto"] | list[Source] = "auto"
    """Sources to combine; ``auto`` takes every one whose files are there. A source named here must be there."""

    hops: int = Field(1, ge=1, le=2)
    """Facts of the linked entities (1), and of the entities these lead to (2). Ready-made graphs are taken whole."""

    hub_degree: int = Field(1000, ge=1)
    """An entity with more facts than this (a country, a genre) is not expanded in the second hop."""

    relations_allow: tuple[str, ...] = ("*",)
    """Glob patterns of final relation names that may stay (``film.*``, ``metadata.genre``)."""

    relations_deny: tuple[str, ...] | dict[str, str] = ("default",)
    """Glob patterns of dump predicates and final relation names that are left out, or each with the reason; ``default``,
    ``bookkeeping`` and ``leaks`` stand for the groups of ``kgrec.kg.relations``, where every pattern has one."""

    min_entity: int = Field(1, ge=1)
    """Least number of triples of an entity; items always stay. Together with ``min_relation`` repeated until stable."""

    min_relation: int = Field(1, ge=1)
    """Least number of triples of a relation."""

    languages: tuple[str, ...] = ("en",)
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
    """Least number of facts that show two relations to be inverses; the pairs Freebase declares need none."""

    metadata: tuple[Column, ...] = ("director", "actor", "writer", "genre", "country", "language")
    """Columns of items.parquet that become triples ``metadata.<column>``."""

    join_metadata: bool = True
    """Let a metadata entity be the one other entity of that name beside the same item; see ``join.sql``."""

    drop_voted_awards: bool = True
    """Leave out awards by the audience's vote with every fact stated through them: they tell what people liked."""

    min_title_agreement: float = Field(0.3, ge=0, le=1)
    """Least share of linked items whose title looks like their entity's name; below it the links are refused."""

    memory_gb: float = Field(1.0, gt=0)
    """Memory DuckDB may use before it works on disk; changes no output."""

    quality: QualitySettings = QualitySettings()
    """What the relation report remarks on."""

    @property
    def denied(self) -> dict[str, str]:
        """Pattern -> reason of ``relations_deny``, groups spelt out."""
        return spell_out(self.relations_deny)


def build_kg(items: Path, links: Path, store: Path | None, kg: Path, out: Path, settings: KGSettings) -> dict[str, Any]:
    """Write ``triples.parquet``, ``entities.parquet``, ``keys.parquet`` and ``relations.parquet`` into ``out``, and the
    relation report.

    :param items: items.parquet of the interactions stage
    :param links: links.parquet of the link stage
    :param store: folder of the extract stage; None without a dump
    :param kg: folder of ready-made graphs: RecBole ``*.kg``, KGAT ``kg_final.txt`` (``.zip``) with maps
    :return: counts per source, the funnel, sizes, and coverage of the items
    :raises DataError: if a file is damaged or malformed, a source is missing, no linked entity occurs in the dumps,
        the entities' names do not fit the items' titles, or no triple is left
    :raises ConfigError: if a language was not extracted
    """
    items, links, kg, out = Path(items), Path(links), Path(kg), Path(out)
    check_parquet(items, ITEMS)
    check_parquet(links, LINKS)
    files = _sources(kg, store, settings)
    out.mkdir(parents=True, exist_ok=True)
    with database_on_disk(out, settings.memory_gb) as (connection, folder):
        if store is None or "rdf" not in files:
            store = folder / "store"
            build_store([], store, ExtractSettings())
        open_store(connection, store)
        _register_items(connection, items, links)
        counts: dict[str, Any] = {"sources": {}, "files_ignored": _ignored(kg, files)}
        near = _gather(connection, store, settings)
        _read_graphs(connection, files, counts)
        _name_nodes(connection)
        if "rdf" in files:
            _check_found(connection, store, near)
            counts["sources"]["rdf"] = near | _title_agreement(connection, store, settings.min_title_agreement)
        counts["voted"] = drop_voted(connection, VOTED_AWARDS if settings.drop_voted_awards else {})
        pairs = _merge_directions(connection, settings)
        if "metadata" in files:
            _read_metadata(connection, read_parquet(items, ITEMS), settings, counts)
        counts["funnel"] = filter_triples(
            connection, settings.relations_allow, settings.denied, settings.min_entity, settings.min_relation
        )
        if not counts["funnel"]["facts"]:
            wanted = ", ".join(PATTERNS.values())
            raise DataError(
                f"gives no fact; put a knowledge graph there (an RDF dump *.gz, {wanted}), or name columns in kg.metadata",
                path=kg,
            )
        if not counts["funnel"]["triples"]:
            raise DataError(
                f"no triple is left of them; loosen the filters of kg (funnel: {counts['funnel']})", path=kg
            )
        counts |= _write(connection, out, settings) | {"inverses_detected": pairs}
        left_out = dropped(connection)
    counts["quality"] = relation_report(out, items, links, out / "quality", settings.quality, left_out)
    log.info("built knowledge graph", **{name: counts[name] for name in ("triples", "relations", "entities")})
    return counts


def _sources(kg: Path, store: Path | None, settings: KGSettings) -> dict[Source, list[Path]]:
    """Files of each source to read; metadata and the store have none here."""
    if not kg.is_dir():
        raise DataError("no such folder; run the fetch stage first", path=kg)
    found: dict[Source, list[Path]] = {
        "recbole": sorted(kg.rglob(PATTERNS["recbole"])),
        # of a plain and a packed file side by side the first
        "kgat": sorted({path.parent: path for name in reversed(KGAT_TRIPLES) for path in kg.rglob(name)}.values()),
    }
    manifest: dict[str, Any] = (
        read_json(Path(store) / "manifest.json") if store is not None else {"counts": {"lines": 0}}
    )
    if manifest["counts"]["lines"]:
        found["rdf"] = [Path(store)] if store else []
        missing = set(settings.languages) - set(manifest["settings"]["languages"])
        if missing:
            raise ConfigError(
                f"kg.languages: {', '.join(sorted(missing))} was not extracted; add it to extract.languages"
            )
    if settings.sources == "auto":
        return {name: files for name, files in found.items() if files} | {"metadata": []}
    for name in settings.sources:
        if name != "metadata" and not found.get(name):
            wanted = PATTERNS.get(name, "RDF dump")
            raise DataError(f"has no {wanted} for kg.sources {name!r}; add it, or take {name!r} out", path=kg)
    return {name: found.get(name, []) for name in settings.sources}


def _ignored(kg: Path, files: Mapping[Source, list[Path]]) -> list[str]:
    """Files of the folder that no source reads, so that a report shows a graph under an unexpected name."""
    read = {path for found in files.values() for path in found}
    if "rdf" in files:
        read |= set(dump_files(kg))
    maps = {path.parent for path in files.get("kgat", [])}
    rest = [path for path in sorted(kg.rglob("[!.]*")) if path.is_file() and path not in read]
    return [
        str(path.relative_to(kg))
        for path in rest
        if path.parent not in maps or path.name not in (*KGAT_MAPS, *KGAT_TRIPLES)
    ]


def _register_items(connection: duckdb.DuckDBPyConnection, items: Path, links: Path) -> None:
    """Tables every source works on: ``items(node, item_id, title)``, and empty ``raw`` and ``given``."""
    connection.execute(
        "CREATE TABLE items AS SELECT coalesce(entity_id, ? || item_id) AS node, item_id, title "
        f"FROM read_parquet({quoted(items)}) "
        f"LEFT JOIN (SELECT item_id, entity_id FROM read_parquet({quoted(links)})) USING (item_id) ORDER BY node",
        [item_node("")],
    )
    connection.execute("CREATE TABLE raw(h VARCHAR, r VARCHAR, t VARCHAR, source VARCHAR)")
    connection.execute("CREATE TABLE given(node VARCHAR, name VARCHAR, type VARCHAR)")


def _nodes(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Node of each item."""
    return dict(connection.execute("SELECT item_id, node FROM items ORDER BY item_id").fetchall())


def _gather(connection: duckdb.DuckDBPyConnection, store: Path, settings: KGSettings) -> dict[str, Any]:
    """Fill ``near``, ``star``, ``mediators`` and ``expanded`` around the linked items, with ids for codes."""
    stated = read_json(store / "manifest.json")["facts_by_predicate"]
    out = refused(stated, ("*",), settings.denied)
    note_dropped(connection, out)
    connection.register("refused", out)
    connection.execute("CREATE TABLE refused_predicates AS SELECT relation AS p FROM refused ORDER BY p")
    connection.unregister("refused")
    connection.execute(
        "CREATE TABLE seeds AS SELECT DISTINCT code(node) AS node FROM items WHERE NOT starts_with(node, 'item:') ORDER BY 1"
    )
    named_share = settings.mediator_named_share if settings.collapse_mediators else None
    counts = gather_neighbourhood(connection, settings.hops, settings.hub_degree, named_share)
    run_sql(connection, "codes")
    for table in ("near", "star"):
        connection.execute(
            f"CREATE TABLE named AS SELECT a.node AS s, p, b.node AS o, copies FROM {table} "
            "JOIN ids a ON s = a.code JOIN ids b ON o = b.code ORDER BY ALL"
        )
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE named RENAME TO {table}")
    for table in ("mediators", "expanded"):
        connection.execute(
            f"CREATE TABLE named AS SELECT ids.node FROM {table} t JOIN ids ON t.node = code ORDER BY ALL"
        )
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE named RENAME TO {table}")
    connection.execute("DROP TABLE ids")
    return {"facts_refused": sum(out["facts"].to_pylist()), **counts}


def _name_nodes(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``labels(s, kind, o)`` and ``types(s, o)`` of the nodes met so far, with ids for codes."""
    for kind, predicates in (("name", NAMES), ("description", DESCRIPTIONS)):
        connection.register(f"{kind}_predicates", pa.table({"p": predicates}))
    run_sql(connection, "known_nodes")
    run_sql(connection, "labels")
    run_sql(connection, "kinds_here")
    connection.execute("DROP VIEW types")
    connection.execute("ALTER TABLE types_here RENAME TO types")


def _check_found(connection: duckdb.DuckDBPyConnection, store: Path, near: Mapping[str, Any]) -> None:
    if not near["items_found"]:
        example = connection.execute("SELECT min(node) FROM items").fetchall()[0][0]
        raise DataError(
            f"holds no fact of any item's entity ({example!r} for one); do links and dump use the same ids?", path=store
        )


def _title_agreement(connection: duckdb.DuckDBPyConnection, path: Path, least: float) -> dict[str, int]:
    """Refuse links that join items to entities of another name: the sign of two catalogues numbered alike."""
    sample = "SELECT node, title FROM items WHERE title <> '' ORDER BY hash(node), node LIMIT 10000"
    query = f"SELECT node, title, o FROM ({sample}) JOIN labels ON s = node WHERE kind = 'name' ORDER BY ALL"
    verdicts: dict[str, bool] = {}
    wrong: dict[str, str] = {}
    for node, title, literal in connection.execute(query).fetchall():
        verdicts[node] = verdicts.get(node, False) or same_title(title, unescape(literal))
        wrong[node] = f"{title!r} is {unescape(literal)!r}"
    agreeing = sum(verdicts.values())
    if len(verdicts) >= _FEW and agreeing < least * len(verdicts):
        examples = [wrong[node] for node, right in verdicts.items() if not right][:3]
        raise DataError(
            f"names only {agreeing} of {len(verdicts)} linked entities like the item's title ({'; '.join(examples)}); "
            "the link file seems to number other items (kg.min_title_agreement)",
            path=path,
        )
    return {"titles_compared": len(verdicts), "titles_agreeing": agreeing}


def _read_graphs(
    connection: duckdb.DuckDBPyConnection, files: Mapping[Source, list[Path]], counts: dict[str, Any]
) -> None:
    """Append ready-made graphs to ``raw``, and the names KGAT's maps give to ``given``."""
    for path in files.get("recbole", []):
        rows = _insert(connection, read_recbole_kg(path), "recbole")
        found = count(connection, "items WHERE node IN (SELECT h FROM raw UNION SELECT t FROM raw)")
        if not found:
            raise DataError(
                "holds no triple of any item's entity; do the links and this file use the same ids?", path=path
            )
        counts["sources"].setdefault("recbole", {})[path.name] = {"triples": rows, "items": found}
    for path in files.get("kgat", []):
        graph = KgatFolder(path, _nodes(connection))
        if not graph.items:
            raise DataError("has no item of the catalogue in the item map beside it", path=path)
        rows = _insert(connection, graph.triples(), "kgat")
        _give(connection, [(node, name, None) for node, name in graph.names.items()])
        counts["sources"].setdefault("kgat", {})[path.parent.name] = {"triples": rows, "items": graph.items}


def _merge_directions(connection: duckdb.DuckDBPyConnection, settings: KGSettings) -> list[str]:
    """Find the ``mirrors``, collapse mediators, and complete ``raw``; returns the inverse pairs found in the data."""
    run_sql(connection, "stated")
    run_sql(connection, "mirrors", share=settings.inverse_share, support=settings.inverse_support)
    known = {"r1": [min(pair) for pair in INVERSES], "r2": [max(pair) for pair in INVERSES]}
    connection.register("known_mirrors", pa.table(known))
    run_sql(connection, "known")
    detected = connection.execute("SELECT r1, r2 FROM mirrors WHERE pairs IS NOT NULL ORDER BY r1, r2").fetchall()
    run_sql(connection, "collapse")
    run_sql(connection, "direct")
    if not settings.merge_inverses:
        connection.execute("DELETE FROM mirrors")
        return []
    return [f"{left} = {right}" for left, right in detected]


def _read_metadata(
    connection: duckdb.DuckDBPyConnection, catalogue: pa.Table, settings: KGSettings, counts: dict[str, Any]
) -> None:
    """Append the items' metadata to ``raw``; its entities become those of the other sources where they are the same."""
    triples = list(metadata_triples(catalogue, settings.metadata, _nodes(connection)))
    _insert(connection, triples, "metadata")
    made = {tail: tail.split(":", 1) for _, _, tail in triples}
    _give(connection, [(node, name, kind) for node, (kind, name) in made.items()])
    joined = 0
    if settings.join_metadata:
        run_sql(connection, "join")
        joined = count(connection, "joined")
        connection.execute("UPDATE raw SET t = entity FROM joined WHERE t = node AND source = 'metadata'")
    counts["sources"]["metadata"] = {"triples": len(triples), "entities": len(made), "entities_joined": joined}


def _insert(connection: duckdb.DuckDBPyConnection, triples: Iterable[Triple], source: Source) -> int:
    """Append triples to ``raw`` batch by batch; returns their number."""
    stream, total = iter(triples), 0
    while batch := list(islice(stream, _BATCH)):
        heads, relations, tails = zip(*batch, strict=True)
        connection.register("batch", pa.table({"h": heads, "r": relations, "t": tails}))
        connection.execute("INSERT INTO raw SELECT h, r, t, ? FROM batch", [source])
        connection.unregister("batch")
        total += len(batch)
    return total


def _give(connection: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, str, str | None]]) -> None:
    """Append to ``given`` the ``(node, name, type)`` another source than a dump states."""
    text = pa.schema([("node", pa.string()), ("name", pa.string()), ("type", pa.string())])
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    connection.register("batch", pa.Table.from_arrays([pa.array(c, pa.string()) for c in columns], schema=text))
    connection.execute("INSERT INTO given SELECT node, name, type FROM batch")
    connection.unregister("batch")


def _write(connection: duckdb.DuckDBPyConnection, out: Path, settings: KGSettings) -> dict[str, Any]:
    """Write the tables; returns their sizes and the coverage of the items."""
    relations = query_sql(connection, "relations")
    write_parquet(relations.cast(RELATIONS), out / "relations.parquet")
    triples = connection.sql("SELECT h AS head, r AS relation, t AS tail FROM triples ORDER BY ALL")
    rows = write_batches(triples.to_arrow_reader(1 << 17), TRIPLES, out / "triples.parquet")
    entities = write_batches(entity_batches(connection, settings.languages), ENTITIES, out / "entities.parquet")
    keys = write_batches(key_batches(connection), KEYS, out / "keys.parquet")
    described = f"read_parquet({quoted(out / 'entities.parquet')})"
    linked = "NOT starts_with(node, 'item:')"
    inside = "node IN (SELECT h FROM triples UNION SELECT t FROM triples)"
    return {
        "triples": rows,
        "relations": relations.num_rows,
        "entities": entities,
        "keys": keys,
        "entities_named": count(connection, f"{described} WHERE name IS NOT NULL"),
        "entities_described": count(connection, f"{described} WHERE description IS NOT NULL"),
        "items": count(connection, "items"),
        "items_linked": count(connection, f"items WHERE {linked}"),
        "items_with_triples": count(connection, f"items WHERE {inside}"),
        "linked_items_with_triples": count(connection, f"items WHERE {linked} AND {inside}"),
    }
