"""The benchmark's two graphs and RecBole's files hold the same interactions and triples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import train_step_data
from kgrec.data.demo import DemoSettings
from kgrec.errors import DataError
from kgrec.graphs.data import load_graph


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of 60 users."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_step_data, "BENCH", tmp_path_factory.mktemp("bench"))
        demo = DemoSettings.model_validate({"users": 60, "items": 60})
        built = train_step_data.build(demo=demo)
        before = (built / "made_of.json").stat().st_mtime_ns
        assert train_step_data.build(demo=demo) == built
        assert (built / "made_of.json").stat().st_mtime_ns == before
    return built


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """Fields and rows of an atomic file."""
    lines = path.read_text().splitlines()
    return lines[0].split("\t"), np.array([line.split("\t") for line in lines[1:]], np.int64)


def test_atomic_files_hold_the_edges_of_the_graph_that_stores_triples_one_way(folder: Path) -> None:
    data = load_graph(folder / "graph_one_way")
    fields, triples = read(folder / "atomic/demo/demo.kg")
    assert fields == ["head_id:token", "relation_id:token", "tail_id:token"]
    _, train = read(folder / "atomic/demo/demo.train.inter")
    interact = np.zeros(len(train), np.int64)
    edges = np.concatenate(
        [triples, np.stack([train[:, 0], interact, train[:, 1]], 1), np.stack([train[:, 1], interact, train[:, 0]], 1)]
    )
    expected = np.stack([data.heads, data.rels, data.tails], 1)
    assert np.array_equal(np.unique(edges, axis=0), np.unique(expected, axis=0))
    assert len(edges) == len(expected)


def test_the_graph_with_inverses_holds_every_edge_both_ways(folder: Path) -> None:
    one_way, both = load_graph(folder / "graph_one_way"), load_graph(folder / "graph")
    _, triples = read(folder / "atomic/demo/demo.kg")
    half = both.n_relations // 2
    forward = (both.rels > 0) & (both.rels < half)
    assert np.array_equal(np.unique(triples, axis=0), np.stack([both.heads, both.rels, both.tails], 1)[forward])
    assert len(both.heads) == 2 * (len(triples) + len(both.train_users))
    assert both.n_relations == 2 * one_way.n_relations


def test_parts_of_the_split_are_disjoint_and_known_to_recbole(folder: Path) -> None:
    split, n_users = train_step_data.read_split(folder), load_graph(folder / "graph").n_users
    pairs = {part: {(u, i + n_users) for u, i in columns.T.tolist()} for part, columns in split.items()}
    for part, columns in pairs.items():
        _, rows = read(folder / f"atomic/demo/demo.{part}.inter")
        assert {tuple(row) for row in rows.tolist()} == columns
    assert sum(map(len, pairs.values())) == len(set.union(*pairs.values()))
    _, links = read(folder / "atomic/demo/demo.link")
    assert {item for columns in pairs.values() for _, item in columns} <= set(links[:, 0].tolist())


def test_random_features_leave_absent_rows_zero(folder: Path) -> None:
    data = train_step_data.with_random_features(load_graph(folder / "graph"), width=8)
    image = data.modalities["image"]
    assert int(image.present.sum()) == data.n_items
    assert not image.feature[~image.present].any()
    assert image.feature[image.present].abs().sum(1).min() > 0


def test_data_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step_data, "BENCH", tmp_path / "bench")
    with pytest.raises(DataError, match="--data"):
        train_step_data.build(tmp_path / "nowhere")
