"""A profile is what a knowledge base says of an entity that can tell it from others: names, years, types, ids, people.

Whatever states a property is asked: a film names its director, or the director the film; an actor stands behind the
mediator of a performance; the ISBN of a book is its edition's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from kgrec.kg.linking.identifiers import SCHEMES
from kgrec.kg.rdf import unescape
from kgrec.kg.sql import query_sql, run_sql
from kgrec.kg.vocabulary import ALIASES, CROSS_IDS, DATES, NAMES

_strings = pa.list_(pa.string())

#: one row per entity; list columns are empty, never null, where nothing is known
PROFILES = pa.schema(
    [
        ("entity_id", pa.string()),
        ("name", pa.string()),  # in the preferred language where it has one; null without a name
        ("names", _strings),  # all names and aliases, distinct, ``name`` first
        ("types", _strings),
        ("years", pa.list_(pa.int16())),  # of its dates, ascending
        ("imdb_id", _strings), ("tmdb_id", _strings), ("isbn", _strings), ("asin", _strings),
        ("director", _strings), ("writer", _strings), ("actor", _strings),  # names; the authors of a book are writers
        ("degree", pa.int64()),  # facts with the entity at an end; null where unknown
    ]
)  # fmt: skip

_DBO, _SCHEMA = "http://dbpedia.org/ontology/", "http://schema.org/"

#: kind of item -> types of its entities
TYPES_OF: dict[str, tuple[str, ...]] = {
    "film": (
        "film.film", "tv.tv_program", _DBO + "Film", _DBO + "TelevisionShow", _SCHEMA + "Movie",
        # film, and its kinds: animated, short, television, silent, documentary, feature, miniseries, television series
        *("Q11424", "Q202866", "Q29168811", "Q24862", "Q506240", "Q226730", "Q93204", "Q24869", "Q1259759", "Q5398426"),
    ),
    "book": (
        "book.book", "book.written_work", _DBO + "Book", _DBO + "WrittenWork", _SCHEMA + "Book",
        # book, written work, literary work, novel, short story, short story collection, comic book
        *("Q571", "Q47461344", "Q7725634", "Q8261", "Q49084", "Q1279564", "Q1004", "Q1760610"),
    ),
}  # fmt: skip

#: role -> (predicates from the work, predicates to the work)
ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "director": (
        ("film.film.directed_by", "tv.tv_program.program_creator", "wdt:P57", _DBO + "director", _SCHEMA + "director"),
        ("film.director.film", "tv.tv_program_creator.programs_created"),
    ),
    "writer": (
        (
            "film.film.written_by", "film.film.story_by", "book.written_work.author", "wdt:P58", "wdt:P50",
            _DBO + "writer", _DBO + "author", _SCHEMA + "author",
        ),
        ("film.writer.film", "film.film_story_contributor.film_story_credits", "book.author.works_written"),
    ),
    "actor": (
        (
            "film.film.actor", "film.film.starring", "tv.tv_program.regular_cast", "wdt:P161", _DBO + "starring",
            _SCHEMA + "actor",
        ),
        ("film.actor.film", "film.performance.film", "tv.regular_tv_appearance.series"),
    ),
}  # fmt: skip

#: (predicates from a mediator, predicates to a mediator) whose other end is the person
THROUGH = (
    ("film.performance.actor", "tv.regular_tv_appearance.actor"),
    ("film.actor.film", "tv.tv_actor.starring_roles"),
)

#: (predicates from a work, predicates to a work) whose other end has ids of the work: its editions, and their ISBNs
EDITIONS = (("book.book.editions", "book.book_edition.isbn"), ("book.book_edition.book", "book.isbn.book_editions"))

_IDS = tuple(SCHEMES)


def entity_profiles(
    connection: duckdb.DuckDBPyConnection, languages: Sequence[str] = ("en",), source: str = "chosen"
) -> pa.Table:
    """Profiles of the entities in the table ``source(entity)``, from the views of a store.

    What is read grows with the entities asked for; the store is scanned a fixed number of times.

    :param connection: with the views and functions of ``kgrec.kg.store.open_store``
    :param languages: of ``name`` and of people's names, best first; names and aliases come in all languages
    :return: schema ``PROFILES``, sorted by ``entity_id``, a row for each entity even if nothing is known of it
    """
    prepare(connection, languages)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW link_asked AS SELECT DISTINCT entity FROM {source}")
    for name in ("link_near", "link_people", "link_ids"):
        run_sql(connection, name)
    return query_sql(connection, "link_profiles").cast(PROFILES)


def prepare(connection: duckdb.DuckDBPyConnection, languages: Sequence[str] = ("en",)) -> None:
    """Give ``connection`` the vocabulary as tables, and the function ``literal_text``."""
    register(connection, "literal_text", ["VARCHAR"], "VARCHAR", _text)
    predicates = [
        *(("name", p, rank) for rank, p in enumerate(NAMES)),
        *(("alias", p, rank) for rank, p in enumerate(ALIASES)),
        *(("date", p, 0) for p in DATES),
        *((scheme, p, 0) for scheme in _IDS for p in CROSS_IDS[scheme]),
        *((f"{role}{way}", p, 0) for role, ways in ROLES.items() for way, some in zip("><", ways, strict=True) for p in some),
        *((f"through{way}", p, 0) for way, some in zip("><", THROUGH, strict=True) for p in some),
        *((f"edition{way}", p, 0) for way, some in zip("><", EDITIONS, strict=True) for p in some),
    ]  # fmt: skip
    _table(connection, "link_predicates", predicates, means="VARCHAR", p="VARCHAR", rank="INTEGER")
    _table(
        connection,
        "link_languages",
        list(zip(languages, range(len(languages)), strict=True)),
        lang="VARCHAR",
        rank="INTEGER",
    )


def register(connection: duckdb.DuckDBPyConnection, name: str, takes: list[str], gives: str, function: Any) -> None:
    """Give ``connection`` a function over Arrow columns; a second time it stays as it is."""
    known = connection.execute("SELECT count(*) FROM duckdb_functions() WHERE function_name = ?", [name]).fetchall()
    if not known[0][0]:
        connection.create_function(name, function, takes, gives, type="arrow")  # type: ignore[call-overload]


def _table(connection: duckdb.DuckDBPyConnection, name: str, rows: list[tuple[Any, ...]], **columns: str) -> None:
    declared = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({declared})")
    if rows:
        connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)


def _text(literals: pa.ChunkedArray) -> pa.Array:
    return pa.array([unescape(one) if one and one[0] == '"' else one for one in literals.to_pylist()], pa.string())
