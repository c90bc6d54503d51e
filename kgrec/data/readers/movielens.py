"""MovieLens with ``::``: ``ratings.dat``, ``movies.dat`` and ``users.dat``, as ml-1m and, without users, ml-10m."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from kgrec.data.readers.base import (
    RAW_INTERACTIONS,
    RatingsData,
    Reading,
    Strings,
    items_table,
    read_distinct,
    split_list,
    users_table,
)  # fmt: skip
from kgrec.data.readers.files import SourceFile, need
from kgrec.data.schemas import ITEMS, USERS

#: ml-1m is published in latin-1, ml-10m in UTF-8
ENCODINGS = ("utf-8", "latin-1")


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's."""
    return "ratings.dat" in names


def has_items(names: Collection[str]) -> bool:
    """Whether the item file of this format is there."""
    return "movies.dat" in names


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. Ratings lie in 1 to 5, or from .5 in sets without users (ml-10m has half stars)."""
    lowest = 1 if "users.dat" in files else 0.5
    columns = ["user_id", "item_id", "rating", "timestamp"]
    ratings = reading.rows(need(files, "ratings.dat"), "::", columns, encodings=("latin-1",))
    interactions = [rows.interactions(rating_range=(lowest, 5)) for rows in ratings]
    users = USERS.empty_table()
    if "users.dat" in files:
        columns = ["user_id", "gender", "age", "occupation", "zip"]
        people = reading.rows(files["users.dat"], "::", columns, encodings=ENCODINGS)
        users = read_distinct(people, "user_id", users_table, USERS)
    return RatingsData(
        pa.concat_tables([RAW_INTERACTIONS.empty_table(), *interactions]),
        read_items(files, reading),
        users,
    )


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read ``movies.dat`` alone."""
    movies = reading.rows(need(files, "movies.dat"), "::", ["item_id", "title", "genre"], encodings=ENCODINGS)
    return read_distinct(movies, "item_id", _items, ITEMS)


def _items(columns: Strings) -> pa.Table:
    return items_table({**columns, "genre": split_list(columns["genre"], "|")})
