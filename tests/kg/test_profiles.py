from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.data.io import read_parquet
from kgrec.data.schemas import ITEMS
from kgrec.errors import DataError
from kgrec.kg.linking.works import opened
from kgrec.kg.profiles import PROFILES, entity_profiles, read_profiles
from kgrec.kg.store import ExtractSettings, build_store

NS = "http://rdf.freebase.com/ns/"
Write = Callable[..., Path]


def fact(subject: str, predicate: str, value: str) -> str:
    term = value if value[0] in '"<' else f"<{NS}{value}>"
    return f"<{NS}{subject}>\t<{predicate if '/' in predicate else NS + predicate}>\t{term}\t."


def named(subject: str, *names: str, predicate: str = "type.object.name") -> list[str]:
    return [fact(subject, predicate, f'"{text}"@{lang}') for text, _, lang in (one.partition("@") for one in names)]


FILM = [
    fact("m.heat", "type.object.type", "film.film"),
    fact("m.heat", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "film.film"),
    *named("m.heat", "Hitze@de", "Heat@en", '\\"Heat\\" \\u2014 B@fr'),
    *named("m.heat", "Beat@en", predicate="common.topic.alias"),
    fact("m.heat", "film.film.initial_release_date", '"1996-02-01"^^<http://www.w3.org/2001/XMLSchema#date>'),
    fact("m.heat", "film.film.initial_release_date", '"1995"^^<http://www.w3.org/2001/XMLSchema#gYear>'),
    fact("m.heat", "http://rdf.freebase.com/key/authority.imdb.title", '"tt0113277"'),
    fact("m.heat", "film.film.directed_by", "m.mann"),
    fact("m.mann", "film.director.film", "m.heat"),
    fact("m.penn", "film.writer.film", "m.heat"),
    fact("m.cvt1", "film.performance.film", "m.heat"),
    fact("m.pacino", "film.actor.film", "m.cvt1"),
    fact("m.heat", "film.film.starring", "m.cvt2"),
    fact("m.cvt2", "film.performance.actor", "m.niro"),
    fact("m.heat", "film.film.genre", "m.crime"),
    *named("m.mann", "Michael Mann@en", "Майкл Манн@ru"),
    *named("m.penn", "Zak Penn@en"),
    *named("m.pacino", "Al Pacino@en"),
    *named("m.niro", "Robert De Niro@en"),
    *named("m.crime", "Crime@en"),
]
BOOK = [
    fact("m.dune", "type.object.type", "book.book"),
    *named("m.dune", "Dune@en"),
    fact("m.dune", "book.written_work.author", "m.herb"),
    fact("m.herb", "book.author.works_written", "m.dune"),
    *named("m.herb", "Frank Herbert@en", "Френк@ru"),
    fact("m.dune", "book.written_work.date_of_first_publication", '"1965"^^<http://www.w3.org/2001/XMLSchema#gYear>'),
    fact("m.ed1", "book.book_edition.book", "m.dune"),
    fact("m.ed1", "media_common.cataloged_instance.isbn13", '"9780306406157"'),
    fact("m.dune", "book.book.editions", "m.ed2"),
    fact("m.ed2", "book.book_edition.isbn", "m.isbn"),
    fact("m.isbn", "http://rdf.freebase.com/key/authority.isbn", '"080442957X"'),
]


@pytest.fixture
def store(tmp_path: Path, write_dump: Write) -> Path:
    dump = write_dump(tmp_path / "dump.gz", [*FILM, *BOOK])
    build_store([dump], tmp_path / "store", ExtractSettings())
    return tmp_path / "store"


def profile(table: pa.Table, entity: str) -> dict[str, Any]:
    assert table.schema == PROFILES
    [row] = [row for row in table.to_pylist() if row["entity_id"] == entity]
    return row


def test_a_film(store: Path) -> None:
    assert profile(read_profiles(store, ["m.heat"]), "m.heat") == {
        "entity_id": "m.heat", "name": "Heat", "names": ["Heat", '"Heat" — B', "Hitze", "Beat"], "types": ["film.film"],
        "years": [1995, 1996], "imdb_id": ["tt0113277"], "tmdb_id": [], "isbn": [], "asin": [],
        "director": ["Michael Mann"], "writer": ["Zak Penn"], "actor": ["Al Pacino", "Robert De Niro"], "degree": 6,
    }  # fmt: skip


def test_a_book_has_the_isbns_of_its_editions(store: Path) -> None:
    row = profile(read_profiles(store, ["m.dune"]), "m.dune")
    assert (row["isbn"], row["writer"], row["years"]) == (["080442957X", "9780306406157"], ["Frank Herbert"], [1965])


def test_the_preferred_language_goes_first(store: Path) -> None:
    row = profile(read_profiles(store, ["m.heat"], languages=("de", "ru")), "m.heat")
    assert row["names"] == ["Hitze", '"Heat" — B', "Heat", "Beat"]
    assert row["director"] == ["Майкл Манн"]
    # no name in these languages: left out rather than compared with a title in another script
    assert row["actor"] == []


def test_an_entity_the_store_does_not_know_is_left_out(store: Path) -> None:
    assert read_profiles(store, ["m.nobody", "http://nowhere.org/x"]).num_rows == 0


def test_what_shares_a_key_with_an_item_comes_too(store: Path, tmp_path: Path, write_items: Write) -> None:
    items = read_parquet(write_items(tmp_path / "items.parquet", [{"item_id": "1", "title": "Dune"}]), ITEMS)
    found = read_profiles(store, ["m.heat"], items, types=("book.book",))
    assert found["entity_id"].to_pylist() == ["m.dune", "m.heat"]
    assert read_profiles(store, [], items, types=("film.film",)).num_rows == 0


def test_a_dump_is_read_like_its_store(store: Path, tmp_path: Path) -> None:
    assert read_profiles(tmp_path / "dump.gz", ["m.heat", "m.dune"]).equals(read_profiles(store, ["m.heat", "m.dune"]))


def test_a_connection_may_be_asked_twice(store: Path) -> None:
    with opened(store) as connection:
        for entity in ("m.heat", "m.dune"):
            connection.execute(f"CREATE OR REPLACE TEMP TABLE asked AS SELECT code('{entity}') AS entity")
            assert entity_profiles(connection, source="asked")["entity_id"].to_pylist() == [entity]


def test_a_table_of_entities(tmp_path: Path) -> None:
    path = tmp_path / "entities.csv"
    path.write_text(
        'entity_id,name,type,year,imdb_id,author\n/m/a,"Heat, The",film.film|x,1995,tt1,\nm.b,Dune,,,,A|B\n'
    )
    first, second = read_profiles(path).to_pylist()
    assert (first["entity_id"], first["names"], first["types"]) == ("m.a", ["Heat, The"], ["film.film", "x"])
    assert (first["years"], first["imdb_id"], first["degree"]) == ([1995], ["tt1"], None)
    assert (second["writer"], second["years"]) == (["A", "B"], [])


def test_a_table_of_profiles_is_read_as_it_is(store: Path, tmp_path: Path) -> None:
    table = read_profiles(store, ["m.heat", "m.dune"])
    pq.write_table(table, tmp_path / "profiles.parquet")
    assert read_profiles(tmp_path / "profiles.parquet").equals(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\n1,Heat\n", "has no entity_id or no name"),
        ("entity_id,name,year\nm.a,Heat,soon\n", r"entities\.csv, line 2: has a year or degree that is no number"),
        ("entity_id,name\n,Heat\n", r"entities\.csv, line 2: has no entity_id"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "entities.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_profiles(tmp_path / "entities.csv")


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_profiles(tmp_path / "none.gz")
