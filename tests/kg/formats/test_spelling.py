"""Ids and IRIs turn into each other; relations have one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import NamedNode

from kgrec.kg.formats.spelling import from_iri, relation_name, to_iri


@pytest.mark.parametrize(
    ("identifier", "iri"),
    [
        ("m.0dyb1", "http://rdf.freebase.com/ns/m.0dyb1"),
        ("g.11x_y", "http://rdf.freebase.com/ns/g.11x_y"),
        ("film.film.genre", "http://rdf.freebase.com/ns/film.film.genre"),
        ("key/authority.imdb.title", "http://rdf.freebase.com/key/authority.imdb.title"),
        ("Q42", "http://www.wikidata.org/entity/Q42"),
        ("wdt:P345", "http://www.wikidata.org/prop/direct/P345"),
        ("http://dbpedia.org/resource/Café", "http://dbpedia.org/resource/Café"),
        ("metadata.genre", "urn:kgrec:metadata.genre"),
        ("a.b.c..d.e.f", "urn:kgrec:a.b.c..d.e.f"),
        ("item:5", "urn:kgrec:item%3A5"),
        ("person:Zoë Q", "urn:kgrec:person%3AZo%C3%AB%20Q"),
        ("http://a b", "urn:kgrec:http%3A%2F%2Fa%20b"),
        ("urn:kgrec:x", "urn:kgrec:urn%3Akgrec%3Ax"),
        ("_:b0", "urn:kgrec:_%3Ab0"),
    ],
)
def test_iris(identifier: str, iri: str) -> None:
    assert to_iri(identifier) == iri
    assert from_iri(iri) == identifier


@given(
    st.one_of(
        st.text(min_size=1), st.text().map("http://x.org/{}".format), st.text().map("http://rdf.freebase.com/{}".format)
    )
)
def test_every_id_has_an_iri_of_its_own(identifier: str) -> None:
    iri = to_iri(identifier)
    assert from_iri(iri) == identifier
    assert NamedNode(iri).value == iri  # refuses what is no IRI


def test_reserved_iris_are_not_used() -> None:
    iri = to_iri("type.object.type")
    assert to_iri("type.object.type", frozenset({iri})) == "urn:kgrec:type.object.type"
    assert to_iri("http://a.org/x", frozenset({"http://a.org/x"})) == "urn:kgrec:http%3A%2F%2Fa.org%2Fx"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("http://rdf.freebase.com/ns/film.film.genre", "film.film.genre"), ("<film.film.genre>", "film.film.genre"),
        ("/film/film/genre", "film.film.genre"), ("/a/b/c./d/e/f", "a.b.c..d.e.f"),
        ("http://dbpedia.org/ontology/director", "http://dbpedia.org/ontology/director"), ("a/b", "a/b"), ("/a//b", "/a//b"),
    ],
)  # fmt: skip
def test_relations(text: str, name: str) -> None:
    assert relation_name(text) == name
