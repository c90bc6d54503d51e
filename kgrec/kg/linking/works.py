"""What a knowledge base calls the types of works, who made them, and their editions; as tables for SQL.

Whatever states a property is asked: a film names its director, or the director the film; an actor stands behind the
mediator of a performance; the ISBN of a book is its edition's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from kgrec.data.database import database_on_disk
from kgrec.data.io import read_json
from kgrec.kg.linking.identifiers import SCHEMES
from kgrec.kg.literals import unescape
from kgrec.kg.store import open_store
from kgrec.kg.vocabulary import ALIASES, CROSS_IDS, DATES, NAMES

_DBO, _SCHEMA = "http://dbpedia.org/ontology/", "http://schema.org/"

#: kind of item -> types of its entities
TYPES_OF: dict[str, tuple[str, ...]] = {
    "film": (
        "film.film", "tv.tv_program", _DBO + "Film", _DBO + "TelevisionShow", _SCHEMA + "Movie",
        # film; animated, animated feature, short, television, silent, documentary, feature; miniseries, television series
        *("Q11424", "Q202866", "Q29168811", "Q24862", "Q506240", "Q226730", "Q93204", "Q24869", "Q1259759", "Q5398426"),
    ),
    "book": (
        "book.book", "book.written_work", _DBO + "Book", _DBO + "WrittenWork", _SCHEMA + "Book",
        # book, written work, literary work, novel, short story, short story collection, comics, comic book album
        *("Q571", "Q47461344", "Q7725634", "Q8261", "Q49084", "Q1279564", "Q1004", "Q2831984"),
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


@contextmanager
def opened(store: Path, memory_gb: float = 1.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views of ``store``, which works on disk once it has used ``memory_gb``."""
    with (
        TemporaryDirectory(prefix="kgrec.link.") as folder,
        database_on_disk(Path(folder) / "link", memory_gb) as (connection, _),
    ):
        open_store(connection, store)
        yield connection


def has_names(store: Path) -> bool:
    """Whether a store says anything an item could be compared with; a folder that is no store is left to ``opened``."""
    manifest = store / "manifest.json"
    return not manifest.exists() or read_json(manifest)["counts"]["literals"] > 0


def prepare(connection: duckdb.DuckDBPyConnection, languages: Sequence[str]) -> None:
    """Give ``connection`` the vocabulary as tables, and the function ``literal_text``."""
    register(connection, "literal_text", ["VARCHAR"], "VARCHAR", _text)
    said = {"name": NAMES, "alias": ALIASES, "date": DATES, **{scheme: CROSS_IDS[scheme] for scheme in SCHEMES}}
    for means, (away, back) in {**ROLES, "through": THROUGH, "edition": EDITIONS}.items():
        said |= {f"{means}>": away, f"{means}<": back}
    predicates = [
        (means, p, rank)
        for means, some in {"name": NAMES, "alias": ALIASES, **said}.items()
        for rank, p in enumerate(some)
    ]
    _table(connection, "link_predicates", predicates, means="VARCHAR", p="VARCHAR", rank="INTEGER")
    spoken = [(lang.lower(), rank) for rank, lang in enumerate(languages)]
    _table(connection, "link_languages", spoken, lang="VARCHAR", rank="INTEGER")


def register(
    connection: duckdb.DuckDBPyConnection, name: str, takes: list[str], gives: str, function: Callable[..., pa.Array]
) -> None:
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
    return pa.array([unescape(one) if one[:1] == '"' else one for one in literals.to_pylist()], pa.string())
