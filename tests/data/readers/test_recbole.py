"""RecBole's atomic files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import DataError

FILES = {
    "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t4\t978300760\n2\t20\t3\t9.783e8\n",
    "ml.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
        "10\tToy Story\t1995\tAnimation Comedy\n20\tHeat\t\t\n"
    ),
    "ml.user": "user_id:token\tage:token\tgender:token\n1\t25\tF\n2\t\tM\n",
    "ml.kg": "head_id:token\trelation_id:token\ttail_id:token\n",
}


def test_set(source: Callable[..., Path]) -> None:
    name, data = read_ratings(source(FILES), Reading(ReadSettings()))
    assert name == "recbole"
    assert data.interactions["timestamp"].to_pylist() == [978300760, 978300000]
    items = data.items.select(["item_id", "title", "year", "genre"]).to_pylist()
    assert [tuple(row.values()) for row in items] == [
        ("10", "Toy Story", 1995, ["Animation", "Comedy"]),
        ("20", "Heat", None, []),
    ]
    assert data.users.to_pylist()[1] == {"user_id": "2", "gender": "M", "age": None, "occupation": None}


def test_implicit_feedback(source: Callable[..., Path]) -> None:
    _, data = read_ratings(source({"a.inter": "user_id:token\titem_id:token\n1\t10\n"}), Reading(ReadSettings()))
    assert data.interactions["rating"].to_pylist() == [None]
    assert data.interactions["timestamp"].to_pylist() == [None]


def test_header_without_types(source: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"a\.inter, line 1: header field 'user_id' is not name:type"):
        read_ratings(source({"a.inter": "user_id\titem_id\n1\t10\n"}), Reading(ReadSettings()))


def test_two_sets_in_one_folder(source: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"two \.inter files"):
        read_ratings(source({"a.inter": FILES["ml.inter"], "b.inter": FILES["ml.inter"]}), Reading(ReadSettings()))


def test_authors_and_ids_of_books(source: Callable[..., Path]) -> None:
    header = "item_id:token\ttitle:token_seq\tauthor:token_seq\tisbn:token_seq\ttmdb_id:token\n"
    folder = source(
        {
            "b.item": header + "1\tDune\tFrank Herbert, A. Nother\t0441013597 9780441013593\t\n",
            "b.inter": FILES["ml.inter"],
        }
    )
    items = read_ratings(folder, Reading(ReadSettings()))[1].items.select(["writer", "isbn", "tmdb_id"]).to_pylist()
    assert items == [
        {"writer": ["Frank Herbert", "A. Nother"], "isbn": ["0441013597", "9780441013593"], "tmdb_id": None}
    ]
