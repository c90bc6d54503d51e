"""The vocabulary is where ids stop being strings: it numbers users, items, entities and relations, each from 0, and
travels with every checkpoint.

Ids are sorted naturally (``9`` before ``10``), so that the numbering depends on nothing but the set of ids. The
catalogue is the set of items with an interaction in some split; *entities* are the nodes of the knowledge graph that
are not items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import VOCAB
from kgrec.errors import DataError

_digits = re.compile(r"(\d+)")


def natural_sort(ids: Iterable[str]) -> list[str]:
    """Sort distinct ids with runs of digits compared as numbers; ids that then tie keep the order of their text."""

    def key(text: str) -> tuple[list[tuple[int, int | str]], str]:
        parts = _digits.split(text)
        return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], text

    return sorted(set(ids), key=key)


@dataclass(frozen=True)
class Vocabulary:
    """Ids by index, and what a person calls them."""

    users: list[str]
    items: list[str]
    entities: list[str]
    #: all relation ids, inverses included
    relations: list[str]
    #: linked entity of each item, None where it has none
    item_entities: list[str | None]
    item_titles: list[str | None]
    entity_titles: list[str | None]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of users, items and entities."""
        return len(self.users), len(self.items), len(self.entities)

    def encode_users(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Indices, int64, of user ids. :raises DataError: naming an id the vocabulary lacks"""
        return _encode(ids, self.users, "user")

    def encode_items(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Indices, int64, of item ids. :raises DataError: naming an id the vocabulary lacks"""
        return _encode(ids, self.items, "item")

    def table(self) -> pa.Table:
        """The vocabulary as a table with schema ``VOCAB``: users, items, entities, relations, each by index."""
        none: list[str | None] = []
        blocks = [
            ("user", self.users, none, none),
            ("item", self.items, self.item_entities, self.item_titles),
            ("entity", self.entities, self.entities, self.entity_titles),
            ("relation", self.relations, none, none),
        ]
        return pa.concat_tables(
            pa.table(
                {
                    "type": pa.array([kind] * len(ids), pa.string()),
                    "index": pa.array(range(len(ids)), pa.int64()),
                    "id": pa.array(ids, pa.string()),
                    "entity_id": pa.array(entity_ids or [None] * len(ids), pa.string()),
                    "title": pa.array(titles or [None] * len(ids), pa.string()),
                },
                schema=VOCAB,
            )
            for kind, ids, entity_ids, titles in blocks
        )

    def write(self, path: Path) -> None:
        """Write the table as Parquet."""
        write_parquet(self.table(), path)


def read_vocabulary(path: Path) -> Vocabulary:
    """Read ``vocab.parquet``.

    :raises DataError: if it is missing or damaged, or an index is missing or doubled
    """
    table = read_parquet(path, VOCAB)
    blocks = {}
    for kind in ("user", "item", "entity", "relation"):
        block = table.filter(pc.equal(table["type"], kind)).sort_by("index")
        if block["index"].to_pylist() != list(range(block.num_rows)):
            raise DataError(f"the {kind} indices do not count from 0 without gaps; rerun the graph stage", path=path)
        blocks[kind] = block
    return Vocabulary(
        users=blocks["user"]["id"].to_pylist(),
        items=blocks["item"]["id"].to_pylist(),
        entities=blocks["entity"]["id"].to_pylist(),
        relations=blocks["relation"]["id"].to_pylist(),
        item_entities=blocks["item"]["entity_id"].to_pylist(),
        item_titles=blocks["item"]["title"].to_pylist(),
        entity_titles=blocks["entity"]["title"].to_pylist(),
    )


def _encode(ids: pa.Array | pa.ChunkedArray, known: list[str], kind: str) -> np.ndarray:
    index = pc.index_in(ids, value_set=pa.array(known, pa.string()))
    if index.null_count:
        lost = ids.filter(pc.is_null(index))[0].as_py()
        raise DataError(f"{kind} {lost!r} is not in the vocabulary; rerun the graph stage after the split stage")
    return (
        index.to_numpy(zero_copy_only=False).astype(np.int64)
        if isinstance(index, pa.Array)
        else index.to_numpy().astype(np.int64)
    )
