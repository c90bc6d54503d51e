from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import read_parquet, write_json, write_parquet
from kgrec.data.split import SplitSettings
from kgrec.errors import CheckpointError, ConfigError, DataError
from kgrec.evaluation.protocol import EvaluateSettings
from kgrec.evaluation.run import evaluate_models
from kgrec.graphs.build import GraphSettings, build_graph
from kgrec.graphs.data import load_graph
from kgrec.models.checkpoint import save_model
from kgrec.models.registry import build_model

QUICK = EvaluateSettings(topk=(2, 5), bootstrap=100, device="cpu")


def write_split(folder, parts):
    for name, rows in parts.items():
        columns = {
            "user_id": [u for u, _ in rows],
            "item_id": [i for _, i in rows],
            "rating": [5.0] * len(rows),
            "timestamp": [None] * len(rows),
        }
        write_parquet(pa.table(columns, schema=schemas.INTERACTIONS), folder / f"{name}.parquet")
    write_json(SplitSettings(seed=3).model_dump(mode="json"), folder / "protocol.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """40 users who like odd or even items of 20; two trained models."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(1)
    parts = {"train": [], "valid": [], "test": []}
    for user in range(40):
        liked = generator.permutation(np.arange(user % 2, 20, 2))
        for name, items in (("train", liked[:5]), ("valid", liked[5:6]), ("test", liked[6:8] if user else [])):
            parts[name] += [(f"u{user}", f"i{item}") for item in items]
    write_split(folder / "split", parts)
    for name, schema in (("items", "ITEMS"), ("links", "LINKS"), ("triples", "TRIPLES"), ("entities", "ENTITIES")):
        write_parquet(getattr(schemas, schema).empty_table(), folder / f"{name}.parquet")
    (folder / "features").mkdir()
    paths = {name: folder / f"{name}.parquet" for name in ("items", "links", "triples", "entities")}
    build_graph(folder / "split", **paths, features=folder / "features", out=folder / "graph", settings=GraphSettings())
    data = load_graph(folder / "graph")
    for name in ("ease", "popularity"):
        model = build_model(name, data)
        model.fit(data)
        save_model(model, name, data, folder / "models" / name)
    return folder


@pytest.fixture(scope="module")
def evaluated(made):
    return evaluate_models(made / "models", made / "graph", made / "split", made / "out", QUICK), made / "out"


def test_counts(evaluated):
    assert evaluated[0] == {
        "models": 2, "users_evaluated": 39, "users_without_test_item": 1, "test_interactions": 78,
        "comparisons": 12,
    }  # fmt: skip


def test_metrics_equal_brute_force(evaluated, made):
    """Popularity by hand: most training users first, ties by item."""
    content = json.loads((evaluated[1] / "metrics.json").read_text())
    data = load_graph(made / "graph")
    parts = {name: read_parquet(made / "split" / f"{name}.parquet").to_pylist() for name in ("train", "valid", "test")}
    rows = {name: {(row["user_id"], row["item_id"]) for row in part} for name, part in parts.items()}
    counts = np.bincount(data.train_items.numpy(), minlength=20)
    order = sorted(range(20), key=lambda item: (-counts[item], item))
    hits, valid_hits = [], []
    for user in (f"u{index}" for index in range(40)):
        masked = {i for u, i in rows["train"] | rows["valid"] if u == user}
        wanted = {i for u, i in rows["test"] if u == user}
        if wanted:
            shown = [f"i{item}" for item in order if f"i{item}" not in masked][:2]
            hits.append(len(wanted & set(shown)) / len(wanted))
        seen = {i for u, i in rows["train"] if u == user}
        shown = [f"i{item}" for item in order if f"i{item}" not in seen][:2]
        valid_hits.append(len({i for u, i in rows["valid"] if u == user} & set(shown)))
    numbers = content["models"]["popularity"]
    assert numbers["test"]["Recall@2"] == pytest.approx(np.mean(hits))
    assert numbers["valid"]["Recall@2"] == pytest.approx(np.mean(valid_hits))
    assert content["models"]["ease"]["test"]["Recall@2"] > numbers["test"]["Recall@2"] + 0.2
    assert 0 < numbers["test"]["Coverage@2"] <= 1
    assert content["protocol"]["mask"] == "train+valid"
    assert content["protocol"]["split"] == "random_per_user 0.8:0.1:0.1, seed 3"
    assert content["protocol"]["users"] == 39


def test_users_table(evaluated):
    table = read_parquet(evaluated[1] / "users.parquet")
    assert table.num_rows == 2 * 39
    assert table.column_names[:4] == ["model", "user_id", "activity", "test_items"]
    means = table.group_by("model").aggregate([("Recall@5", "mean")]).to_pylist()
    models = json.loads((evaluated[1] / "metrics.json").read_text())["models"]
    for row in means:
        assert row["Recall@5_mean"] == pytest.approx(models[row["model"]]["test"]["Recall@5"])
    assert set(table["activity"].to_pylist()) == {"5"}


def test_significance(evaluated):
    rows = json.loads((evaluated[1] / "significance.json").read_text())["comparisons"]
    assert {tuple(row["models"]) for row in rows} == {("ease", "popularity")}
    recall = next(row for row in rows if row["metric"] == "Recall@2")
    assert recall["p_wilcoxon_holm"] < 0.05
    assert recall["low"] > 0


def test_plots(evaluated):
    folder = evaluated[1] / "plots"
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in ("metrics", "groups", "differences") for kind in ("csv", "png")
    }
    for path in folder.glob("*.png"):
        Image.open(path).verify()


