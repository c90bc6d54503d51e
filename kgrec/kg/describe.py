"""Looking into a knowledge graph: what it holds as a whole, which entity somebody means, and the facts of one entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
from rapidfuzz import fuzz, process, utils

from kgrec.data.io import read_parquet
from kgrec.data.schemas import ENTITIES, LINKS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.ids import normalise_entity
from kgrec.kg.sql import query_sql, run_sql

_LEAST_LIKE = 80


@dataclass(frozen=True)
class Entity:
    """A node of the graph."""

    entity_id: str
    #: None where the graph knows none; likewise below
    name: str | None
    description: str | None
    type: str | None
    #: triples with it as head, plus those with it as tail
    degree: int
    #: items of the catalogue that it is, mostly none or one
    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Facts of one entity under one relation and direction."""

    relation: str
    #: whether the entity is the head
    outgoing: bool
    #: number of facts
    total: int
    #: the other ends, the best-known first, perhaps not all
    others: tuple[Entity, ...]


@dataclass(frozen=True)
class GraphFacts:
    """What a graph holds, in rows as the SQL files ``describe_*.sql`` say."""

    folder: str
    totals: dict[str, Any]
    relations: list[dict[str, Any]]
    types: list[dict[str, Any]]
    histogram: list[dict[str, int]]
    #: the nodes with most triples
    hubs: list[Entity]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class GraphView:
    """A knowledge graph opened for looking; a context manager.

    :param folder: what the kg stage or an import wrote
    :param links: links.parquet, to know which entities are items; None takes the one in ``folder`` if there is one
    :raises DataError: if a table is missing or damaged
    """

    def __init__(self, folder: Path, links: Path | None = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError("no such folder", path=folder)
        inside = self.folder / "links.parquet"
        self.links = links or (inside if inside.exists() else None)
        self._connection = duckdb.connect()
        self._connection.execute("SET enable_progress_bar = false")
        tables = {
            "triples": read_parquet(self.folder / "triples.parquet", TRIPLES),
            "entities": read_parquet(self.folder / "entities.parquet", ENTITIES),
            "links": read_parquet(self.links, LINKS) if self.links else LINKS.empty_table(),
        }
        for name, table in tables.items():
            self._connection.register(name, table)
        run_sql(self._connection, "describe_nodes")

    def __enter__(self) -> GraphView:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def describe(self, hubs: int = 5) -> GraphFacts:
        """What the graph holds, with its ``hubs`` nodes of highest degree."""
        rows = {
            name: query_sql(self._connection, f"describe_{name}").to_pylist()
            for name in ("totals", "relations", "types", "histogram")
        }
        query = "SELECT id FROM nodes WHERE degree > 0 ORDER BY degree DESC, id LIMIT ?"
        best = [row[0] for row in self._connection.execute(query, [hubs]).fetchall()]
        return GraphFacts(
            str(self.folder),
            rows["totals"][0],
            rows["relations"],
            rows["types"],
            rows["histogram"],
            self._entities(best),
        )

    def find(self, text: str, most: int = 20) -> list[Entity]:
        """The entities ``text`` may mean: by entity id in any spelling, item id (``7`` or ``item:7``) or name, else by words
        or part of a name; capitals and accents make no difference. The best-known first.

        :raises DataError: if it means none, with the nearest names
        """
        text = text.strip()
        parameters = {"id": normalise_entity(text), "text": text, "most": most}
        found = query_sql(self._connection, "describe_find", **parameters)["id"].to_pylist() if text else []
        if found:
            return self._entities(found)
        query = "SELECT DISTINCT name FROM nodes WHERE name IS NOT NULL ORDER BY name"
        names = [row[0] for row in self._connection.execute(query).fetchall()]
        near = process.extract(
            text, names, scorer=_likeness, processor=utils.default_process, limit=3, score_cutoff=_LEAST_LIKE
        )
        hint = f"; did you mean {' or '.join(repr(name) for name, *_ in near)}?" if near else ""
        if not names:
            hint = "; it has no names at all, so give an entity id"
        raise DataError(f"has no entity, item or name {text!r}{hint}", path=self.folder)

    def facts(self, entity_id: str, most: int = 10) -> list[Facts]:
        """Facts of an entity by relation, those with it as head first; of each at most ``most`` other ends."""
        rows = query_sql(self._connection, "describe_facts", node=entity_id, most=most).to_pylist()
        others = self._entities([row["id"] for row in rows])
        groups: dict[tuple[bool, str, int], list[Entity]] = {}
        for row, other in zip(rows, others, strict=True):
            groups.setdefault((row["outgoing"], row["relation"], row["total"]), []).append(other)
        return [Facts(relation, outgoing, total, tuple(ends)) for (outgoing, relation, total), ends in groups.items()]

    def _entities(self, ids: Sequence[str]) -> list[Entity]:
        """Entities in the order of ``ids``."""
        query = "SELECT id, name, description, type, degree, items FROM nodes WHERE list_contains(?, id) ORDER BY id"
        rows = self._connection.execute(query, [list(ids)]).fetchall()
        found = {}
        for one, name, description, kind, degree, items in rows:
            found[one] = Entity(one, name, description, kind, degree, tuple(items))
        return [found[one] for one in ids]


def _likeness(text: str, name: str, **ignored: Any) -> float:
    """How much a text looks like a name or, from 0 to 100, a part of one."""
    return fuzz.ratio(text, name) if len(name) < len(text) else fuzz.partial_ratio(text, name)
