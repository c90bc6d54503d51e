"""The evaluation file is read in the order people read metrics; models are called what the literature calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kgrec.errors import DataError
from kgrec.serving.evaluation_file import describe, label, longest, read_evaluation


def test_leading_metrics_come_first(tmp_path: Path) -> None:
    values = {"Coverage@5": 1.0, "NDCG@20": 0.1, "NDCG@5": 0.2, "Recall@20": 0.3}
    (tmp_path / "metrics.json").write_text(json.dumps({"protocol": {"k": 1}, "models": {"a": {"test": values}}}))
    results = read_evaluation(tmp_path)
    assert list(results.numbers("a")) == ["Recall@20", "NDCG@5", "NDCG@20", "Coverage@5"]
    assert results.numbers("a", "valid") == {}
    assert longest(results.metrics()) == ["Recall@20", "NDCG@20"]


def test_the_evaluation_of_the_run(world: Any) -> None:
    results = read_evaluation(world.evaluation)
    assert set(results.models) == {"bpr_mf", "ease", "item_knn", "popularity"}
    assert "mask: train+valid" in results.protocol_line()


@pytest.mark.parametrize("content", ["[]", "{}", '{"models": {}}', '{"models": [1]}'])
def test_a_file_without_models(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json: has no models; run the evaluate stage"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("multi_kg4rec", "Multi-KG4Rec"), ("multi_kg4rec_wo_v", "Multi-KG4Rec w/o v"), ("ease", "EASE"),
        ("easement", "easement"), ("my_model", "my model"),
    ],
)  # fmt: skip
def test_labels(model: str, wanted: str) -> None:
    assert label(model) == wanted


def test_describe() -> None:
    values = {"mask": "train+valid", "topk": [10, 20], "users": 1234, "exact": True, "note": None, "by": {"a_b": 1}}
    assert describe(values) == "mask: train+valid; topk: 10, 20; users: 1,234; exact: yes; by: a b 1"
