"""RecBole's atomic files: tab-separated ``.inter``, ``.item`` and ``.user`` with ``field:type`` headers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.readers.base import (
    RAW_INTERACTIONS,
    RatingsData,
    Reading,
    Rows,
    Strings,
    imdb_ids,
    items_table,
    read_distinct,
    split_list,
    users_table,
    years,
)  # fmt: skip
from kgrec.data.readers.files import SourceFile
from kgrec.data.schemas import ITEMS, USERS
from kgrec.errors import DataError

#: our column and the field names that RecBole's published sets use for it
_FIELDS = {
    "item_id": ("item_id",),
    "title": ("title", "movie_title", "name"),
    "year": ("year", "release_year"),
    "genre": ("genre", "genres", "class", "categories"),
    "writer": ("author", "authors"),
    "imdb_id": ("imdb_id",),
    "tmdb_id": ("tmdb_id",),
    "isbn": ("isbn",),
}


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's."""
    return any(name.endswith(".inter") for name in names)


def has_items(names: Collection[str]) -> bool:
    """Whether the item file of this format is there; ``u.item`` is MovieLens-100K's."""
    return any(name.endswith(".item") and name != "u.item" for name in names)


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. ``rating`` and ``timestamp`` may be absent; values of a ``token_seq`` stand between blanks."""
    inter = _one(files, ".inter")
    if inter is None:
        raise DataError(
            f"no .inter file among {', '.join(sorted(files)[:8])}; is interactions.format right?", path=".inter"
        )
    interactions = [
        rows.interactions(
            rating="rating" if "rating" in rows.columns else None,
            timestamp="timestamp" if "timestamp" in rows.columns else None,
        )
        for rows in _rows(inter, reading)
    ]
    users = USERS.empty_table()
    if (user := _one(files, ".user")) is not None:
        users = read_distinct(_rows(user, reading), "user_id", users_table, USERS)
    interactions = [RAW_INTERACTIONS.empty_table(), *interactions]
    return RatingsData(pa.concat_tables(interactions), read_items(files, reading), users)


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read the ``.item`` file alone; no items if there is none."""
    item = _one(files, ".item")
    return ITEMS.empty_table() if item is None else read_distinct(_rows(item, reading), "item_id", _items, ITEMS)


def _one(files: dict[str, SourceFile], suffix: str) -> SourceFile | None:
    found = [file for name, file in sorted(files.items()) if name.endswith(suffix)]
    if len(found) > 1:
        raise DataError(f"two {suffix} files ({found[0]} and {found[1]}); leave one", path=found[0].path.parent)
    return found[0] if found else None


def _rows(file: SourceFile, reading: Reading) -> Iterator[Rows]:
    for rows in reading.rows(file, "\t"):
        untyped = [name for name in rows.columns if ":" not in name]
        if untyped:
            raise DataError(f"header field {untyped[0]!r} is not name:type, as in user_id:token", path=file, line=1)
        rows.columns = {name.rpartition(":")[0]: column for name, column in rows.columns.items()}
        yield rows


def _items(columns: Strings) -> pa.Table:
    known = {}
    for ours, theirs in _FIELDS.items():
        name = next((one for one in theirs if one in columns), None)
        if name is not None:
            known[ours] = columns[name]
    if "year" in known:
        known["year"] = years(known["year"])
    if "genre" in known:
        known["genre"] = split_list(known["genre"], " ")
    if "imdb_id" in known:
        known["imdb_id"] = imdb_ids(known["imdb_id"])
    if "tmdb_id" in known:
        known["tmdb_id"] = pc.if_else(pc.equal(known["tmdb_id"], ""), None, known["tmdb_id"])
    # blanks stand between the words of a name, not only between names
    for name, separator in (("writer", ","), ("isbn", " ")):
        if name in known:
            known[name] = split_list(known[name], separator)
    return items_table(known)
