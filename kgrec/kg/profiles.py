"""A profile is what a knowledge base says of an entity that can tell it from others: names, years, types, ids, people."""

from __future__ import annotations

import pyarrow as pa

_strings = pa.list_(pa.string())

#: one row per entity; list columns are empty, never null, where nothing is known
PROFILES = pa.schema(
    [
        ("entity_id", pa.string()),
        ("name", pa.string()),  # in the preferred language where it has one; null without a name
        ("names", _strings),  # all names and aliases, distinct, ``name`` first
        ("types", _strings),
        ("years", pa.list_(pa.int16())),  # of its dates, ascending
        ("imdb_id", _strings), ("tmdb_id", _strings), ("isbn", _strings), ("asin", _strings),
        ("director", _strings), ("writer", _strings), ("actor", _strings),  # names; the authors of a book are writers
        ("degree", pa.int64()),  # facts with the entity at an end; null where unknown
    ]
)  # fmt: skip
