"""The model card carries metadata that hubs read, and numbers only with their protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kgrec.serving.card import front_matter


def read_card(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def test_front_matter_is_what_hubs_read(published: dict[str, Path]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard((published["bpr_mf"] / "README.md").read_text(encoding="utf-8"))
    assert card.data.license == "apache-2.0"
    assert "synthetic-data" in card.data.tags
    assert card.data.model_name == "kgrec-demo-bpr-mf"
    metrics = json.loads((published["bpr_mf"] / "metrics.json").read_text())
    values = {one.metric_name.split(" ")[0]: one.metric_value for one in card.data.eval_results}
    assert values == pytest.approx(metrics["test"])
    for one in card.data.eval_results:
        assert "candidates: all items; mask: train+valid" in one.metric_name
        assert one.dataset_args["mask"] == "train+valid"
        assert one.dataset_name == "demo (synthetic data)"


def test_body_says_synthetic_protocol_sources_and_baselines(published: dict[str, Path]) -> None:
    _, body = read_card(published["bpr_mf"])
    assert "**Synthetic data.**" in body
    assert "Protocol of every number on this page: **candidates: all items; " in body
    assert "; mask: train+valid; " in body
    assert "| BPR-MF (this model) |" in body
    assert "| EASE |" in body
    assert "| items with image | 86.7% |" in body
    assert "generated \\| seed 42" in body  # a bar inside a cell does not end it
    assert "`abababababab`" in body


def test_best_of_each_column_is_bold(published: dict[str, Path]) -> None:
    _, body = read_card(published["popularity"])
    metrics = json.loads((published["popularity"] / "metrics.json").read_text())
    rows = {"popularity": metrics["test"], **metrics["baselines"]}
    best = max(row["Recall@10"] for row in rows.values())
    assert f"**{best:.4f}**" in body
    assert f"**{rows['popularity']['Recall@10']:.4f}**" not in body


def test_tables_have_equal_numbers_of_cells(published: dict[str, Path]) -> None:
    _, body = read_card(published["bpr_mf"])
    block: list[int] = []
    for line in [*body.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.replace("\\|", "").count("|"))
        else:
            assert len(set(block)) <= 1, block
            block = []


def test_licence_of_real_data_is_left_to_the_data() -> None:
    config = {"recipe": "ml-1m", "synthetic": False, "model": "kgat", "name": "x"}
    head = front_matter(config, {"protocol": {}, "test": {}}, None, ["en"])
    assert (head["license"], head["license_link"]) == ("other", "lineage.json")
    assert "synthetic-data" not in head["tags"]
    assert front_matter(config, {"protocol": {}, "test": {}}, "mit", ["en"])["license"] == "mit"
