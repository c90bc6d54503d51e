"""``kgrec link`` by hand: from a dump, from a store, and explained."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kgrec.cli.app import app
from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ITEMS

NS = "http://rdf.freebase.com/ns/"
FILMS = {"m.a": ("Silver Harbour", 1990), "m.b": ("Crimson Garden", 1991), "m.c": ("Quiet Winter", 1992)}


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["link", *(str(one) for one in arguments)])


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with items.parquet and dump.gz."""
    lines = []
    for entity, (name, year) in FILMS.items():
        terms = {"type.object.type": f"<{NS}film.film>", "type.object.name": f'"{name}"@en',
                 "film.film.initial_release_date": f'"{year}"^^<http://www.w3.org/2001/XMLSchema#gYear>'}  # fmt: skip
        lines += [f"<{NS}{entity}>\t<{NS}{predicate}>\t{term}\t.\n" for predicate, term in terms.items()]
    (tmp_path / "dump.gz").write_bytes(gzip.compress("".join(lines).encode()))
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in ITEMS}
    films = enumerate(FILMS.values(), start=1)
    rows = [{**empty, "item_id": str(at), "title": name, "year": year} for at, (name, year) in films]
    write_parquet(
        pa.Table.from_pylist([*rows, {**empty, "item_id": "9", "title": "Zardoz"}], schema=ITEMS),
        tmp_path / "items.parquet",
    )
    return tmp_path


def test_a_dump_is_linked_and_an_item_explained(desk: Path) -> None:
    result = invoke("--items", desk / "items.parquet", "--dump", desk / "dump.gz", "--out", desk / "out")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["links"] == 3
    links = read_parquet(desk / "out" / "links.parquet").to_pylist()
    assert {row["item_id"]: row["entity_id"] for row in links} == {"1": "m.a", "2": "m.b", "3": "m.c"}

    result = invoke("--explain", "quiet winter", "--items", desk / "items.parquet", "--out", desk / "out")
    assert result.exit_code == 0, result.output
    assert "m.c won: score 0.99" in result.stdout
    assert "nothing else was proposed" in result.stdout
    assert "0.93 +5.1" in result.stdout
    result = invoke("--explain", "9", "--items", desk / "items.parquet", "--out", desk / "out", "--json")
    assert json.loads(result.stdout)["verdict"].startswith("no link: nothing in the knowledge graph")


def test_a_store_and_settings_from_a_file(desk: Path) -> None:
    from kgrec.kg.store import ExtractSettings, build_store

    build_store([desk / "dump.gz"], desk / "store", ExtractSettings())
    (desk / "p.yaml").write_text("link:\n  min_score: 0.999\n  min_item_coverage: 0\n")
    given = ("--items", desk / "items.parquet", "--store", desk / "store", "--out", desk / "out")
    result = invoke(*given, "--params", desk / "p.yaml")
    assert json.loads(result.stdout)["links"] == 0
    assert json.loads(invoke(*given).stdout)["links"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "out"), "nothing to link by"),
        (("--store", "s"), "give the folder to write with --out"),
        (("--store", "s", "--dump", "d.gz", "--out", "out"), "not both"),
        (("--explain", "1", "--out", "nowhere"), "no such file"),
    ],
)
def test_what_is_missing_is_said(
    desk: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(desk)
    result = invoke("--items", "items.parquet", *arguments)
    assert result.exit_code == 1
    assert message in result.output
