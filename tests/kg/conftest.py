"""Hand-made catalogues and dumps for the tests of links and knowledge graphs."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ITEMS, LINKS
from kgrec.kg.build import KGSettings, build_kg
from kgrec.kg.store import ExtractSettings, build_store, dump_files

NS = "http://rdf.freebase.com/ns/"


def fact(subject: str, predicate: str, value: str) -> str:
    """One dump line; a value that is no id (``m.``, ``g.``, ``domain.type``) is written as it is."""
    term = value if value[:1] in '"<' else f"<{NS}{value}>"
    return f"<{NS}{subject}>\t<{NS}{predicate}>\t{term}\t."


def cvt(node: str, kind: str, *edges: tuple[str, str, str]) -> list[str]:
    """A mediator of Freebase type ``kind`` with its edges."""
    return [fact(node, "type.object.type", kind), *(fact(*edge) for edge in edges)]


def name(subject: str, text: str, lang: str = "en") -> str:
    return fact(subject, "type.object.name", f'"{text}"@{lang}')


def write_dump(path: Path, lines: Iterable[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(line + end for line in lines).encode("utf-8"), mtime=0))
    return path


def write_items(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in ITEMS}
    write_parquet(pa.Table.from_pylist([empty | row for row in rows], schema=ITEMS), path)
    return path


class World:
    """A folder with items, links and knowledge graph files, and the tables built from them."""

    fact, name, cvt = staticmethod(fact), staticmethod(name), staticmethod(cvt)

    def __init__(self, folder: Path) -> None:
        self.folder, self.kg, self.out = folder, folder / "kg", folder / "out"
        self.kg.mkdir()
        self.extract = ExtractSettings()
        self.counts: dict[str, Any] = {}

    def items(self, **titles: str) -> None:
        """Items ``i1="Alien"``, linked to ``m.i1``."""
        write_items(self.folder / "items.parquet", [{"item_id": k, "title": v} for k, v in titles.items()])
        self.links({k: f"m.{k}" for k in titles})

    def links(self, entity_of: dict[str, str]) -> None:
        rows = [{"item_id": k, "entity_id": v, "method": "kb4rec", "score": 1.0} for k, v in entity_of.items()]
        write_parquet(pa.Table.from_pylist(rows, schema=LINKS), self.folder / "links.parquet")

    def dump(self, *lines: str, end: str = "\n") -> Path:
        return write_dump(self.kg / "dump.gz", lines, end)

    def build(self, **settings: Any) -> dict[str, Any]:
        store = self.folder / "store"
        self.counts = build_store(dump_files(self.kg), store, self.extract)
        tables = (self.folder / f"{name}.parquet" for name in ("items", "links"))
        return build_kg(*tables, store, self.kg, self.out, KGSettings(**settings))

    def triples(self) -> set[tuple[str, str, str]]:
        rows = read_parquet(self.out / "triples.parquet").to_pylist()
        found = {(row["head"], row["relation"], row["tail"]) for row in rows}
        assert len(found) == len(rows)
        return found

    def entities(self) -> dict[str, dict[str, Any]]:
        return {row["entity_id"]: row for row in read_parquet(self.out / "entities.parquet").to_pylist()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(name="write_items")
def _write_items() -> Callable[[Path, Iterable[dict[str, Any]]], Path]:
    return write_items


@pytest.fixture(name="write_dump")
def _write_dump() -> Callable[..., Path]:
    return write_dump
