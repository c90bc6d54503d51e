from __future__ import annotations

import sys

import pytest
import torch

from kgrec.errors import DataError
from kgrec.graphs.dgl_compat import dgl, heterograph, load_graphs, save_graphs


def graph(n_entities: int = 2):
    none = torch.zeros(0, dtype=torch.int32)
    made = heterograph(
        {
            ("user", "interact", "item"): (torch.tensor([0, 1, 1]), torch.tensor([2, 0, 0])),
            ("item", "film.film/genre", "entity"): (none, none),
        },
        num_nodes_dict={"user": 2, "item": 3, "entity": n_entities},
    )
    made.nodes["item"].data["feature"] = torch.arange(6).view(3, 2).half()
    made.nodes["item"].data["present"] = torch.tensor([True, False, True])
    made.nodes["entity"].data["feature"] = torch.zeros(n_entities, 2).half()
    return made


@pytest.mark.parametrize("n_entities", [0, 2])
def test_round_trip_keeps_types_edges_and_data(tmp_path, n_entities):
    save_graphs(tmp_path / "g.dgl", [graph(n_entities)])
    (loaded,) = load_graphs(tmp_path / "g.dgl")
    assert loaded.canonical_etypes == graph().canonical_etypes
    assert loaded.num_nodes("entity") == n_entities
    heads, tails = loaded.edges(etype="interact")
    assert heads.tolist() == [0, 1, 1]
    assert tails.tolist() == [2, 0, 0]  # parallel edges stay
    assert loaded.nodes["item"].data["feature"].dtype == torch.float16
    assert loaded.nodes["item"].data["present"].tolist() == [1, 0, 1]


def test_equal_graphs_give_equal_bytes(tmp_path):
    for name in "ab":
        noise = [torch.rand(1000) for _ in range(20)]  # stir the memory DGL's header is cut from
        save_graphs(tmp_path / name, [graph()])
        del noise
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not any((tmp_path / "a").read_bytes()[32:4096])


def test_plain_dgl_reads_the_file(tmp_path):
    save_graphs(tmp_path / "g.dgl", [graph()])
    (loaded,), labels = dgl.load_graphs(str(tmp_path / "g.dgl"))
    assert labels == {}
    assert loaded.num_edges("interact") == 3


@pytest.mark.parametrize("kept", [0, 10, 3000, 4500, 5000])
def test_truncated_file_is_an_error_that_names_it(tmp_path, kept):
    path = tmp_path / "g.dgl"
    save_graphs(path, [graph()])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"g\.dgl: is not a complete DGL graph file"):
        load_graphs(path)


def test_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.dgl: no such file"):
        load_graphs(tmp_path / "nothing.dgl")


def test_stand_in_for_graphbolt_says_why_it_is_empty():
    if not (sys.modules["dgl.graphbolt"].__doc__ or "").startswith("Empty"):
        pytest.skip("this torch has DGL's graphbolt library")
    with pytest.raises(AttributeError, match="no graphbolt library for torch"):
        _ = sys.modules["dgl.graphbolt"].ItemSampler
