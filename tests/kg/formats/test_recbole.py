"""RecBole's files, read as RecBole reads them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.kg.formats import import_graph, write_graph
from kgrec.kg.formats.convert import export_graph
from kgrec.kg.formats.graph import GraphBuilder
from kgrec.kg.formats.recbole import RESERVED, read, write

from .conftest import FILMS, make_graph

HEADER = "head_id:token\trelation_id:token\ttail_id:token\n"


def as_recbole_does(path: Path) -> list[tuple[str, ...]]:
    """The call in RecBole's ``Dataset._load_feat``."""
    frame = pd.read_csv(path, delimiter="\t", dtype=str, encoding="utf-8", engine="python")
    return [tuple(row) for row in frame.itertuples(index=False)]


def test_recbole_reads_what_is_written(tmp_path: Path, films: Path) -> None:
    export_graph(films, tmp_path / "ml", "recbole")
    assert sorted(path.name for path in (tmp_path / "ml").iterdir()) == ["entities.tsv", "ml.kg", "ml.link"]
    assert (tmp_path / "ml" / "ml.kg").read_text().startswith(HEADER)
    assert as_recbole_does(tmp_path / "ml" / "ml.kg") == [tuple(row.values()) for row in FILMS.triples.to_pylist()]
    assert as_recbole_does(tmp_path / "ml" / "ml.link") == [("1", "m.0dyb1"), ("7", "item:7"), ("8", "m.nofacts")]


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(st.one_of(st.text(min_size=1, max_size=5), st.sampled_from(sorted(RESERVED))), min_size=3, max_size=6)
)
def test_recbole_reads_any_id_that_is_written(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    graph = make_graph(zip(ids, ids[1:], ids[2:], strict=False), {}, {})
    folder = tmp_path_factory.mktemp("data")
    try:
        write(graph, folder, folder)
    except DataError:
        return
    assert as_recbole_does(folder / f"{folder.name}.kg") == [tuple(row.values()) for row in graph.triples.to_pylist()]


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_words_recbole_does_not_read_as_ids(tmp_path: Path, word: str) -> None:
    write_graph(make_graph([("a", "r", "b")], {}, {word: "a"}), tmp_path)
    with pytest.raises(DataError, match=r"is a word that RecBole would not read as an id"):
        export_graph(tmp_path, tmp_path / "out", "recbole")


def dataset(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_ids_get_one_spelling(tmp_path: Path) -> None:
    dataset(
        tmp_path,
        x_kg=HEADER + "/m/a\thttp://rdf.freebase.com/ns/film.film.genre\tm.b\nm.a\t/film/film/genre\tm.b\n",
        x_link="entity_id:token\titem_id:token\n/m/a\t1\n\n/entity/m.a\t1\n",
    )
    counts = import_graph(tmp_path, tmp_path / "out")
    assert {name: counts[name] for name in ("triples_read", "repeats", "triples", "links")} == {
        "triples_read": 2, "repeats": 1, "triples": 1, "links": 1,
    }  # fmt: skip
    assert read_parquet(tmp_path / "out" / "triples.parquet").to_pylist() == [
        {"head": "m.a", "relation": "film.film.genre", "tail": "m.b"}
    ]
    links = read_parquet(tmp_path / "out" / "links.parquet").to_pylist()
    assert links == [{"item_id": "1", "entity_id": "m.a", "method": "recbole", "score": 1.0}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x_kg": "head\trel\ttail\n"}, r"x\.kg, line 1: has the header"),
        ({"x_kg": ""}, r"x\.kg: is empty"),
        ({"x_kg": HEADER + "a\tr\tb\na\t \tb\n"}, r"x\.kg, line 3: has 2 of 3 fields"),
        ({"x_kg": HEADER + "a\tr\n"}, r"x\.kg, line 2: has 2 tab-separated fields, expected 3"),
        ({"x_kg": HEADER, "x_link": "item_id:token\tentity_id:token\n1\ta\n1\tb\n"}, r"x\.link, line 3: links item '1' a"),
        ({"x_kg": HEADER + "a\tr\tb\n", "entities_tsv": "entity_id\tname\n"}, r"entities\.tsv, line 1: has 2"),
        ({"x_kg": HEADER + "a\tr\tb\n", "entities_tsv": "a\tb\tc\td\n"}, r"entities\.tsv, line 1: should begin with the header"),
        ({"x_kg": HEADER, "y_kg": HEADER}, r"should have one \.kg file, has x\.kg, y\.kg"),
        ({"x_kg": HEADER, "a_link": "", "b_link": ""}, r"should have one \.link file, has a\.link, b\.link"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_graph(dataset(tmp_path, **files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [("m.a\tx\t\t\n/m/a\ty\t\t\n", "line 3: entity '/m/a' is there twice"), ("\tx\t\t\n", "line 2: has no id")],
)
def test_entities_that_do_not_fit(tmp_path: Path, row: str, message: str) -> None:
    dataset(tmp_path, x_kg=HEADER, entities_tsv="entity_id\tname\tdescription\ttype\n" + row)
    with pytest.raises(DataError, match=message):
        import_graph(tmp_path, tmp_path / "out")


def test_published_graph(real_data: Path) -> None:
    builder = GraphBuilder("recbole")
    read(real_data / "recbole", builder)  # films.kg and ml-1m.link: one of each
    graph = builder.graph()
    assert builder.counts == {
        "triples_read": 91_631, "repeats": 0, "triples": 91_631, "relations": 24, "entities": graph.entities.num_rows,
        "entities_named": 0, "links": 3_655,
    }  # fmt: skip
