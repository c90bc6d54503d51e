from __future__ import annotations

import pytest
import torch

from kgrec.errors import DataError
from kgrec.graphs.data import GraphData, ModalityData
from kgrec.graphs.ops.adjacency import Adjacency


def data(**changes) -> GraphData:
    """One user, two items, one entity."""
    fields = {
        "n_users": 1, "n_items": 2, "n_entities": 1, "relations": ["interact", "interact^-1"],
        "heads": torch.tensor([0, 1]), "rels": torch.tensor([0, 1]), "tails": torch.tensor([1, 0]),
        "train_users": torch.tensor([0]), "train_items": torch.tensor([0]),
        "modalities": {"image": ModalityData(torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool))},
        "sequences": torch.tensor([[1, 0], [2, -1]]), "hops": torch.tensor([[0, 1], [0, -1]]),
    }  # fmt: skip
    return GraphData(**{**fields, **changes})


def test_sizes():
    assert data().n_nodes == 4
    assert data().n_relations == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": torch.tensor([0])}, "equal length"),
        ({"tails": torch.tensor([1, 4])}, r"tails holds 1\.\.4, outside 0\.\.3"),
        ({"rels": torch.tensor([0, 2])}, "rels holds"),
        ({"train_items": torch.tensor([2])}, "train_items holds"),
        ({"train_users": torch.tensor([-1])}, "train_users holds"),
        ({"train_users": torch.tensor([0, 0])}, "equal length"),
        ({"hops": None}, "come together"),
        ({"sequences": torch.zeros(1, 2).long(), "hops": torch.zeros(1, 2).long()}, "expected 2 rows"),
        ({"modalities": {"image": ModalityData(torch.zeros(2, 2), torch.zeros(2).bool())}}, "'image' has 2 rows"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        data(**changes)


def test_features_and_presence_must_agree():
    with pytest.raises(DataError, match=r"\(n, d\) and \(n,\)"):
        ModalityData(torch.zeros(3, 2), torch.zeros(2, dtype=torch.bool))


def test_to_keeps_what_is_absent():
    moved = data(sequences=None, hops=None, modalities={}).to("cpu")
    assert moved.sequences is None
    assert moved.modalities == {}
    assert moved.tails.tolist() == [1, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_to_cuda():
    moved = data().to("cuda")
    assert {moved.heads.device.type, moved.modalities["image"].present.device.type} == {"cuda"}


def test_adjacency_of_another_graph_is_refused():
    other = Adjacency.from_edges(torch.tensor([0]), torch.tensor([1]), (4, 4))
    with pytest.raises(DataError, match="adjacency has 1 edges, the graph 2"):
        data(stored_adjacency=other)


def test_adjacency_has_the_edges_of_the_graph():
    adjacency = data().adjacency()
    assert adjacency.heads().tolist() == [0, 1]
    assert adjacency.tail.tolist() == [1, 0]
