"""PyKEEN's triples, read as PyKEEN reads them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.kg.formats import export_graph, import_graph
from kgrec.kg.formats.pykeen import write

from .conftest import FILMS, make_graph


def as_pykeen_does(path: Path) -> list[list[str]]:
    """The call in ``pykeen.triples.utils.load_triples``."""
    frame = pd.read_csv(path, sep="\t", encoding="utf-8", dtype=str, header=None, usecols=None, keep_default_na=False)
    return frame.to_numpy().tolist()


def test_pykeen_reads_what_is_written(tmp_path: Path, films: Path) -> None:
    export_graph(films, tmp_path, "pykeen")
    assert as_pykeen_does(tmp_path / "triples.tsv") == [list(row.values()) for row in FILMS.triples.to_pylist()]


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(
        st.one_of(st.text(min_size=1, max_size=5), st.sampled_from(["NA", "#a", "\ufeffx"])), min_size=3, max_size=6
    )
)
def test_pykeen_reads_any_id_that_is_written(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    graph = make_graph(zip(ids, ids[1:], ids[2:], strict=False), {}, {})
    folder = tmp_path_factory.mktemp("data")
    try:
        write(graph, folder, folder)
    except DataError:
        return
    assert as_pykeen_does(folder / "triples.tsv") == [list(row.values()) for row in graph.triples.to_pylist()]


def test_benchmarks_as_pykeen_publishes_them(tmp_path: Path) -> None:
    lines = "/m/027rn\t/location/country/form_of_government\t/m/06cx9\n/m/a\t/x/y/z./p/q/r\t/m/b\n"
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(lines.encode()))
    counts = import_graph(tmp_path / "train.txt.gz", tmp_path / "out")
    assert counts["format"] == "pykeen"
    assert [tuple(row.values()) for row in read_parquet(tmp_path / "out" / "triples.parquet").to_pylist()] == [
        ("m.027rn", "location.country.form_of_government", "m.06cx9"), ("m.a", "x.y.z..p.q.r", "m.b"),
    ]  # fmt: skip


def test_several_files(tmp_path: Path) -> None:
    for name in ("train.tsv", "valid.tsv"):
        (tmp_path / name).write_text("a\tr\tb\n")
    with pytest.raises(DataError, match=r"has several \.tsv files \(train\.tsv, valid\.tsv\); name one"):
        import_graph(tmp_path, tmp_path / "out")
    assert import_graph(tmp_path / "valid.tsv", tmp_path / "out")["triples"] == 1


@pytest.mark.parametrize(
    ("row", "message"), [("a\tr\n", "line 2: has 2 tab-separated fields"), ("a\t\tb\n", "line 2: has an empty field")]
)
def test_what_does_not_fit(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text("a\tr\tb\n" + row)
    with pytest.raises(DataError, match=message):
        import_graph(tmp_path, tmp_path / "out")
