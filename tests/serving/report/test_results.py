"""The page's numbers are the files' numbers, seen from the published model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kgrec.errors import DataError
from kgrec.serving.evaluation_file import read_evaluation
from kgrec.serving.report.results import comparisons, group_charts, learning_curves, metric_table, model_order, read_csv


def test_models_are_ordered_and_the_best_marked(world: Any) -> None:
    results = read_evaluation(world.evaluation)
    order = model_order(results, "Recall@10")
    values = [results.numbers(model)["Recall@10"] for model in order]
    assert values == sorted(values, reverse=True)
    rows = metric_table(results, order, ["Recall@10", "NDCG@10"])
    for column in (0, 1):
        cells = [row["cells"][column] for row in rows]
        assert [cell["value"] for cell in cells if cell["best"]] == [max(cell["value"] for cell in cells)]


def test_comparisons_are_seen_from_the_model(world: Any) -> None:
    results = read_evaluation(world.evaluation)
    rows, chart = comparisons(world.evaluation, "bpr_mf", "Recall@10")
    assert {row["other"] for row in rows} == {"ease", "item_knn", "popularity"}
    for row in rows:
        wanted = results.numbers("bpr_mf")["Recall@10"] - results.numbers(row["other"])["Recall@10"]
        assert row["difference"] == pytest.approx(wanted)
        assert row["low"] <= row["difference"] <= row["high"]
        assert (row["better"] > row["worse"]) == (wanted > 0) or row["better"] == row["worse"]
    assert "ItemKNN" in chart


def test_groups(world: Any) -> None:
    charts = group_charts(world.evaluation, "Recall@10", "10", {"bpr_mf": 0, "ease": 1})
    assert [title for title, _, _ in charts] == [
        "Recall@10 by user activity", "Recall@10 by item popularity", "Places by item popularity",
    ]  # fmt: skip
    assert all("BPR-MF" in chart and "EASE" in chart and "Popularity" not in chart for _, _, chart in charts)


def test_curves_and_closed_forms(world: Any) -> None:
    (curve,), closed = learning_curves(world.models, ["bpr_mf", "ease", "popularity"])
    assert (curve.model, curve.epochs, curve.best_epoch, curve.ended) == ("bpr_mf", 12, 9, "early stop")
    assert curve.seconds == 18
    assert (curve.loss_names, curve.metric_names) == (["bpr", "l2"], ["Recall@10", "NDCG@10"])
    assert "Recall@10, 9: 0.1889" in curve.metrics
    assert closed == ["ease", "popularity"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("epoch,bpr\n", "holds no rows"), ("a,b\n1,2\n", "lacks column.s. epoch; it has a, b")],
)
def test_bad_history(world: Any, tmp_path: Path, content: str | None, message: str) -> None:
    shutil.copytree(world.models / "bpr_mf", tmp_path / "m")
    (tmp_path / "m" / "history.csv").unlink()
    if content is not None:
        (tmp_path / "m" / "history.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        learning_curves(tmp_path, ["m"])


def test_bad_significance(tmp_path: Path) -> None:
    (tmp_path / "significance.json").write_text(json.dumps({"comparisons": [{"p": 1}]}))
    with pytest.raises(DataError, match=r"significance\.json: is not what evaluate writes"):
        comparisons(tmp_path, "a", "Recall@10")


def test_read_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,\n")
    assert read_csv(tmp_path / "a.csv", ("x",)) == [{"x": "1", "y": ""}]
