"""Plain CSV or Parquet whose files and columns ``interactions.table`` names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgrec.data.readers.base import (
    RAW_INTERACTIONS,
    RatingsData,
    Reading,
    Rows,
    Strings,
    TableColumns,
    imdb_ids,
    items_table,
    read_distinct,
    split_list,
    users_table,
    years,
)  # fmt: skip
from kgrec.data.readers.files import SourceFile, need
from kgrec.data.schemas import ITEMS, USERS
from kgrec.errors import DataError


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's default ones."""
    return TableColumns().interactions in names


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. Ratings are any finite numbers, unless ``rating_range`` says more."""
    table = reading.settings.table
    interactions = [
        rows.interactions(table.user_id, table.item_id, table.rating, table.timestamp)
        for rows in _rows(need(files, table.interactions), reading, table.header)
    ]
    users = USERS.empty_table()
    if table.users is not None:
        found = _rows(need(files, table.users), reading)
        users = read_distinct(found, table.user_id, lambda columns: _users(columns, table), USERS)
    interactions = [RAW_INTERACTIONS.empty_table(), *interactions]
    return RatingsData(pa.concat_tables(interactions), read_items(files, reading), users)


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read the file that ``table.items`` names alone; no items if it names none."""
    table = reading.settings.table
    if table.items is None:
        return ITEMS.empty_table()
    found = _rows(need(files, table.items), reading)
    return read_distinct(found, table.item_id, lambda columns: _items(columns, table), ITEMS)


def _rows(file: SourceFile, reading: Reading, header: list[str] | None = None) -> Iterator[Rows]:
    if not file.name.endswith((".parquet", ".pq")):
        yield from reading.rows(file, reading.settings.table.delimiter, header, quoted=True)
        return
    try:
        content = pq.read_table(pa.BufferReader(file.read()))
        columns = {name: _strings(content[name]) for name in content.column_names}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"cannot be read as Parquet ({error})", path=file) from error
    rows = Rows(columns, np.arange(1, content.num_rows + 1), reading.settings.table.delimiter, reading, file)
    yield rows
    bad = content.num_rows - len(rows.line)
    if bad:
        reading.check_share(file, bad, content.num_rows)


def _strings(column: pa.ChunkedArray) -> pa.Array:
    """A column as strings, empty where null; lists are joined by a unit separator, times become seconds since 1970."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        array = pc.binary_join(pc.cast(array, pa.list_(pa.string())), "\x1f")
    if pa.types.is_timestamp(array.type):
        array = pc.cast(pc.cast(array, pa.timestamp("s", array.type.tz), safe=False), pa.int64())
    return pc.fill_null(pc.cast(array, pa.string()), "")


def _items(columns: Strings, table: TableColumns) -> pa.Table:
    known = {"item_id": columns[table.item_id]}
    if table.title in columns:
        known["title"] = columns[table.title]
    if table.year in columns:
        known["year"] = years(columns[table.year])
    if table.imdb_id in columns:
        known["imdb_id"] = imdb_ids(columns[table.imdb_id])
    if table.tmdb_id in columns:
        known["tmdb_id"] = _or_null(columns[table.tmdb_id])
    for ours in ("genre", "director", "writer", "actor", "isbn"):
        theirs = getattr(table, ours)
        if theirs in columns and theirs != table.item_id:
            one = pc.replace_substring(columns[theirs], "\x1f", table.list_separator)
            known[ours] = split_list(one, table.list_separator)
    return items_table(known)


def _or_null(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), None, column)


def _users(columns: Strings, table: TableColumns) -> pa.Table:
    names = {"user_id": table.user_id, "gender": table.gender, "age": table.age, "occupation": table.occupation}
    return users_table({ours: columns[theirs] for ours, theirs in names.items() if theirs in columns})
