"""N-Triples as written are read by another library; those of others are read here."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from pyoxigraph import Literal, NamedNode, RdfFormat, parse

from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.kg.formats import ImportSettings, export_graph, import_graph

from .conftest import FILMS

FB, RDFS = "http://rdf.freebase.com/ns/", "http://www.w3.org/2000/01/rdf-schema#"


def test_what_is_written_is_strict_and_published_names(tmp_path: Path, films: Path) -> None:
    export_graph(films, tmp_path, "ntriples")
    quads = list(parse(path=tmp_path / "graph.nt", format=RdfFormat.N_TRIPLES, lenient=False))
    facts = {(quad.subject.value, quad.predicate.value, quad.object.value) for quad in quads}
    assert (f"{FB}m.0dyb1", f"{FB}film.film.directed_by", f"{FB}m.0bxtg") in facts
    assert (f"{FB}m.0dyb1", "urn:kgrec:metadata.genre", "urn:kgrec:genre%3AChildren%27s%20%20Comedy") in facts
    assert ("http://www.wikidata.org/entity/Q42", "http://www.wikidata.org/prop/direct/P50",
            "urn:kgrec:http%3A%2F%2Fwww.wikidata.org%2Fentity%2FQ42") in facts  # fmt: skip
    assert (f"{FB}m.0dyb1", "urn:kgrec:type.object.type", f"{FB}film.film") in facts  # a fact here, no type
    assert any(
        quad.subject == NamedNode(f"{FB}m.0dyb1") and quad.predicate == NamedNode(f"{RDFS}label")
        and quad.object == Literal('Toy\t"Story"') for quad in quads
    )  # fmt: skip
    assert len(quads) == FILMS.triples.num_rows + 8  # three types, two names, a description, two things


def rdf(folder: Path, text: str, name: str = "x.nt") -> Path:
    (folder / name).write_text(text)
    return folder / name


DUMP = f"""\
<{FB}m.0dyb1>\t<{FB}type.object.name>\t"Histoire de jouets"@fr\t.
<{FB}m.0dyb1>\t<{FB}type.object.name>\t"Toy Story"@en-GB\t.
<{FB}m.0dyb1>\t<{RDFS}label>\t"A Toy Story"@en\t.
<{FB}m.0dyb1>\t<{FB}common.topic.description>\t"nobody's language"\t.
<{FB}m.0dyb1>\t<{FB}type.object.type>\t<{FB}base.toys.topic>\t.
<{FB}m.0dyb1>\t<{FB}type.object.type>\t<{FB}common.topic>\t.
<{FB}m.0dyb1>\t<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>\t<{FB}film.film>\t.
<{FB}m.0dyb1>\t<{FB}film.film.genre>\t_:b1\t.
<{FB}m.0dyb1>\t<{FB}film.film.genre>\t_:b1\t.
<{FB}m.0dyb1>\t<{FB}film.film.initial_release_date>\t"1995"\t.
"""


def test_a_dump_of_freebase(tmp_path: Path) -> None:
    counts = import_graph(rdf(tmp_path, DUMP), tmp_path / "out")
    assert {name: counts[name] for name in ("triples", "repeats", "literals_left_out", "type_statements")} == {
        "triples": 1, "repeats": 1, "literals_left_out": 1, "type_statements": 3,
    }  # fmt: skip
    rows = read_parquet(tmp_path / "out" / "entities.parquet").to_pylist()
    assert rows == [
        {"entity_id": "_:b1", "name": None, "description": None, "type": None},
        {"entity_id": "m.0dyb1", "name": "A Toy Story", "description": "nobody's language", "type": "film.film"},
    ]
    import_graph(tmp_path / "x.nt", tmp_path / "out", ImportSettings(languages=("FR", "en")))
    assert read_parquet(tmp_path / "out" / "entities.parquet")["name"].to_pylist() == [None, "Histoire de jouets"]


def test_other_forms_of_rdf_and_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "rdf"
    folder.mkdir()
    rdf(folder, f'@prefix f: <{FB}> .\nf:m.a f:x.y.z f:m.b ; <{RDFS}label> "A" .\n', "a.ttl")
    (folder / "b.nt.gz").write_bytes(gzip.compress(f"<{FB}m.a> <{FB}x.y.z> <{FB}m.c> .\n".encode()))
    counts = import_graph(folder, tmp_path / "out")
    assert (counts["format"], counts["triples"], counts["entities_named"]) == ("ntriples", 2, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("<http://a/x> <http://a/p> .\n", r"x\.nt, line 2: is not N-Triples"),
        ("<http://a/x> <http://a/p> <http://a/y>", r"x\.nt, line 2: is not N-Triples"),
        ('<http://a/x> <http://a/p> "a\n', r"x\.nt, line 2: is not N-Triples"),
        ("m.a film.film.genre m.b .\n", r"x\.nt, line 2: is not N-Triples"),
    ],
)
def test_a_line_that_is_none(tmp_path: Path, line: str, message: str) -> None:
    path = rdf(tmp_path, "<http://a/x> <http://a/p> <http://a/y> .\n" + line)
    with pytest.raises(DataError, match=message):
        import_graph(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_statements_about_statements(tmp_path: Path) -> None:
    path = rdf(tmp_path, "<http://a/x> <http://a/p> <<( <http://a/x> <http://a/p> <http://a/y> )>> .\n")
    with pytest.raises(DataError, match=r"x\.nt"):
        import_graph(path, tmp_path / "out")


def test_bad_utf8_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.nt").write_bytes(b'<http://a/x> <http://a/p> <http://a/y> .\n<http://a/x> <http://a/p> "\xff" .\n')
    with pytest.raises(DataError, match=r"line 2: is not N-Triples \(.*UTF-8"):
        import_graph(tmp_path / "x.nt", tmp_path / "out")
