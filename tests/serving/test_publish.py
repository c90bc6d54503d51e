"""What is published answers as the model it was published from, and says where it comes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import kgrec
from kgrec.data.io import sha256_file
from kgrec.errors import CheckpointError, ConfigError, DataError
from kgrec.graphs.data import load_graph
from kgrec.models.checkpoint import load_model
from kgrec.serving.publish import PublishSettings, publish_model


@pytest.mark.parametrize("name", ["bpr_mf", "ease", "popularity"])
def test_round_trip_ranks_as_the_model_does(world: Any, published: dict[str, Path], name: str) -> None:
    data = load_graph(world.graph)
    model = load_model(world.models / name, data)
    folder = kgrec.load(published[name])
    users = [0, 7, 39]
    with torch.no_grad():
        scores = model.full_scores(torch.tensor(users)).numpy().copy()
    seen = {user: {folder.items.index(item) for item in folder.seen(folder.users[user])} for user in users}
    for row, user in zip(scores, users, strict=True):
        row[list(seen[user])] = -np.inf
        wanted = [int(i) for i in np.argsort(-row, kind="stable") if row[i] > -np.inf]
        answer = folder.recommend(folder.users[user], k=30)[0]
        assert [folder.items.index(one.item_id) for one in answer] == wanted
        assert [one.score for one in answer] == pytest.approx(row[wanted].tolist(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "kind", "files"),
    [
        ("bpr_mf", "vectors", {"user_vectors.parquet", "item_vectors.parquet"}),
        ("ease", "item_similarity", set()),
        ("popularity", "popularity", set()),
    ],
)
def test_folder_holds_what_its_kind_needs(published: dict[str, Path], name: str, kind: str, files: set[str]) -> None:
    folder = published[name]
    always = {"config.json", "model.safetensors", "vocab.parquet", "seen.parquet", "metrics.json", "lineage.json"}
    assert {path.name for path in folder.iterdir()} == always | files | {"README.md"}
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["users"], config["items"], config["synthetic"]) == (kind, 40, 30, True)
    assert set(config["files"]) == {"model.safetensors", "vocab.parquet", "seen.parquet"} | files
    for file, entry in config["files"].items():
        assert entry["sha256"] == sha256_file(folder / file)


def test_vectors_are_plain_parquet(published: dict[str, Path]) -> None:
    table = pq.read_table(published["bpr_mf"] / "item_vectors.parquet")
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[16]"
    assert table["id"].to_pylist() == [str(i) for i in range(1, 31)]


def test_seen_is_train_and_valid(world: Any, published: dict[str, Path]) -> None:
    seen = pq.read_table(published["bpr_mf"] / "seen.parquet").to_pylist()
    wanted = {
        (row["user_id"], row["item_id"], part)
        for part in ("train", "valid")
        for row in pq.read_table(world.split / f"{part}.parquet").to_pylist()
    }
    assert {(row["user_id"], row["item_id"], row["split"]) for row in seen} == wanted


def test_items_without_a_title_in_the_graph_get_the_catalogue_s(published: dict[str, Path]) -> None:
    vocab = pq.read_table(published["ease"] / "vocab.parquet").to_pylist()
    titles = {row["id"]: row["title"] for row in vocab if row["type"] == "item"}
    assert titles["1"] == "Silent Harbour"
    assert None not in titles.values()


def test_lineage_hashes_every_input(world: Any, published: dict[str, Path]) -> None:
    lineage = json.loads((published["bpr_mf"] / "lineage.json").read_text())
    inputs = lineage["inputs"]
    for key, path in {
        "split/train.parquet": world.split / "train.parquet",
        "graph/collaborative.dgl": world.graph / "collaborative.dgl",
        "media/images/images-00001.parquet": world.media / "images" / "images-00001.parquet",
        "items/items.parquet": world.items,
        "model/model.safetensors": world.models / "bpr_mf" / "model.safetensors",
    }.items():
        assert inputs[key]["sha256"] == sha256_file(path)
    assert inputs["items/items.parquet"]["rows"] == 30
    assert lineage["origins"]["sources"]["recipe"] == "demo"
    assert str(world.root) not in json.dumps(lineage)


def test_publishing_twice_gives_equal_bytes(world: Any, published: dict[str, Path], tmp_path: Path) -> None:
    world.publish("bpr_mf", tmp_path / "again")
    for path in published["bpr_mf"].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_dvc_lock_gives_its_hashes(world: Any, tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  kg:\n    cmd: x\n    deps:\n    - {path: a, md5: '12'}\n    outs: []\n")
    world = type(world)(**{**world.__dict__, "sources": {"lock": lock, "note": {"recipe": "own"}}})
    world.publish("popularity", tmp_path / "out")
    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert lineage["origins"]["lock"] == {"kg": {"deps": {"a": "12"}, "outs": {}}}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["recipe"], config["synthetic"]) == ("own", False)


def test_a_model_that_was_not_evaluated_is_refused(world: Any, tmp_path: Path) -> None:
    shutil.copytree(world.models / "ease", tmp_path / "ease_2")
    with pytest.raises(DataError, match=r"no numbers of 'ease_2', only of bpr_mf, ease.*evaluate it first"):
        publish_model(
            tmp_path / "ease_2", world.evaluation, world.graph, world.split, world.items, None, world.sources,
            tmp_path / "out", PublishSettings(),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_scores_that_the_folder_cannot_give_are_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgrec.models.base import TwoTowerRecommender

    scores = TwoTowerRecommender.full_scores
    monkeypatch.setattr(TwoTowerRecommender, "full_scores", lambda self, users: scores(self, users) + 0.5)
    with pytest.raises(CheckpointError, match="do not give the model's own scores"):
        world.publish("bpr_mf", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_split_of_another_graph_is_refused(world: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    shutil.copytree(world.split, tmp_path / "split")
    table = pq.read_table(tmp_path / "split" / "valid.parquet")
    stranger = pa.Table.from_pylist([{**table.to_pylist()[0], "item_id": "999"}], schema=table.schema)
    pq.write_table(pa.concat_tables([table, stranger]), tmp_path / "split" / "valid.parquet")
    with pytest.raises(DataError, match=r"valid\.parquet: item_id '999' is not in the vocabulary"):
        type(world)(**{**world.__dict__, "split": tmp_path / "split"}).publish("ease", tmp_path / "out")


def test_a_damaged_lineage_file_is_refused(world: Any, tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: 3")
    with pytest.raises(DataError, match=r"neither JSON nor a dvc\.lock"):
        type(world)(**{**world.__dict__, "sources": tmp_path / "dvc.lock"}).publish("ease", tmp_path / "out")


def test_name_must_be_one_a_hub_takes() -> None:
    from kgrec.config import parse_settings

    with pytest.raises(ConfigError, match=r"publish: name"):
        parse_settings(PublishSettings, {"name": "a b/c"}, place="publish")
