"""A graph, for carrying it between formats: triples, what is known of the entities, relations, and links of items.

In memory, as sorted Arrow tables; on disk, the Parquet files the kg stage writes, with ``links.parquet`` beside them. Every
format reads into a :class:`GraphBuilder` and writes from a :class:`Graph` that :func:`check_graph` has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ENTITIES, LINKS, RELATIONS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.formats.spelling import relation_name
from kgrec.kg.ids import item_node, normalise_entity
from kgrec.kg.sql import query_sql
from kgrec.progress import item_progress

Triple = tuple[str, str, str]

_BATCH = 200_000


@dataclass(frozen=True)
class Graph:
    """Tables in the schemas of ``kgrec.data.schemas``."""

    #: TRIPLES, distinct, sorted
    triples: pa.Table
    #: ENTITIES, one row per node of ``triples`` and ``links`` and possibly more, sorted by id
    entities: pa.Table
    #: RELATIONS, sorted by name
    relations: pa.Table
    #: LINKS, sorted by item; an item without an entity of its own is not in it
    links: pa.Table

    def nodes(self) -> list[tuple[str, str]]:
        """``(item, the entity it is in the triples)``, sorted by item: linked ones, and others under their own node."""
        given = dict(zip(self.links["item_id"].to_pylist(), self.links["entity_id"].to_pylist(), strict=True))
        own = self.entities.filter(pc.starts_with(self.entities["entity_id"], item_node("")))["entity_id"].to_pylist()
        for node in own:
            if node != item_node(""):
                given.setdefault(node.removeprefix(item_node("")), node)
        return sorted(given.items())


class GraphBuilder:
    """Takes what a reader finds, in any order and with repeats, and makes a :class:`Graph` of it.

    :param source: what the ``source`` of relations and the ``method`` of links will say
    :param languages: languages of names and descriptions, best first, for a format that has several
    """

    def __init__(self, source: str, languages: Sequence[str] = ("en",)) -> None:
        self.source, self.languages = source, tuple(languages)
        #: anything a reader wants reported
        self.counts: dict[str, int] = {}
        self._batches: list[pa.Table] = []
        self._entities: dict[str, dict[str, str | None]] = {}
        self._links: dict[str, str] = {}

    def add_triples(self, rows: Iterable[Triple]) -> None:
        """Take triples; entities are known by them alone."""
        stream = iter(rows)
        with item_progress("reading triples", None, "triples") as bar:
            while batch := list(islice(stream, _BATCH)):
                columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
                self._batches.append(pa.Table.from_arrays(columns, schema=TRIPLES))
                bar.advance(len(batch))

    def add_entity(self, entity: str, **known: str | None) -> None:
        """Take an entity with perhaps its ``name, description, type``; what is null or empty says nothing."""
        self._entities.setdefault(entity, {}).update({key: value for key, value in known.items() if value})

    def add_link(self, item: str, entity: str) -> bool:
        """Take a link. False if the item has another entity already; an item that is its own entity needs no link."""
        self.add_entity(entity)
        return entity == item_node(item) or self._links.setdefault(item, entity) == entity

    def graph(self) -> Graph:
        """All that was taken."""
        read = pa.concat_tables([TRIPLES.empty_table(), *self._batches])
        columns = ("name", "description", "type")
        known = [list(self._entities), *([row.get(name) for row in self._entities.values()] for name in columns)]
        links = sorted(self._links.items())
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.register("read", read)
            connection.execute(
                "CREATE TABLE triples AS SELECT DISTINCT head AS h, relation AS r, tail AS t, ? AS source FROM read",
                [self.source],
            )
            connection.register(
                "known", pa.Table.from_arrays([pa.array(c, pa.string()) for c in known], schema=ENTITIES)
            )
            triples = connection.sql("SELECT h AS head, r AS relation, t AS tail FROM triples ORDER BY ALL")
            graph = Graph(
                triples.to_arrow_table().cast(TRIPLES),
                query_sql(connection, "formats_entities").cast(ENTITIES),
                query_sql(connection, "relations").cast(RELATIONS),
                pa.table(
                    {
                        "item_id": [item for item, _ in links],
                        "entity_id": [entity for _, entity in links],
                        "method": [self.source] * len(links),
                        "score": [1.0] * len(links),
                    },
                    schema=LINKS,
                ),
            )
        self.counts |= {
            "triples_read": read.num_rows,
            "repeats": read.num_rows - graph.triples.num_rows,
            "triples": graph.triples.num_rows,
            "relations": graph.relations.num_rows,
            "entities": graph.entities.num_rows,
            "entities_named": graph.entities.num_rows - graph.entities["name"].null_count,
            "links": graph.links.num_rows,
        }
        return graph


def read_graph(folder: Path, links: Path | None = None) -> Graph:
    """The graph in a folder of the kg stage or of an import.

    :param links: links.parquet; None takes the one in ``folder``, if there is one
    :raises DataError: if a table is missing or damaged
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    if links is None and (folder / "links.parquet").exists():
        links = folder / "links.parquet"
    linked = read_parquet(links, LINKS).sort_by("item_id") if links else LINKS.empty_table()
    with duckdb.connect() as connection:
        connection.register("given", read_parquet(folder / "triples.parquet", TRIPLES))
        connection.register("known", read_parquet(folder / "entities.parquet", ENTITIES))
        connection.register("linked", linked)
        connection.execute(
            "CREATE VIEW triples AS SELECT head AS h, tail AS t FROM given UNION ALL SELECT entity_id, entity_id FROM linked"
        )
        triples = connection.sql("SELECT DISTINCT head, relation, tail FROM given ORDER BY ALL").to_arrow_table()
        entities = query_sql(connection, "formats_entities").cast(ENTITIES)
    relations = read_parquet(folder / "relations.parquet", RELATIONS)
    return Graph(triples.cast(TRIPLES), entities, relations.sort_by("relation"), linked)


