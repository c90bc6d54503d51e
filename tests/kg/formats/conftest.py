"""Graphs for the tests of formats: a hand-made one with what real ones have, and ways to make one of rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kgrec.kg.formats.graph import Graph, GraphBuilder, write_graph

Known = dict[str, dict[str, str | None]]


def make_graph(triples: Iterable[tuple[str, str, str]], known: Known, links: dict[str, str]) -> Graph:
    builder = GraphBuilder("test")
    builder.add_triples(triples)
    for entity, row in known.items():
        builder.add_entity(entity, **row)
    for item, entity in links.items():
        builder.add_link(item, entity)
    return builder.graph()


def content(graph: Graph) -> dict[str, list[Any]]:
    """What a round trip must keep: all but where relations and links came from."""
    return {
        "triples": graph.triples.to_pylist(),
        "entities": graph.entities.to_pylist(),
        "relations": graph.relations.select(["relation", "triples", "heads", "tails"]).to_pylist(),
        "links": graph.links.select(["item_id", "entity_id"]).to_pylist(),
    }


FILMS = make_graph(
    [
        ("m.0dyb1", "film.film.directed_by", "m.0bxtg"),
        ("m.0dyb1", "film.film.starring..film.performance.actor", "m.0bxtg"),
        ("m.0dyb1", "metadata.genre", "genre:Children's  Comedy"),
        ("m.0dyb1", "type.object.type", "film.film"),
        ("item:7", "metadata.director", "person:“Weird Al” Yankovic"),
        ("http://dbpedia.org/resource/Café_(film)", "http://dbpedia.org/ontology/starring", "_:b0"),
        ("Q42", "wdt:P50", "http://www.wikidata.org/entity/Q42"),
        ("m.self", "film.film.sequel", "m.self"),
    ],
    {
        "m.0dyb1": {"name": 'Toy\t"Story"', "description": 'A cowboy\r\ndoll \\ "x"\u2028', "type": "film.film"},
        "m.0bxtg": {"name": "Ёлки", "description": None, "type": "people.person"},
        "g.11alone": {"name": None, "description": None, "type": None},
        "Q42": {"name": None, "description": None, "type": "http://www.w3.org/2002/07/owl#Thing"},
    },
    {"1": "m.0dyb1", "8": "m.nofacts"},
)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with the hand-made graph."""
    write_graph(FILMS, tmp_path / "films")
    return tmp_path / "films"
