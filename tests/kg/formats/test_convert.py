"""Whatever a graph holds comes back from every format, or is refused; never changed."""

from __future__ import annotations

import gzip
import tempfile
import zipfile
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kgrec.data.io import sha256_file
from kgrec.errors import ConfigError, DataError
from kgrec.kg.formats import (
    FORMATS,
    FormatName,
    Graph,
    ImportSettings,
    export_graph,
    import_graph,
    read_graph,
    write_graph,
)
from kgrec.kg.formats.convert import WITH_LINKS
from kgrec.kg.formats.graph import GraphBuilder

from .conftest import FILMS, content, make_graph

every_format = pytest.mark.parametrize("name", FORMATS)

#: everything text can hold, with the characters that formats use for themselves often enough to meet
odd = st.text(
    st.one_of(st.sampled_from("\t\n\r\"' \\<>{}|^`%#:/.\0\ufeff\x85\u2028\xa0\U0001f600é"), st.characters(codec="utf-8")),
    min_size=1, max_size=8,
)  # fmt: skip
#: text no format has a reason to refuse
plain = st.text(st.sampled_from("ab Zé\\\"'<>{}%#:/,;😀ش"), min_size=1, max_size=8).map(lambda text: f"x{text}x")
mids = st.from_regex(r"[mg]\.0[0-9a-z_]{1,4}", fullmatch=True)


def graphs(words: st.SearchStrategy[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[Graph]:
    entities = st.one_of(
        mids, words, words.map("item:{}".format), words.map("person:{}".format), words.map("http://a.org/{}".format),
        words.map("http://rdf.freebase.com/ns/{}".format), words.map("urn:kgrec:{}".format), st.just("Q42"), st.just("film.film"),
    )  # fmt: skip
    relations = st.one_of(
        words,
        st.sampled_from(
            ["film.film.genre", "a.b.c..d.e.f", "wdt:P57", "type.object.type", "metadata.genre", "key/x.y"]
        ),
    )
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "description", "type"), texts))
    return st.builds(
        make_graph,
        st.lists(st.tuples(entities, relations, entities), min_size=1, max_size=6),
        st.dictionaries(entities, known, max_size=4),
        st.dictionaries(words, entities, max_size=3),
    )


def round_trip(graph: Graph, name: FormatName) -> Graph:
    """The graph as the format's files give it back. An error of the reading would be a fault of the writing."""
    with tempfile.TemporaryDirectory() as folder:
        FORMATS[name].write(graph, Path(folder) / "data", Path(folder))
        builder = GraphBuilder(name)
        try:
            FORMATS[name].read(Path(folder) / "data", builder)
        except DataError as error:
            raise AssertionError("wrote what it cannot read") from error
        return builder.graph()


def expected(graph: Graph, name: FormatName) -> dict[str, list[object]]:
    return content(graph) | ({} if name in WITH_LINKS else {"links": []})


@every_format
def test_a_graph_comes_back_through_its_files(tmp_path: Path, films: Path, name: FormatName) -> None:
    export_graph(films, tmp_path / "data", name)
    import_graph(tmp_path / "data", tmp_path / "back")
    assert content(read_graph(tmp_path / "back")) == expected(FILMS, name)


@every_format
@settings(max_examples=40, deadline=None)
@example(graph=make_graph([("Q42", "r", "item:0 2")], {}, {}))
@example(graph=make_graph([("Q42", "r", "item: 0")], {}, {}))
@example(graph=make_graph([("Q42", "r", "item:")], {}, {}))
@given(graph=graphs(odd, odd))
def test_any_text_comes_back_or_is_refused(name: FormatName, graph: Graph) -> None:
    try:
        back = round_trip(graph, name)
    except DataError:
        return
    assert content(back) == expected(graph, name)


@every_format
@settings(max_examples=15, deadline=None)
@given(graph=graphs(st.from_regex(r"[a-z]{1,3}", fullmatch=True), odd.map(lambda text: text.replace("\0", "x"))))
def test_any_name_comes_back(name: FormatName, graph: Graph) -> None:
    nodes = [node for _, node in graph.nodes()]
    assume(name != "kgat" or len(set(nodes)) == len(nodes))  # KGAT numbers an item and its entity once
    assert content(round_trip(graph, name)) == expected(graph, name)


@every_format
@settings(max_examples=15, deadline=None)
@given(words=st.lists(plain, min_size=3, max_size=9, unique=True))
def test_usual_characters_are_never_refused(name: FormatName, words: list[str]) -> None:
    known = {word: {"name": word, "type": word} for word in words[:2]}
    graph = make_graph(zip(words, words[1:], words[2:], strict=False), known, {"1": words[0]})
    assert content(round_trip(graph, name)) == expected(graph, name)


