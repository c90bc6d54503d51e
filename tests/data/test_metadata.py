"""Item metadata beside the ratings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from kgrec.data.metadata import add_metadata, names
from kgrec.data.readers import Reading, ReadSettings, list_files
from kgrec.data.readers.base import items_table
from kgrec.errors import DataError

OMDB = {
    "movie_id": 10, "Year": "1995–", "Genre": "Animation, Comedy", "Director": "John Lasseter", "Country": "USA, UK",
    "Writer": "Pete Docter (story by), Joss Whedon (screenplay), Pete Docter (idea)", "Actors": "N/A",
    "Language": "English", "imdbID": "tt0114709",
}  # fmt: skip
EXTRA = (
    "10::Toy Story::1995::G::22 Nov 1995::Adventure::Other Person::N/A::Tom Hanks, Tim Allen::A plot :: with it::url\n"
)


def items() -> pa.Table:
    genre = pa.array([[], ["Drama"]], pa.list_(pa.string()))
    return items_table(
        {"item_id": pa.array(["10", "20"]), "title": pa.array(["Toy Story", "Heat (1995)"]), "genre": genre}
    )


@pytest.fixture
def texts(source: Callable[..., Path]) -> Callable[..., pa.Table]:
    def fill(files: dict[str, str], **settings: object) -> pa.Table:
        packed = {name: gzip.compress(one.encode()) if name.endswith(".gz") else one for name, one in files.items()}
        reading = Reading(ReadSettings(**settings))
        table = add_metadata(items(), list_files(source(packed, folder="texts")), reading)
        assert reading.rejects().num_rows == (1 if settings else 0)
        return table

    return fill


def test_omdb_then_extrainfos(texts: Callable[..., pa.Table]) -> None:
    files = {"omdb_metadata.jsonl.gz": json.dumps(OMDB) + "\n", "movies_extrainfos.dat.gz": EXTRA}
    toy, heat = texts(files).to_pylist()
    assert toy == {
        "item_id": "10", "title": "Toy Story", "year": 1995, "imdb_id": "tt0114709", "genre": ["Animation", "Comedy"],
        "director": ["John Lasseter"], "writer": ["Pete Docter", "Joss Whedon"], "actor": ["Tom Hanks", "Tim Allen"],
        "country": ["USA", "UK"], "language": ["English"], "tmdb_id": None, "isbn": [],
    }  # fmt: skip
    assert (heat["genre"], heat["director"], heat["imdb_id"], heat["year"]) == (["Drama"], [], None, 1995)


def test_links_go_before_omdb(texts: Callable[..., pa.Table]) -> None:
    links = "movie_id,title,imdbId,tmdbId\n10,Toy Story (1995),0000007,862\n20,Heat (1995),113277,949\n"
    table = texts({"omdb_metadata.jsonl.gz": json.dumps(OMDB) + "\n", "links.csv": links})
    assert table["imdb_id"].to_pylist() == ["tt0000007", "tt0113277"]
    assert table["tmdb_id"].to_pylist() == ["862", "949"]


def test_nothing_there(texts: Callable[..., pa.Table]) -> None:
    assert texts({"other.txt": "x"}).equals(items())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("omdb_metadata.jsonl.gz", '{"movie_id": 1}\n{broken\n'),
        ("omdb_metadata.jsonl.gz", '{"movie_id": 1}\n{"Title": "x"}\n'),
        ("omdb_metadata.jsonl.gz", '{"movie_id": 1}\n[]\n'),
        ("movies_extrainfos.dat.gz", EXTRA + "11::short\n"),
    ],
)
def test_bad_line(texts: Callable[..., pa.Table], name: str, content: str) -> None:
    with pytest.raises(DataError, match=rf"{name}, line 2: malformed row"):
        texts({name: content})
    texts({name: content}, on_bad_row="ledger", max_bad_share=0.5)
    with pytest.raises(DataError, match="1 of 2 rows are malformed"):
        texts({name: content}, on_bad_row="ledger", max_bad_share=0.4)


def test_names() -> None:
    assert names("Ann Lee (story, idea), Bo, , Bo (novel), N/A") == ["Ann Lee", "Bo"]
    assert names(None) == []
