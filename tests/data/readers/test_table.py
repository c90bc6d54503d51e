"""CSV and Parquet with columns of any name."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.config import parse_settings
from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import ConfigError, DataError

NAMES = {
    "interactions": "events.csv", "items": "books.csv", "users": "people.csv", "delimiter": ";", "list_separator": ",",
    "user_id": "who", "item_id": "isbn", "rating": "stars", "timestamp": "at", "title": "name", "genre": "shelf",
}  # fmt: skip
FILES = {
    "events.csv": 'at;who;isbn;stars;note\n5;u1;b1;7.5;"a; b"\n6;u2;b2;-1;\n',
    "books.csv": "isbn;name;shelf\nb1;Dune (1965);sf, classic\nb2;Emma;\n",
    "people.csv": "who;age\nu1;30\nu2;\n",
}


def read(folder: Path, **settings: object):
    return read_ratings(folder, Reading(parse_settings(ReadSettings, {"format": "table", **settings})))[1]


def test_csv(source: Callable[..., Path]) -> None:
    data = read(source(FILES), table=NAMES)
    assert data.interactions.drop(["file", "line"]).to_pylist() == [
        {"user_id": "u1", "item_id": "b1", "rating": 7.5, "timestamp": 5},
        {"user_id": "u2", "item_id": "b2", "rating": -1.0, "timestamp": 6},
    ]
    items = data.items.select(["title", "year", "genre"]).to_pylist()
    assert [tuple(row.values()) for row in items] == [("Dune", 1965, ["sf", "classic"]), ("Emma", None, [])]
    assert data.users["age"].to_pylist() == ["30", None]


def test_who_made_it_and_its_ids(source: Callable[..., Path]) -> None:
    books = "item_id,title,author,isbn,tmdb_id\n1,Dune,Frank Herbert,0441013597|9780441013593,\n2,Omens,A|B,,17\n"
    data = read(source({**FILES, "items.csv": books, "interactions.csv": "user_id,item_id,rating,timestamp\nu,1,5,1\n"}),
                table={"items": "items.csv"})  # fmt: skip
    rows = data.items.select(["writer", "isbn", "tmdb_id", "director"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (["Frank Herbert"], ["0441013597", "9780441013593"], None, []), (["A", "B"], [], "17", []),
    ]  # fmt: skip


def test_csv_without_header(source: Callable[..., Path]) -> None:
    names = {"header": ["user_id", "item_id", "rating", "timestamp"]}
    data = read(source({"interactions.csv.gz": gzip.compress(b"u1,b1,5,1\n")}), table=names)
    assert data.interactions["user_id"].to_pylist() == ["u1"]


def test_parquet(tmp_path: Path) -> None:
    moment = datetime(2020, 1, 1, tzinfo=timezone.utc)
    events = pa.table({"user_id": [7, 8], "item_id": [1, 2], "rating": [4.0, 5.0], "timestamp": [moment, moment]})
    books = pa.table(
        {"item_id": [1, 2], "title": ["A (1990)", None], "genre": [["x", "y"], None], "year": [1991, None]}
    )
    (tmp_path / "r").mkdir()
    pq.write_table(events, tmp_path / "r" / "interactions.parquet")
    pq.write_table(books, tmp_path / "r" / "books.parquet")
    data = read(tmp_path / "r", table={"interactions": "interactions.parquet", "items": "books.parquet"})
    assert data.interactions.drop(["file", "line"]).to_pylist()[0] == {
        "user_id": "7", "item_id": "1", "rating": 4.0, "timestamp": 1577836800,
    }  # fmt: skip
    items = data.items.select(["title", "year", "genre"]).to_pylist()
    assert [tuple(row.values()) for row in items] == [("A", 1991, ["x", "y"]), (None, None, [])]


def test_parquet_null_rating_is_a_bad_row(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"user_id": [1, 2], "item_id": [1, 2], "rating": [4.0, None]}), tmp_path / "interactions.parquet"
    )
    with pytest.raises(DataError, match=r"interactions\.parquet, line 2: rating is not a number"):
        read(tmp_path, table={"interactions": "interactions.parquet", "timestamp": None})


def test_column_names_are_checked(source: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"events\.csv, line 1: lacks column\(s\) when; it has at, who"):
        read(source(FILES), table={**NAMES, "timestamp": "when"})
    with pytest.raises(ConfigError, match=r"table\.user.*did you mean 'user"):
        read(source(FILES), table={**NAMES, "user": "x"})
    with pytest.raises(DataError, match="names a column twice"):
        read(source({**FILES, "events.csv": "at;who;who;stars\n"}), table=NAMES)


def test_not_parquet(tmp_path: Path) -> None:
    (tmp_path / "interactions.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(tmp_path, table={"interactions": "interactions.parquet"})
