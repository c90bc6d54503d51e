from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pyoxigraph as ox
import pytest
from pytest_httpserver import HTTPServer

from kgrec.errors import DataError
from kgrec.kg.dumps import open_blocks

TURTLE = """@prefix : <http://e/> .
:alien a :Film ; :name "Alien"@en, "Obcy \\u00e9"@pl ; :year 1979 .
:alien :cast [ :actor :weaver ; :roles ( :ripley ) ] .
_:x :sees _:y .
"""
XML = b"""<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://e/">
<rdf:Description rdf:about="http://e/a"><e:b rdf:resource="http://e/c"/></rdf:Description>
<rdf:Description rdf:ab"""


def read(path: str | Path, **options: int) -> str:
    return b"".join(block.data.tobytes() for block in open_blocks(path, **options)).decode()


def graph(lines: str) -> set[str]:
    """The triples of N-Triples lines, by another way."""
    found = ox.Dataset(ox.parse(lines, ox.RdfFormat.N_TRIPLES))
    found.canonicalize(ox.CanonicalizationAlgorithm.UNSTABLE)
    return {str(quad) for quad in found}


@pytest.mark.parametrize(
    ("suffix", "syntax"),
    [
        (".ttl", ox.RdfFormat.TURTLE),
        (".rdf", ox.RdfFormat.RDF_XML),
        (".owl", ox.RdfFormat.RDF_XML),
        (".nq", ox.RdfFormat.N_QUADS),
        (".trig", ox.RdfFormat.TRIG),
        (".n3", ox.RdfFormat.N3),
        (".jsonld", ox.RdfFormat.JSON_LD),
        (".nt", ox.RdfFormat.N_TRIPLES),
    ],
)
def test_every_syntax_gives_the_same_triples(tmp_path: Path, suffix: str, syntax: ox.RdfFormat) -> None:
    quads = list(ox.parse(TURTLE, ox.RdfFormat.TURTLE))
    path = tmp_path / f"a{suffix}.gz"
    path.write_bytes(gzip.compress(ox.serialize(quads, format=syntax) or b""))
    text = read(path)
    assert text.count("\n") == 10
    assert graph(text) == graph("".join(f"{quad.triple} .\n" for quad in quads))


def test_blank_nodes_are_numbered_alike_on_every_run(tmp_path: Path) -> None:
    path = tmp_path / "a.ttl"
    path.write_text(TURTLE)
    assert len({read(path) for _ in range(50)}) == 1
    assert "_:x <http://e/sees> _:y ." in read(path)
    assert read(path).count("_:anonymous") == 6


def test_blocks_are_cut_in_the_rewritten_text(tmp_path: Path) -> None:
    path = tmp_path / "a.ttl.bz2"
    path.write_bytes(bz2.compress("".join(f"<http://e/s{i}> <http://e/p> {i} ." for i in range(500)).encode()))
    whole = list(open_blocks(path, block=4000))
    assert len(whole) > 5
    assert b"".join(block.data.tobytes() for block in whole).count(b"\n") == 500
    rest = open_blocks(path, block=4000, skip_blocks=3)
    assert [(b.first_line, b.data.tobytes()) for b in rest] == [(b.first_line, b.data.tobytes()) for b in whole[3:]]


def test_quads_keep_their_lines(tmp_path: Path) -> None:
    lines = [
        '<http://e/a> <http://e/b> "x"@en <http://e/g> .',
        "",
        "# a comment",
        "<http://e/a> <http://e/b> <http://e/c> .",
        "<http://e/a> <http://e/b> no .",
        "\xff",
        "_:a <http://e/b> _:c _:g .",
    ]
    path = tmp_path / "a.nq"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    assert b"".join(b.data.tobytes() for b in open_blocks(path)).split(b"\n") == [
        b'<http://e/a> <http://e/b> "x"@en .',
        b"",
        b"",
        b"<http://e/a> <http://e/b> <http://e/c> .",
        b"<http://e/a> <http://e/b> no .",
        b"\xff",
        b"_:a <http://e/b> _:c .",
        b"",
    ]


def test_a_statement_that_cannot_be_read_is_one_line_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.ttl"
    path.write_text("@prefix : <http://e/> .\n:a :b :c .\n:a none:x :c .\n:a :b <relative> .\n:d :e :f .\n")
    first, *bad, last = read(path).splitlines()
    assert first == "<http://e/a> <http://e/b> <http://e/c> ."
    assert [line[:8] for line in bad] == ["!line 3:", "!line 4:"]
    assert "none: has not been declared" in bad[0]
    assert last == "<http://e/d> <http://e/e> <http://e/f> ."


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("open.ttl", b'<http://e/a> <http://e/b> <http://e/c> .\n<http://e/a> <http://e/b> "x .\n', 2),
        ("latin.ttl", b'<http://e/a> <http://e/b> <http://e/c> .\n<http://e/a> <http://e/b> "\xff" .\n', 2),
        ("open.rdf", XML, None),
    ],
)
def test_a_document_that_breaks_off_is_an_error(tmp_path: Path, name: str, text: bytes, line: int | None) -> None:
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(DataError, match="cannot be read to its end") as caught:
        read(path)
    assert caught.value.line == line
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(text * 2)[:-12])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(path)


def test_relative_iris_of_a_web_page(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a.ttl").respond_with_data("<x> <http://e/p> <#y> .")
    url = httpserver.url_for("/a.ttl")
    assert read(url) == f"<{url[:-5]}x> <http://e/p> <{url}#y> .\n"