@every_format
@pytest.mark.parametrize(
    ("triple", "known", "links", "message"),
    [
        (("a\0b", "r", "b"), {}, {}, r"entity 'a\\x00b' holds a NUL"),
        (("", "r", "b"), {}, {}, "entity '' is no id"),
        (("/m/0x", "r", "b"), {}, {}, r"entity '/m/0x' would come back as 'm\.0x'"),
        ((" a", "r", "b"), {}, {}, "entity ' a' would come back as 'a'"),
        (("a", "/film/film/genre", "b"), {}, {}, r"relation '/film/film/genre' would come back as 'film\.film\.genre'"),
        (("a", "r", "b"), {"a": {"name": "x\0"}}, {}, r"text 'x\\x00' holds a NUL"),
        (("a", "r", "b"), {}, {"": "a"}, "item '' is no id"),
    ],
)
def test_what_no_format_can_hold(tmp_path: Path, name: FormatName, triple, known, links, message) -> None:
    write_graph(make_graph([triple], known, links), tmp_path / "in")
    with pytest.raises(DataError, match=message):
        export_graph(tmp_path / "in", tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@every_format
def test_an_entity_that_is_there_twice(tmp_path: Path, name: FormatName) -> None:
    write_graph(FILMS, tmp_path)
    entities = pq.read_table(tmp_path / "entities.parquet")
    pq.write_table(entities.take([0, 0, *range(len(entities))]), tmp_path / "entities.parquet")
    with pytest.raises(DataError, match="is there twice"):
        export_graph(tmp_path, tmp_path / "out", name)


@every_format
def test_equal_graphs_make_equal_bytes(tmp_path: Path, films: Path, name: FormatName) -> None:
    digests = []
    for turn in ("first", "second"):
        data, back = tmp_path / turn / "data", tmp_path / turn / "back"
        export_graph(films, data, name)
        import_graph(data, back)
        digests.append([(path.name, sha256_file(path)) for folder in (data, back) for path in sorted(folder.iterdir())])
    assert digests[0] == digests[1]
    assert not list(tmp_path.rglob(".*"))


def test_links_of_an_earlier_import_do_not_stay(tmp_path: Path, films: Path) -> None:
    for name in ("recbole", "pykeen"):
        counts = export_graph(films, tmp_path / name, name)  # type: ignore[arg-type]
        import_graph(tmp_path / name, tmp_path / "back")
    assert counts["links_left_out"] == 2
    assert not (tmp_path / "back" / "links.parquet").exists()


def test_links_from_elsewhere(tmp_path: Path, films: Path) -> None:
    links = (films / "links.parquet").rename(tmp_path / "links.parquet")
    assert export_graph(films, tmp_path / "a", "recbole")["items"] == 1  # item:7 is in the graph itself
    assert export_graph(films, tmp_path / "b", "recbole", links)["items"] == 3


def test_formats_are_known_by_their_files(tmp_path: Path, films: Path) -> None:
    for name in get_args(FormatName):
        export_graph(films, tmp_path / name, name)
        assert import_graph(tmp_path / name, tmp_path / "back")["format"] == name
    for file, name in (
        ("recbole/recbole.kg", "recbole"), ("kgat/kg_final.txt", "kgat"), ("pykeen/triples.tsv", "pykeen"),
        ("ntriples/graph.nt", "ntriples"),
    ):  # fmt: skip
        assert import_graph(tmp_path / file, tmp_path / "back")["format"] == name


@pytest.mark.parametrize("file", ["recbole/recbole.kg", "pykeen/triples.tsv", "ntriples/graph.nt", "kgat/kg_final.txt"])
def test_files_may_be_packed(tmp_path: Path, films: Path, file: str) -> None:
    name, _, base = file.partition("/")
    export_graph(films, tmp_path / name, name)  # type: ignore[arg-type]
    plain = tmp_path / file
    (tmp_path / f"{file}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / f"{file}.zip", "w") as archive:
        archive.write(plain, base)
    plain.unlink()
    for ending in ("gz", "zip"):
        import_graph(tmp_path / f"{file}.{ending}", tmp_path / "back")
        assert content(read_graph(tmp_path / "back")) == expected(FILMS, name)  # type: ignore[arg-type]


def test_a_folder_of_two_formats_is_asked_about(tmp_path: Path, films: Path) -> None:
    for name in ("pykeen", "ntriples"):
        export_graph(films, tmp_path / "data", name)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"several formats \(pykeen, ntriples\); name one with --format"):
        import_graph(tmp_path / "data", tmp_path / "out")
    assert import_graph(tmp_path / "data", tmp_path / "out", ImportSettings(format="ntriples"))["format"] == "ntriples"


@pytest.mark.parametrize(
    ("file", "message"), [("x.doc", "in no format known"), ("missing", "no such file"), ("empty.nt", "holds no triple")]
)
def test_what_cannot_be_imported(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / "x.doc").touch()
    (tmp_path / "empty.nt").write_text("# nothing\n")
    with pytest.raises(DataError, match=message):
        import_graph(tmp_path / file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_format_that_is_not_there(tmp_path: Path, films: Path) -> None:
    with pytest.raises(DataError, match="holds no file of the format kgat"):
        import_graph(films, tmp_path / "out", ImportSettings(format="kgat"))
    with pytest.raises(ConfigError, match="unknown format 'xml'; formats: recbole"):
        export_graph(films, tmp_path / "out", "xml")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such folder"):
        export_graph(tmp_path / "none", tmp_path / "out", "kgat")