def test_second_run_and_other_block_give_the_same_bytes(evaluated, made, tmp_path):
    evaluate_models(made / "models", made / "graph", made / "split", tmp_path, QUICK.model_copy(update={"block": 7}))
    for path in evaluated[1].rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(evaluated[1])).read_bytes(), path.name


def test_mask_train_lets_validation_items_compete(evaluated, made, tmp_path):
    settings = QUICK.model_copy(update={"mask": "train", "baseline": "popularity"})
    evaluate_models(made / "models", made / "graph", made / "split", tmp_path, settings)
    lower, higher = (
        json.loads((folder / "metrics.json").read_text())["models"]["ease"]["test"]
        for folder in (tmp_path, evaluated[1])
    )
    assert lower["MRR@5"] < higher["MRR@5"]


def test_one_model_alone(made, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/ease").symlink_to(made / "models/ease")
    counts = evaluate_models(tmp_path / "models", made / "graph", made / "split", tmp_path / "out", QUICK)
    assert counts["comparisons"] == 0
    assert not (tmp_path / "out/plots/differences.png").exists()


def test_unknown_baseline_is_an_error(made, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluate\.baseline is 'kgat'; the trained models are ease, popularity"):
        evaluate_models(
            made / "models", made / "graph", made / "split", tmp_path, QUICK.model_copy(update={"baseline": "kgat"})
        )


def test_no_models_is_an_error(made, tmp_path):
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "holds no model")):
        with pytest.raises(DataError, match=message):
            evaluate_models(folder, made / "graph", made / "split", tmp_path / "out", QUICK)


def test_empty_test_split_is_an_error(made, tmp_path):
    parts = {name: read_parquet(made / "split" / f"{name}.parquet") for name in ("train", "valid", "test")}
    for name, table in parts.items():
        write_parquet(table.slice(0, 0) if name == "test" else table, tmp_path / "split" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"test\.parquet: has no interactions to evaluate on"):
        evaluate_models(made / "models", made / "graph", tmp_path / "split", tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_graph_of_another_split_is_an_error(made, tmp_path):
    for name in ("train", "valid", "test"):
        table = read_parquet(made / "split" / f"{name}.parquet")
        write_parquet(table.slice(1) if name == "train" else table, tmp_path / "split" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"interactions are not those of .*train\.parquet"):
        evaluate_models(made / "models", made / "graph", tmp_path / "split", tmp_path / "out", QUICK)


def test_damaged_model_is_an_error(made, tmp_path):
    (tmp_path / "models/ease").mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        content = (made / "models/ease" / file).read_bytes()
        (tmp_path / "models/ease" / file).write_bytes(content if file == "config.json" else content[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        evaluate_models(tmp_path / "models", made / "graph", made / "split", tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_cuda_without_a_device_is_an_error(made, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device is 'cuda'"):
        evaluate_models(
            made / "models", made / "graph", made / "split", tmp_path, QUICK.model_copy(update={"device": "cuda"})
        )
