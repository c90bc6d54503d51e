"""The train stage on tables as the graph stage writes them: what lands, what is refused, what is not done twice."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from kgrec.errors import CheckpointError, ConfigError, DataError
from kgrec.graphs.build import GraphSettings, build_graph
from kgrec.models.checkpoint import read_config
from kgrec.training.run import TrainSettings, train_models
from tests.films import films

SMALL = {"embedding_size": 8, "relation_size": 4, "layers": [4]}
MODELS: dict[str, Any] = {
    "full": {"model": "multi_kg4rec", "settings": {**SMALL, "fusion_heads": 2, "fusion_hidden": 8}},
    "without_image": {"model": "multi_kg4rec", "settings": {**SMALL, "modalities": ["text"], "fusion_heads": 2}},
    "without_both": {"model": "multi_kg4rec", "settings": {**SMALL, "modalities": []}},
    "kgat": {"settings": SMALL},
    "ease": {},
}


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    """Run the stage; keyword arguments replace settings."""
    world = films()
    paths = world.write(tmp_path / "in")
    build_graph(**paths, out=tmp_path / "graph", settings=GraphSettings(sequence_length=4))

    def run(on_epoch: Any = None, **changes: Any) -> dict[str, Any]:
        settings = TrainSettings(**{"models": MODELS, "epochs": 2, "device": "cpu", **changes})
        return train_models(
            tmp_path / "graph", paths["split"], tmp_path / "models", settings, tmp_path / "state", on_epoch
        )

    return run


def weights(tmp_path: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (tmp_path / "models").glob("*/model.safetensors")}


def test_every_entry_lands_with_config_and_history(stage: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    summary = stage(on_epoch=rows.append)
    assert set(summary) == set(MODELS) == {path.name for path in (tmp_path / "models").iterdir()}
    assert [row["epoch"] for row in rows if row["model"] == "full"] == [1, 2]
    config = read_config(tmp_path / "models" / "full")
    assert config["model"] == "multi_kg4rec"
    assert config["training"]["epochs"] == 2
    with open(tmp_path / "models" / "kgat" / "history.csv", newline="") as stream:
        history = list(csv.DictReader(stream))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert {"bpr", "transr", "valid_NDCG@20", "seconds"} <= set(history[0])
    assert summary["ease"]["ended"] == "closed form"


def test_without_text_and_image_is_kgat_to_the_bit(stage: Any, tmp_path: Path) -> None:
    stage()
    from safetensors.torch import load_file

    ours, theirs = (load_file(tmp_path / "models" / name / "model.safetensors") for name in ("without_both", "kgat"))
    assert ours.keys() == theirs.keys()
    assert all((ours[key] == theirs[key]).all() for key in ours)


def test_same_inputs_and_seed_give_the_same_weights_with_or_without_the_state(stage: Any, tmp_path: Path) -> None:
    import shutil

    stage()
    first = weights(tmp_path)
    stage()
    assert weights(tmp_path) == first
    shutil.rmtree(tmp_path / "state")
    stage()
    assert weights(tmp_path) == first
    stage(seed=43)
    assert weights(tmp_path)["kgat"] != first["kgat"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"kgta": {}}}, r"train\.models\.kgta: unknown model 'kgta'; known: .*kgat"),
        (
            {"models": {"kgat": {"settings": {"layer": [4]}}}},
            r"train\.models\.kgat\.settings: unknown key 'layer'.*'layers'",
        ),
        (
            {"models": {"kgat": {"training": {"epoch": 4}}}},
            r"train\.models\.kgat\.training: unknown key 'epoch'.*'epochs'",
        ),
        ({"models": {"kgat": {"settings": SMALL}}, "valid_metric": "NDCG"}, "should look like NDCG@20"),
        ({"device": "quantum"}, "not one torch knows"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    stage: Any, tmp_path: Path, changes: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(**changes)
    assert not (tmp_path / "models").exists()


def test_a_damaged_state_leaves_the_old_models_alone(stage: Any, tmp_path: Path) -> None:
    stage()
    before = weights(tmp_path)
    for path in (tmp_path / "state").glob("full-*/state.safetensors"):
        path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="delete it"):
        stage()
    assert weights(tmp_path) == before


def test_an_empty_validation_split_is_refused(stage: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "in" / "split" / "valid.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(DataError, match="choose the epoch"):
        stage()
