"""MovieLens-100K: ``u.data`` (tabs), ``u.item`` with 19 genre flags and ``u.user`` (both ``|``), latin-1.

Its item ids are its own: they are not those of the other MovieLens sets.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.readers.base import (
    RAW_INTERACTIONS,
    RatingsData,
    Reading,
    Strings,
    items_table,
    read_distinct,
    users_table,
    years,
)  # fmt: skip
from kgrec.data.readers.files import SourceFile, need
from kgrec.data.schemas import ITEMS, USERS

#: the genre flags in file order; the first, "unknown", says nothing
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
ENCODINGS = ("utf-8", "latin-1")


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's."""
    return "u.data" in names


def has_items(names: Collection[str]) -> bool:
    """Whether the item file of this format is there."""
    return "u.item" in names


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. Ratings lie in 1 to 5."""
    ratings = reading.rows(need(files, "u.data"), "\t", ["user_id", "item_id", "rating", "timestamp"])
    interactions = [rows.interactions(rating_range=(1, 5)) for rows in ratings]
    person = ["user_id", "age", "gender", "occupation", "zip"]
    people = reading.rows(need(files, "u.user"), "|", person, encodings=ENCODINGS)
    return RatingsData(
        pa.concat_tables([RAW_INTERACTIONS.empty_table(), *interactions]),
        read_items(files, reading),
        read_distinct(people, "user_id", users_table, USERS),
    )


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read ``u.item`` alone."""
    movie = ["item_id", "title", "released", "video_released", "url", *GENRES]
    movies = reading.rows(need(files, "u.item"), "|", movie, encodings=ENCODINGS)
    return read_distinct(movies, "item_id", _items, ITEMS)


def _items(columns: Strings) -> pa.Table:
    flags = np.stack([pc.equal(columns[genre], "1").to_numpy(zero_copy_only=False) for genre in GENRES[1:]], axis=1)
    offsets = np.concatenate([[0], np.cumsum(flags.sum(axis=1))]).astype(np.int32)
    genres = pa.ListArray.from_arrays(offsets, pa.array(np.array(GENRES[1:], dtype=object)[np.nonzero(flags)[1]]))
    known = {"item_id": columns["item_id"], "title": columns["title"], "genre": genres}
    items = items_table(known)
    year = pc.coalesce(items["year"], pc.cast(years(pc.utf8_slice_codeunits(columns["released"], -4)), pa.int16()))
    title = pc.if_else(pc.equal(items["title"], "unknown"), None, items["title"])
    return items.set_column(1, ITEMS.field("title"), title).set_column(2, ITEMS.field("year"), year)
