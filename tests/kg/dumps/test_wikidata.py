"""A hand-made piece of Wikidata's truthy dump, as published and from a web server."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from pytest_httpserver import HTTPServer

from kgrec.kg.literals import unescape
from kgrec.kg.store import ExtractSettings, build_store, open_store

TRUTHY = (Path(__file__).parent / "truthy.nt").read_bytes()

RDFS, SKOS, SCHEMA = (
    "http://www.w3.org/2000/01/rdf-schema#",
    "http://www.w3.org/2004/02/skos/core#",
    "http://schema.org/",
)


@pytest.fixture(params=["gz", "bz2"])
def packed(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    packing: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress}
    half = TRUTHY.index(b"\n", len(TRUTHY) // 2)
    pack = packing[request.param]
    return f"latest-truthy.nt.{request.param}", pack(TRUTHY[:half]) + pack(TRUTHY[half:])


def rows(store: Path, query: str) -> list[tuple[str, ...]]:
    with duckdb.connect() as connection:
        open_store(connection, store)
        return connection.execute(query + " ORDER BY ALL").fetchall()


def check(store: Path, counts: dict[str, object]) -> None:
    assert (counts["lines"], counts["malformed"]) == (20, 0)
    assert rows(store, "SELECT node(s), o FROM types") == [("Q103569", "Q11424"), ("Q56005", "Q5")]
    facts = rows(store, "SELECT node(s), p, node(o) FROM facts")
    assert ("Q103569", "wdt:P57", "Q56005") in facts
    assert ("Q103569", "wdt:P161", "_:genid0123abcd") in facts
    assert ("https://en.wikipedia.org/wiki/Alien_(film)", SCHEMA + "about", "Q103569") in facts
    literals = rows(store, "SELECT p, o FROM literals WHERE s = code('Q103569')")
    texts = [(p, unescape(o)) for p, o in literals if o.startswith('"')]
    assert sorted(texts) == sorted(
        [
            (RDFS + "label", "Alien"),
            (RDFS + "label", "Alien – Das unheimliche Wesen"),
            (SKOS + "prefLabel", "Alien"),
            (SKOS + "altLabel", "Alien: The Director's Cut"),
            (SCHEMA + "name", "Alien"),
            (SCHEMA + "description", "1979 film by Ridley Scott"),
            (SCHEMA + "description", "1979 film by Ridley Scott"),
            ("wdt:P345", "tt0078748"),
            ("wdt:P646", "/m/0mcl0"),
            ("wdt:P577", "1979-05-25T00:00:00Z"),
        ]
    )
    picture = "<http://commons.wikimedia.org/wiki/Special:FilePath/Alien%20%281979%29.jpg>"
    assert [(p, o) for p, o in literals if not o.startswith('"')] == [("wdt:P18", picture)]


def test_from_a_file(tmp_path: Path, packed: tuple[str, bytes]) -> None:
    path = tmp_path / packed[0]
    path.write_bytes(packed[1])
    check(tmp_path / "out", build_store([path], tmp_path / "out", ExtractSettings()))


def test_from_a_web_server(tmp_path: Path, packed: tuple[str, bytes], httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{packed[0]}").respond_with_data(packed[1], content_type="application/octet-stream")
    url = httpserver.url_for(f"/{packed[0]}")
    check(tmp_path / "out", build_store([url], tmp_path / "out", ExtractSettings()))
