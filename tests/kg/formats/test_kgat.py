"""KGAT's set, in both forms and out of the archive KGAT publishes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.kg.formats import export_graph, import_graph, write_graph
from kgrec.kg.formats.graph import GraphBuilder
from kgrec.kg.formats.kgat import KgatFolder, read

from .conftest import FILMS, make_graph

LISTS = {
    "entity_list.txt": 'org_id remap_id\nm.045wq1q 0\nm.03_28m 1\n"""I Love You 2\n 3\n',
    "relation_list.txt": "org_id remap_id\nhttp://rdf.freebase.com/ns/book.written_work.author 0\n",
    "item_list.txt": "org_id remap_id freebase_id\n0553092626 0 m.045wq1q\n",
    "kg_final.txt": "0 0 2\n1 0 3\n0 0 2\n",
}


def folder(path: Path, **changes: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in LISTS.items():
        (path / name).write_text(changes.get(name.split(".")[0], text))
    return path


def test_numbers_become_names(tmp_path: Path) -> None:
    counts = import_graph(folder(tmp_path / "kgat"), tmp_path / "out")
    assert {name: counts[name] for name in ("repeats", "entities", "entities_without_id", "links")} == {
        "repeats": 1, "entities": 4, "entities_without_id": 1, "links": 1,
    }  # fmt: skip
    assert [tuple(row.values()) for row in read_parquet(tmp_path / "out" / "triples.parquet").to_pylist()] == [
        ("m.03_28m", "book.written_work.author", "kgat:3"),
        ("m.045wq1q", "book.written_work.author", '"""I Love You'),
    ]
    assert read_parquet(tmp_path / "out" / "links.parquet")["entity_id"].to_pylist() == ["m.045wq1q"]


def test_items_come_first_and_share_their_entity_s_number(tmp_path: Path, films: Path) -> None:
    export_graph(films, tmp_path, "kgat")
    items = (tmp_path / "item_list.txt").read_text().splitlines()
    assert items == ["org_id remap_id freebase_id", "1 0 m.0dyb1", "7 1 item:7", "8 2 m.nofacts"]
    entities = (tmp_path / "entity_list.txt").read_text().splitlines()
    assert entities[:4] == ["org_id remap_id", "m.0dyb1 0", "item:7 1", "m.nofacts 2"]
    assert "person:“Weird Al” Yankovic" in " ".join(entities[4:])
    # KGAT's own way of reading the triples
    triples = np.unique(np.loadtxt(tmp_path / "kg_final.txt", dtype=np.int32), axis=0)
    assert triples.shape == (FILMS.triples.num_rows, 3)
    assert set(triples[:, [0, 2]].ravel()) <= set(range(len(entities) - 1))
    assert sorted(set(triples[:, 1])) == list(range(FILMS.relations.num_rows))


def test_the_archive_kgat_publishes(tmp_path: Path) -> None:
    plain, zipped = folder(tmp_path / "plain"), folder(tmp_path / "zipped")
    with zipfile.ZipFile(zipped / "kg_final.txt.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.write(zipped / "kg_final.txt", "kg_final.txt")
        target.writestr("__MACOSX/._kg_final.txt", "x")
    (zipped / "kg_final.txt").unlink()
    assert import_graph(zipped, tmp_path / "a") == import_graph(plain, tmp_path / "b")
    assert import_graph(zipped / "kg_final.txt.zip", tmp_path / "c")["triples"] == 2
    for name in ("triples", "entities", "links"):
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kg_final": "0 0 2\n0 0 9\n"}, r"kg_final\.txt, line 2: '0 0 9' is not head, relation, tail"),
        ({"kg_final": "0 0 2\n0 0\n"}, r"kg_final\.txt, line 2: '0 0' is not"),
        ({"kg_final": "0 0 2\n-1 0 2\n"}, r"kg_final\.txt, line 2"),
        ({"entity_list": "org_id remap_id\nm.a 0\nm.b 0\n"}, r"entity_list\.txt, line 3: gives the number '0' twice"),
        ({"entity_list": "org_id remap_id\nm.a x\n"}, r"entity_list\.txt, line 2: gives the number 'x' to something"),
        ({"entity_list": "org_id remap_id\nm.a\n"}, r"entity_list\.txt, line 2: 'm\.a' does not have the fields"),
        ({"relation_list": "org_id remap_id\n 0\n"}, r"relation_list\.txt, line 2: ' 0' does not have the fields"),
        ({"item_list": "org_id remap_id freebase_id\n1 9 m.a\n"}, r"item_list\.txt, line 2: gives item '1' the number 9, which no"),
        ({"item_list": "org_id remap_id freebase_id\n1 0\n"}, r"item_list\.txt, line 2: '1 0' does not have"),
        ({"item_list": "org_id remap_id freebase_id\n1 0 m.045wq1q\n1 1 m.03_28m\n"}, r"line 3: gives item '1' a second"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_graph(folder(tmp_path / "kgat", **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in LISTS if name != "kg_final.txt"])
def test_a_list_that_is_missing(tmp_path: Path, name: str) -> None:
    (folder(tmp_path / "kgat") / name).unlink()
    with pytest.raises(DataError, match=rf"needs \w+\.txt or {name} beside it"):
        import_graph(tmp_path / "kgat", tmp_path / "out")


@pytest.mark.parametrize(
    ("triple", "links", "message"),
    [
        (("a\nb", "r", "c"), {}, "holds a line end"),
        (("a", "r\rr", "c"), {}, "holds a line end"),
        (("a", "r", "c"), {"1 2": "a"}, "item '1 2' holds a blank"),
        (("a", "r", "c"), {"1": "a", "2": "a"}, "item '2' and another item are both 'a'"),
    ],
)
def test_what_lists_cannot_hold(
    tmp_path: Path, triple: tuple[str, str, str], links: dict[str, str], message: str
) -> None:
    write_graph(make_graph([triple], {}, links), tmp_path)
    with pytest.raises(DataError, match=message):
        export_graph(tmp_path, tmp_path / "out", "kgat")
    assert not (tmp_path / "out").exists()


def test_published_graph(real_data: Path) -> None:
    builder = GraphBuilder("kgat")
    read(real_data / "dbpedia-ml-1m", builder)
    graph = builder.graph()
    assert builder.counts == {
        "entities_listed": 13_805, "entities_without_id": 0, "triples_read": 205_521, "repeats": 12_432, "triples": 193_089,
        "relations": 11, "entities": 13_805, "entities_named": 13_805, "links": 2_983,
    }  # fmt: skip
    names = dict(zip(graph.entities["entity_id"].to_pylist(), graph.entities["name"].to_pylist(), strict=True))
    assert names["http://dbpedia.org/resource/Monty_Python's_Life_of_Brian"] == "Monty Python's Life of Brian"


def test_published_lists_of_amazon_book(tmp_path: Path, real_data: Path) -> None:
    for name in ("entity_list.txt", "relation_list.txt", "item_list.txt"):
        shutil.copyfile(real_data / "amazon-book" / name, tmp_path / name)
    (tmp_path / "kg_final.txt").write_text("0 0 30181\n")
    graph = KgatFolder(tmp_path / "kg_final.txt", {})
    assert list(graph.triples()) == [("m.045wq1q", "type.object.type", "kgat:30181")]
    assert (len(graph.entities), len(graph.links), graph.nameless) == (113_487, 24_915, 1)
    assert len(set(graph.entities.values())) == 113_487
