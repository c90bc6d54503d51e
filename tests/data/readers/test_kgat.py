"""KGAT's lists of items per user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import DataError

FILES = {
    "train.txt": "0 1 0\n1 2\n",
    "test.txt": "0 2\n1 \n",
    "user_list.txt": "org_id remap_id\nalice 0\nbob 1\n",
    "item_list.txt": "org_id remap_id freebase_id\nA 0 m.01\nB 1 m.02\nC 2 m.03\n",
}


def test_set(source: Callable[..., Path]) -> None:
    name, data = read_ratings(source(FILES), Reading(ReadSettings()))
    assert name == "kgat"
    rows = data.interactions.select(["user_id", "item_id", "line"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("alice", "B", 1),
        ("alice", "A", 1),
        ("bob", "C", 2),
        ("alice", "C", 1),
    ]
    assert data.interactions["file"].to_pylist() == ["train.txt"] * 3 + ["test.txt"]
    assert data.interactions["rating"].null_count == 4
    assert data.items["item_id"].to_pylist() == ["A", "B", "C"]


@pytest.mark.parametrize("line", ["2 0", "0 3", "0 x", "-1 0"])
def test_bad_line(source: Callable[..., Path], line: str) -> None:
    with pytest.raises(DataError, match=r"train\.txt, line 2: malformed row.*listed user"):
        read_ratings(source({**FILES, "train.txt": f"0 1\n{line}\n"}), Reading(ReadSettings()))
    reading = Reading(ReadSettings(on_bad_row="ledger", max_bad_share=0.5))
    _, data = read_ratings(source({**FILES, "train.txt": f"0 1\n{line}\n1 1\n"}), reading)
    assert reading.rejects()["text"].to_pylist() == [line]
    assert [row["user_id"] for row in data.interactions.to_pylist()] == ["alice", "bob", "alice"]


def test_list_out_of_order(source: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"user_list\.txt, line 3: expected an id and the number 1"):
        read_ratings(source({**FILES, "user_list.txt": "org_id remap_id\nalice 0\nbob 2\n"}), Reading(ReadSettings()))


def test_real_amazon_book(real_data: Path) -> None:
    _, data = read_ratings(real_data / "amazon-book", Reading(ReadSettings()))
    assert data.interactions.num_rows == 846_434
    assert (data.users.num_rows, data.items.num_rows) == (70_679, 24_915)
    assert data.interactions["user_id"][0].as_py() == "A3RTKL9KB8KLID"
    assert data.interactions["item_id"][0].as_py() == "0553092626"
