"""MovieLens-100K's three files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import DataError

FLAGS = {"Toy Story": {3, 4, 5}, "Diabolique": {8, 16}, "unknown": {0}}


def movie(number: int, title: str, released: str, flags: set[int]) -> str:
    bits = "|".join("1" if at in flags else "0" for at in range(19))
    return f"{number}|{title}|{released}||http://us.imdb.com/M/title-exact?{number}|{bits}\n"


@pytest.fixture
def folder(source: Callable[..., Path]) -> Path:
    movies = (
        movie(1, "Toy Story (1995)", "01-Jan-1995", FLAGS["Toy Story"])
        + movie(2, "Fée, La (1996) (V)", "09-Aug-1996", FLAGS["Diabolique"])
        + movie(267, "unknown", "", FLAGS["unknown"])
        + movie(3, "No year here", "14-Feb-1997", set())
    )
    return source(
        {
            "u.data": "196\t1\t3\t881250949\n186\t2\t1\t891717742\n",
            "u.item": movies.encode("latin-1"),
            "u.user": "196|49|M|writer|55105\n186|24|F|technician|85711\n",
        }
    )


def test_set(folder: Path) -> None:
    reading = Reading(ReadSettings())
    name, data = read_ratings(folder, reading)
    assert name == "ml-100k"
    assert data.interactions.drop(["file"]).to_pylist()[0] == {
        "user_id": "196", "item_id": "1", "rating": 3.0, "timestamp": 881250949, "line": 1,
    }  # fmt: skip
    items = {row["item_id"]: row for row in data.items.to_pylist()}
    assert items["1"]["genre"] == ["Animation", "Children's", "Comedy"]
    assert (items["2"]["title"], items["2"]["year"], items["2"]["genre"]) == ("Fée, La", 1996, ["Drama", "Thriller"])
    assert (items["267"]["title"], items["267"]["year"], items["267"]["genre"]) == (None, None, [])
    assert (items["3"]["title"], items["3"]["year"]) == ("No year here", 1997)
    assert data.users.to_pylist()[1] == {"user_id": "186", "gender": "F", "age": "24", "occupation": "technician"}


def test_short_item_row(folder: Path) -> None:
    (folder / "u.item").write_text("1|Toy Story (1995)|01-Jan-1995||url|1|0\n")
    with pytest.raises(DataError, match=r"u\.item, line 1: malformed row, expected 24 values"):
        read_ratings(folder, Reading(ReadSettings()))