def write_graph(graph: Graph, out: Path) -> None:
    """Write ``triples``, ``entities``, ``relations`` and, where there are links, ``links.parquet`` into ``out``."""
    for name in ("triples", "entities", "relations", "links"):
        table = getattr(graph, name)
        if name != "links" or table.num_rows:
            write_parquet(table, Path(out) / f"{name}.parquet")
        else:
            (Path(out) / "links.parquet").unlink(missing_ok=True)


def check_graph(graph: Graph, place: Path, refuse: Callable[[str, str], str | None] | None = None) -> None:
    """Refuse a graph that would not come back as it is.

    :param place: what an error names
    :param refuse: ``refuse(what, text)`` says why a format cannot hold an ``entity``, ``relation``, ``item`` or ``text``
    :raises DataError: with the text at fault and why
    """
    for what, text in _texts(graph):
        why = _unfit(what, text) or (refuse and refuse(what, text))
        if why:
            raise DataError(f"{what} {_short(text)} {why}", path=place)
    for what, column in (("entity", graph.entities["entity_id"]), ("item", graph.links["item_id"])):
        twice = pc.value_counts(column).filter(pc.greater(pc.value_counts(column).field("counts"), 1))
        if len(twice):
            raise DataError(f"{what} {_short(twice[0]['values'].as_py())} is there twice", path=place)


def _texts(graph: Graph) -> Iterator[tuple[str, str]]:
    """``(what it is, text)`` of every distinct text in a graph."""
    for what, column in (
        ("entity", graph.entities["entity_id"]),
        ("relation", graph.triples["relation"]),
        ("item", graph.links["item_id"]),
        *(("text", graph.entities[name].drop_null()) for name in ("name", "description", "type")),
    ):
        for text in column.unique().to_pylist():
            yield what, text


def _unfit(what: str, text: str | None) -> str | None:
    """Why no format could hold a text, or import would spell it otherwise."""
    if not text:
        return "is empty; where nothing is known the table should hold null" if what == "text" else "is no id"
    if "\0" in text:
        return "holds a NUL character"
    if what in ("entity", "relation"):
        spelt = normalise_entity(text) if what == "entity" else relation_name(text)
        if spelt != text:
            return f"would come back as {_short(spelt)}; spell it so in the graph"
    return None


def _short(text: Any) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "…'"
