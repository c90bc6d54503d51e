"""The small world of the model tests, and a trainer on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kgrec.graphs.data import GraphData
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer
from tests.worlds import make_world

MODELS: dict[str, dict[str, Any]] = {
    "multi_kg4rec": {
        "embedding_size": 8, "relation_size": 8, "layers": [8], "fusion_heads": 2, "fusion_hidden": 16, "fusion_blocks": 1,
        "fusion_refresh": 2,
    },
    "kgat": {"embedding_size": 8, "relation_size": 8, "layers": [8, 4]},
    "lightgcn": {"embedding_size": 8},
}  # fmt: skip


@pytest.fixture(scope="session")
def world() -> GraphData:
    return make_world()


@pytest.fixture
def trainer(world: GraphData, tmp_path: Path) -> Callable[..., Trainer]:
    """A trainer of ``name`` whose validation metric can be dictated."""

    def make(
        name: str = "kgat", state: str = "state", metrics: list[float] | None = None, seed: int = 7,
        settings: dict[str, Any] | None = None, **loop: Any,
    ) -> Trainer:  # fmt: skip
        torch.manual_seed(0)
        model = build_model(name, world, MODELS[name] if settings is None else settings)
        values = iter(metrics or [])

        def validate(model: Any) -> dict[str, float]:
            score = model.full_scores(torch.arange(3)).sum()
            return {"NDCG@20": next(values, float(score))}

        defaults: dict[str, Any] = {"epochs": 3, "train_batch_size": 10, "kg_batch_size": 40, "checkpoint_every": 1}
        return Trainer(
            model, world, LoopSettings(**{**defaults, **loop}), seed=seed, validate=validate, state=tmp_path / state
        )

    return make
