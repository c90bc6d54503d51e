"""The vocabulary is where ids stop being strings: it numbers users, items, entities and relations, each from 0, and
travels with every checkpoint.

Ids are sorted naturally (``9`` before ``10``), so that the numbering depends on nothing but the set of ids. The
catalogue is the set of items with an interaction in some split; *entities* are the nodes of the knowledge graph that
are not items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import VOCAB
from kgrec.errors import DataError


def natural_sort(ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Sort distinct ids with runs of the digits 0-9 compared as numbers; ids that then tie keep the order of their text.

    A number comes before a letter. Takes a few times the bytes of the ids.
    """
    given = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(list(ids), pa.string())
    found = pc.unique(given).cast(pa.large_string())
    _, offsets, text = found.buffers()
    bounds, key = _sort_keys(
        np.frombuffer(offsets, np.int64)[found.offset : found.offset + len(found) + 1]
        if len(found)
        else np.zeros(1, np.int64),
        np.frombuffer(text or b"", np.uint8),
    )
    keys = pa.Array.from_buffers(pa.large_binary(), len(found), [None, pa.py_buffer(bounds), pa.py_buffer(key)])
    order = pc.sort_indices(pa.table({"key": keys, "id": found}), sort_keys=[("key", "ascending"), ("id", "ascending")])
    return found.take(order).cast(pa.string())


@njit(cache=True)
def _sort_keys(offsets, data):
    """Bytes whose plain order is the natural order: a run of digits becomes 0, the length of its number, and the number;
    every other byte b becomes b + 1, as far as 255 allows (UTF-8 has no byte above 247)."""
    bounds = np.zeros(len(offsets), np.int64)
    key = np.empty(len(data) * 3 + 8, np.uint8)
    end = 0
    for row in range(len(offsets) - 1):
        place, stop = offsets[row], offsets[row + 1]
        while place < stop:
            if not 48 <= data[place] <= 57:
                key[end] = data[place] + 1
                end, place = end + 1, place + 1
                continue
            while place < stop and data[place] == 48:
                place += 1
            last = place
            while last < stop and 48 <= data[last] <= 57:
                last += 1
            key[end] = 0
            end += 1
            length = last - place
            while length >= 255:
                key[end], end, length = 255, end + 1, length - 255
            key[end] = length
            end += 1
            key[end : end + last - place] = data[place:last]
            end, place = end + last - place, last
        bounds[row + 1] = end
    return bounds, key[:end]


@dataclass(frozen=True)
class Vocabulary:
    """Ids by index, and what a person calls them."""

    users: list[str]
    items: list[str]
    #: Arrow, not Python: a catalogue has tens of times as many entities as items
    entities: pa.StringArray
    #: all relation ids, inverses included
    relations: list[str]
    #: linked entity of each item, None where it has none
    item_entities: list[str | None]
    item_titles: list[str | None]
    entity_titles: pa.StringArray

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
        blocks = [
            ("user", self.users, None, None),
            ("item", self.items, self.item_entities, self.item_titles),
            ("entity", self.entities, self.entities, self.entity_titles),
            ("relation", self.relations, None, None),
        ]

        def strings(values: list[str] | list[str | None] | pa.StringArray | None, count: int) -> pa.StringArray:
            return pa.nulls(count, pa.string()) if values is None else pa.array(values, pa.string())

        return pa.concat_tables(
            pa.table(
                {
                    "type": pa.repeat(kind, len(ids)),
                    "index": pa.array(np.arange(len(ids))),
                    "id": strings(ids, len(ids)),
                    "entity_id": strings(entity_ids, len(ids)),
                    "title": strings(titles, len(ids)),
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
        if not np.array_equal(block["index"].to_numpy(), np.arange(block.num_rows)):
            raise DataError(f"the {kind} indices do not count from 0 without gaps; rerun the graph stage", path=path)
        blocks[kind] = block
    return Vocabulary(
        users=blocks["user"]["id"].to_pylist(),
        items=blocks["item"]["id"].to_pylist(),
        entities=blocks["entity"]["id"].combine_chunks(),
        relations=blocks["relation"]["id"].to_pylist(),
        item_entities=blocks["item"]["entity_id"].to_pylist(),
        item_titles=blocks["item"]["title"].to_pylist(),
        entity_titles=blocks["entity"]["title"].combine_chunks(),
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
