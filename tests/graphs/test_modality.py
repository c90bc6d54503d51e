from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgrec.data.io import write_parquet
from kgrec.errors import DataError
from kgrec.graphs.heterograph import build_heterograph, join_edges, relation_names
from kgrec.graphs.modality import Features, read_features, split_by_modality

KEYS = pa.array(["item:1", "item:2", "entity:a", "item:9"])
OTHERS = pa.array([None, "entity:two", None, "entity:nine"])


def write(path, keys, vectors):
    values = np.asarray(vectors, np.float16)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    write_parquet(pa.table({"key": pa.array(keys, pa.string()), "vector": lists}), path)


def test_vectors_lie_at_their_nodes(tmp_path):
    write(tmp_path / "f.parquet", ["entity:a", "item:1", "nowhere"], [[1, 2], [3, 4], [5, 6]])
    found = read_features(tmp_path / "f.parquet", KEYS, OTHERS)
    assert found.present.tolist() == [True, False, True, False]
    assert found.feature.tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    assert found.feature.dtype == np.float16
    assert found.unmatched == 1


def test_second_key_serves_where_the_first_is_missing(tmp_path):
    write(tmp_path / "f.parquet", ["entity:two", "entity:nine", "item:9"], [[1], [2], [3]])
    found = read_features(tmp_path / "f.parquet", KEYS, OTHERS)
    assert found.feature[:, 0].tolist() == [0, 1, 0, 3]
    assert found.unmatched == 1


def test_empty_table_means_all_missing(tmp_path):
    write(tmp_path / "f.parquet", [], np.zeros((0, 5)))
    found = read_features(tmp_path / "f.parquet", KEYS, OTHERS)
    assert found.feature.shape == (4, 5)
    assert not found.present.any()


def test_key_twice_is_refused(tmp_path):
    write(tmp_path / "f.parquet", ["item:1", "item:1"], [[1], [2]])
    with pytest.raises(DataError, match="key twice"):
        read_features(tmp_path / "f.parquet", KEYS, OTHERS)


def test_vector_that_is_not_finite_is_refused(tmp_path):
    write(tmp_path / "f.parquet", ["item:2", "item:1"], [[1], [np.nan]])
    with pytest.raises(DataError, match=r"f\.parquet: the vector of 'item:1' is not finite"):
        read_features(tmp_path / "f.parquet", KEYS, OTHERS)


def test_other_vector_type_is_refused(tmp_path):
    write_parquet(pa.table({"key": ["item:1"], "vector": [[1.0]]}), tmp_path / "f.parquet")
    with pytest.raises(DataError, match="not a fixed-size list"):
        read_features(tmp_path / "f.parquet", KEYS, OTHERS)


def test_modality_graphs_share_edges_and_differ_in_features():
    names = relation_names(["a"], True)
    graph = build_heterograph((1, 2, 1), names, join_edges(np.array([[0, 1]]), np.array([[1, 1, 3]]), 2, 4, True))
    image = Features(np.array([[1], [0], [2]], np.float16), np.array([True, False, True]), 0)
    text = Features(np.ones((3, 4), np.float16), np.ones(3, bool), 0)
    graphs = split_by_modality(graph, {"image": image, "text": text})
    assert set(graphs) == {"image", "text"}
    for one in graphs.values():
        assert one.canonical_etypes == graph.canonical_etypes
        assert all(one.num_edges(kind) == graph.num_edges(kind) for kind in graph.canonical_etypes)
    assert graphs["image"].nodes["item"].data["feature"].tolist() == [[1], [0]]
    assert graphs["image"].nodes["item"].data["present"].tolist() == [True, False]
    assert graphs["image"].nodes["entity"].data["feature"].tolist() == [[2]]
    assert graphs["text"].nodes["entity"].data["feature"].shape == (1, 4)
    assert graphs["text"].nodes["item"].data["present"].dtype == torch.bool
    assert "feature" not in graph.nodes["item"].data
    assert "feature" not in graphs["image"].nodes["user"].data


def test_features_of_another_graph_are_refused():
    names = relation_names([], True)
    graph = build_heterograph((1, 2, 1), names, join_edges(np.array([[0, 1]]), np.zeros((0, 3), np.int64), 1, 4, True))
    with pytest.raises(DataError, match="'image' has 2 rows"):
        split_by_modality(graph, {"image": Features(np.ones((2, 1), np.float16), np.ones(2, bool), 0)})
