"""Subjects are the items of the catalogue and the entities of the graph: all that a picture or a text is wanted for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from kgrec.data import schemas
from kgrec.data.database import database_on_disk, quoted, statement
from kgrec.data.io import check_parquet
from kgrec.media.sources import Subject

_BATCH = 16_384


@dataclass(frozen=True)
class Catalogue:
    """The tables that say what there is.

    :param items: items.parquet
    :param links: links.parquet; an entity linked to an item *is* that item
    :param entities: entities.parquet
    :param keys: keys.parquet, what other catalogues call the entities; None without
    :raises DataError: if a table is missing or lacks a column
    """

    items: Path
    links: Path
    entities: Path
    keys: Path | None = None

    def __post_init__(self) -> None:
        wanted = {"items": schemas.ITEMS, "links": schemas.LINKS, "entities": schemas.ENTITIES, "keys": schemas.KEYS}
        for name, schema in wanted.items():
            if (path := getattr(self, name)) is not None:
                check_parquet(path, schema)

    def __len__(self) -> int:
        """Rows of items and entities; a few more than subjects, since linked entities are items."""
        return sum(pq.read_metadata(path).num_rows for path in (self.items, self.entities))

    def subjects(self, beside: Path, memory_gb: float = 0.5) -> Iterator[Subject]:
        """All subjects by key. Memory is that of one batch and of the database, which works beside ``beside``."""
        tables = {"items": self.items, "links": self.links, "entities": self.entities, "keys": self.keys}
        with database_on_disk(beside / "subjects", memory_gb) as (connection, _):
            for name, path in tables.items():
                if path is None:
                    connection.register(name, schemas.KEYS.empty_table())
                else:
                    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({quoted(path)})")
            for batch in connection.sql(statement("kgrec.media.sql", "subjects")).to_arrow_reader(_BATCH):
                for key, title, year, kinds, ids in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    yield Subject(key, title or "", year, dict(zip(kinds, ids, strict=True)))
