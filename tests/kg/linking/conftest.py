"""A small knowledge base of films and books, as a store, and catalogues to link to it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.data.io import write_parquet
from kgrec.data.schemas import ITEMS
from kgrec.kg.store import ExtractSettings, build_store

NS = "http://rdf.freebase.com/ns/"


def fact(subject: str, predicate: str, value: str) -> str:
    """One dump line."""
    term = value if value[0] in '"<' else f"<{NS}{value}>"
    return f"<{NS}{subject}>\t<{NS}{predicate}>\t{term}\t."


def work(
    entity: str, name: str, year: int | None = None, makers: Iterable[str] = (), kind: str = "film.film", **more: str
) -> list[str]:
    """A film or book; ``makers`` are entities; ``imdb`` and ``isbn`` may be given."""
    made_by = "film.film.directed_by" if kind == "film.film" else "book.written_work.author"
    dated = "film.film.initial_release_date" if kind == "film.film" else "book.written_work.date_of_first_publication"
    lines = [fact(entity, "type.object.type", kind), fact(entity, "type.object.name", f'"{name}"@en')]
    lines += [fact(entity, dated, f'"{year}"^^<http://www.w3.org/2001/XMLSchema#gYear>')] if year else []
    lines += [fact(entity, made_by, person) for person in makers]
    if "imdb" in more:
        lines.append(fact(entity, "imdb.topic.title_id", f'"{more["imdb"]}"'))
    if "isbn" in more:
        lines.append(fact(entity, "book.book.editions", f"{entity}e"))
        lines.append(fact(f"{entity}e", "media_common.cataloged_instance.isbn13", f'"{more["isbn"]}"'))
    return lines


def person(entity: str, name: str) -> list[str]:
    return [fact(entity, "type.object.name", f'"{name}"@en')]


BASE = [
    *work("m.heat", "Heat", 1995, ["m.mann"], imdb="tt0113277"),
    *work("m.heat86", "Heat", 1986),
    *work("m.phan", "The Phantom", 1996),
    *work("m.12", "12 Monkeys", 1995),
    *work("m.star", "Star Wars", 1977, imdb="tt0076759"),
    *work("m.love", "Bed of Roses", 1996, ["m.mann"]),
    *work("m.twin1", "Twins", 1988),
    *work("m.twin2", "Twins", 1988),
    *work("m.dune", "Dune", 1965, ["m.herb"], kind="book.book", isbn="9780306406157"),
    *work("m.dunef", "Dune", 1984),
    *work("m.emma", "Emma", 1815, ["m.austen"], kind="book.book"),
    *person("m.mann", "Michael Mann"),
    *person("m.herb", "Frank Herbert"),
    *person("m.austen", "Jane Austen"),
]


def make_store(folder: Path, lines: Iterable[str]) -> Path:
    dump = folder / "dump.gz"
    dump.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))
    build_store([dump], folder / "store", ExtractSettings())
    return folder / "store"


def make_items(*rows: dict[str, Any], **columns: list[Any]) -> pa.Table:
    """A table of items, with further columns."""
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in ITEMS}
    table = pa.Table.from_pylist([empty | row for row in rows], schema=ITEMS)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of ``BASE``."""
    return make_store(tmp_path_factory.mktemp("base"), BASE)


class Desk:
    """A folder with items, link files, and what linking wrote."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.items, self.links, self.out, self.store = folder / "items.parquet", folder / "links", folder / "out", base
        self.links.mkdir()

    def catalogue(self, *rows: dict[str, Any], **columns: list[Any]) -> None:
        write_parquet(make_items(*rows, **columns), self.items)


@pytest.fixture
def desk(tmp_path: Path, base: Path) -> Desk:
    return Desk(tmp_path, base)


@pytest.fixture(name="make_items")
def _make_items() -> Any:
    return make_items


@pytest.fixture(name="make_store")
def _make_store() -> Any:
    return make_store


@pytest.fixture(name="work")
def _work() -> Any:
    return work
