from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kgrec.errors import DataError
from kgrec.graphs.build import GraphSettings, build_graph
from kgrec.graphs.data import GraphData, load_graph
from kgrec.graphs.mapped import cache_key, open_mapped, write_arrays
from kgrec.graphs.ops import Adjacency
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer

IDS = ("heads", "rels", "tails", "train_users", "train_items", "sequences", "hops")


@pytest.fixture
def built(world, tmp_path) -> Path:
    build_graph(**world.write(tmp_path), out=tmp_path / "out", settings=GraphSettings())
    return tmp_path / "out"


def parts(cache: Path) -> Path:
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    return folder


def test_equal_to_what_is_read_into_memory(built, tmp_path):
    plain, mapped = load_graph(built), load_graph(built, mapped=tmp_path / "cache")
    for name in IDS:
        assert getattr(mapped, name).dtype == getattr(plain, name).dtype
        assert torch.equal(getattr(mapped, name), getattr(plain, name)), name
    assert mapped.relations == plain.relations
    assert mapped.modalities.keys() == plain.modalities.keys()
    for name, modality in mapped.modalities.items():
        assert modality.feature.dtype == torch.float16
        assert torch.equal(modality.feature.float(), plain.modalities[name].feature)
        assert torch.equal(modality.present, plain.modalities[name].present)


def test_the_stored_adjacency_is_that_of_the_edges(built, tmp_path):
    mapped = load_graph(built, mapped=tmp_path / "cache")
    wanted = Adjacency.from_edges(mapped.heads, mapped.tails, (mapped.n_nodes,) * 2)
    assert mapped.stored_adjacency is not None
    for name in ("indptr", "tail", "t_indptr", "t_head", "t_edge", "chunks", "t_chunks"):
        assert torch.equal(getattr(mapped.adjacency(), name), getattr(wanted, name)), name


@pytest.mark.parametrize("model", ["kgat", "multi_kg4rec"])
def test_training_is_the_same_to_the_bit(built, tmp_path, model):
    def train(data: GraphData, state: Path) -> tuple[dict, list]:
        torch.manual_seed(0)
        made = build_model(model, data, {"embedding_size": 8})
        loop = LoopSettings(epochs=2, train_batch_size=2, valid_metric="loss", stopping_step=9)
        scores = iter((0.1, 0.2))
        progress = Trainer(made, data, loop, seed=1, validate=lambda _: {"loss": next(scores)}, state=state).run()
        losses = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in progress.history]
        return made.state_dict(), losses

    plain, losses = train(load_graph(built), tmp_path / "a")
    mapped, again = train(load_graph(built, mapped=tmp_path / "cache"), tmp_path / "b")
    assert losses == again
    assert all(torch.equal(plain[name], mapped[name]) for name in plain)


def test_the_second_opening_reads_no_dgl_file_and_writing_to_a_tensor_changes_no_file(built, tmp_path, monkeypatch):
    first = open_mapped(built, tmp_path / "cache")
    kept = first.heads.clone()
    first.heads.zero_()
    monkeypatch.setattr("kgrec.graphs.mapped.read_structure", None)
    assert torch.equal(open_mapped(built, tmp_path / "cache").heads, kept)


def test_another_graph_has_another_key(built, world, tmp_path):
    other = tmp_path / "other"
    build_graph(**world.but(train=world.train[:-1]).write(other), out=other / "out", settings=GraphSettings())
    assert cache_key(built) != cache_key(other / "out")


def _shorten(folder: Path) -> None:
    path = folder / "tails.npy"
    path.write_bytes(path.read_bytes()[:-8])


def _scramble(folder: Path) -> None:
    ids = np.load(folder / "tails.npy")
    np.save(folder / "tails.npy", ids + 1_000_000)


def _swap(folder: Path) -> None:
    np.save(folder / "heads.npy", np.load(folder / "heads.npy").astype(np.int32))


@pytest.mark.parametrize(
    "damage",
    [_shorten, _scramble, _swap, lambda folder: (folder / "graph.json").unlink(), lambda f: (f / "rels.npy").unlink()],
    ids=["shortened", "out of range", "other type", "no contents", "file gone"],
)
def test_a_damaged_cache_is_written_again(built, tmp_path, damage):
    kept = open_mapped(built, tmp_path / "cache").tails.clone()
    damage(parts(tmp_path / "cache"))
    assert torch.equal(open_mapped(built, tmp_path / "cache").tails, kept)
    assert np.load(parts(tmp_path / "cache") / "heads.npy").dtype == np.int64


def test_a_folder_without_a_graph_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="run the graph stage first"):
        open_mapped(tmp_path / "empty", tmp_path / "cache")


_MEASURE = """
import json, sys
from pathlib import Path
import torch
from kgrec.graphs.mapped import _open

def anonymous():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

torch.ones(10).aminmax()
before = anonymous()
data = _open(Path(sys.argv[1]))
print(json.dumps([anonymous() - before, int(data.modalities["image"].feature[7].float().sum()), data.heads.sum().item()]))
"""


def test_opening_takes_no_memory_of_its_own(tmp_path):
    """Two million edges and 128 MB of features: the process's own memory grows by less than a tenth of the files."""
    n, m = 125_000, 2_000_000
    heads = torch.arange(n + 1).repeat_interleave(m // n)[:m]
    data = GraphData(
        n_users=1, n_items=1, n_entities=n - 1, relations=["interact"], heads=heads, rels=torch.zeros_like(heads),
        tails=heads, train_users=torch.tensor([0]), train_items=torch.tensor([0]),
    )  # fmt: skip
    feature = torch.ones(n, 512, dtype=torch.float16)
    write_arrays(data, iter([("image", feature, torch.ones(n, dtype=torch.bool))]), tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size > 200 * 10**6
    output = subprocess.run([sys.executable, "-c", _MEASURE, str(tmp_path)], check=True, capture_output=True).stdout
    grown, row, total = json.loads(output)
    assert (row, total) == (512, int(heads.sum()))
    assert grown < size / 10
