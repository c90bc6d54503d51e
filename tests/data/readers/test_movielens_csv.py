"""The CSV sets: quoted titles, half stars, IMDb links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import DataError

FILES = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,10,3.5,1147880044\n2,20,0.5,1147880045\n",
    "movies.csv": (
        "movieId,title,genres\n"
        "10,Toy Story (1995),Adventure|Animation\n"
        '20,"American President, The (1995)",(no genres listed)\n'
        '30,"He said ""no"" (2007–2009)",Drama\n'
    ),
    "links.csv": "movieId,imdbId,tmdbId\n10,0114709,862\n20,112346,\n30,,\n",
    "tags.csv": "userId,movieId,tag,timestamp\n1,10,funny,1\n",
}


def read(folder: Path, **settings: object):
    return read_ratings(folder, Reading(ReadSettings(**settings)))


def test_set(source: Callable[..., Path]) -> None:
    name, data = read(source(FILES))
    assert name == "movielens-csv"
    assert data.interactions["rating"].to_pylist() == [3.5, 0.5]
    assert data.interactions["line"].to_pylist() == [2, 3]
    assert data.items["tmdb_id"].to_pylist() == ["862", None, None]
    rows = data.items.select(["item_id", "title", "year", "imdb_id", "genre"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("10", "Toy Story", 1995, "tt0114709", ["Adventure", "Animation"]),
        ("20", "American President, The", 1995, "tt0112346", []),
        ("30", 'He said "no"', 2007, None, ["Drama"]),
    ]


def test_byte_order_mark(source: Callable[..., Path]) -> None:
    ratings = b"\xef\xbb\xbf" + FILES["ratings.csv"].encode()
    assert read(source({**FILES, "ratings.csv": ratings}))[1].interactions.num_rows == 2


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("ratings.csv", "3,10,5.5,1", "rating out of range 0.5 to 5"),
        ("ratings.csv", "3,10,5", "malformed row, expected 4 values"),
        ("movies.csv", '40,"Open quote (1990),Drama', "a quote is not closed"),
        ("movies.csv", "40,Comma, The (1990),Drama", "malformed row, expected 3 values"),
        ("links.csv", "40,tt-x,1", "imdbId is not a number"),
    ],
)
def test_bad_rows(source: Callable[..., Path], name: str, line: str, message: str) -> None:
    content = FILES[name] + line + "\n"
    with pytest.raises(DataError, match=message) as caught:
        read(source({**FILES, name: content}))
    assert f"{name}, line {content.count(chr(10))}:" in str(caught.value)


def test_missing_column(source: Callable[..., Path]) -> None:
    ratings = FILES["ratings.csv"].replace("movieId", "film")
    with pytest.raises(DataError, match=r"ratings\.csv, line 1: lacks column\(s\) movieId; it has userId, film"):
        read(source({**FILES, "ratings.csv": ratings}))
