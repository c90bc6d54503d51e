"""The protocol fixes what a number means: which items are candidates, which are masked, which users count, which
formulas.

All items of the catalogue are ranked for every user who has a relevant item; seen items are masked; the mean is over
those users. Validation masks the training items, the test masks what ``mask`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from kgrec.config import Settings
from kgrec.data.io import read_parquet
from kgrec.data.schemas import INTERACTIONS
from kgrec.errors import DataError
from kgrec.evaluation.metrics import METRICS, Metric, Profile, coverage, user_metrics
from kgrec.evaluation.ranking import Scorer, UserItems, find_hits, rank_topk
from kgrec.graphs.vocab import Vocabulary


class EvaluateSettings(Settings):
    """How models are ranked, measured and compared."""

    topk: tuple[Annotated[int, Field(ge=1)], ...] = Field((10, 20), min_length=1)
    """List lengths."""
    metrics: tuple[Metric, ...] = Field(METRICS, min_length=1)
    """Metrics, each at every list length. Coverage of the catalogue is always added."""
    metric_profile: Profile = "standard"
    """Whose formulas: see ``kgrec.evaluation.metrics``."""
    mask: Literal["train+valid", "train"] = "train+valid"
    """Items that are no candidates in the test. With ``train`` a user's validation items compete with the test
    items."""
    baseline: str | None = None
    """Compare every model with this one. None compares every pair."""
    bootstrap: int = Field(1000, ge=100)
    """Resamples of the users behind each confidence interval."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the confidence intervals."""
    seed: int = 42
    """Seed of the resamples."""
    block: int | None = Field(None, ge=1)
    """Users scored at once; None chooses by the size of the catalogue."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU if there is one."""

    @field_validator("topk", "metrics")
    @classmethod
    def check_distinct(cls, values: tuple) -> tuple:
        """Refuse a value given twice."""
        if len(set(values)) != len(values):
            raise ValueError("has a value twice")
        return values


def read_pairs(path: Path, vocabulary: Vocabulary) -> np.ndarray:
    """Users and items of a part of the split. shape: (2, P), int64"""
    table = read_parquet(path, INTERACTIONS)
    return np.stack([vocabulary.encode_users(table["user_id"]), vocabulary.encode_items(table["item_id"])])


def evaluate(
    model: Scorer,
    users: np.ndarray | torch.Tensor | None,
    seen: UserItems,
    relevant: UserItems,
    settings: EvaluateSettings,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Mean of every metric over users, for validation during training.

    :param users: shape: (B,); those without a relevant item are left out. None: all users that have one
    :param seen: items that are no candidates
    :param relevant: items to be found
    :param device: where the model is
    :return: ``{"Recall@20": 0.25, ...}``
    :raises DataError: if no user has a relevant item
    :raises TrainingError: if the model gives a score that is not finite
    """
    chosen = evaluated_users(relevant, users)
    lists = rank_users(model, chosen, seen, settings, device=device)
    return mean_metrics(measure(lists, chosen, relevant, settings))


def evaluated_users(relevant: UserItems, users: np.ndarray | torch.Tensor | None = None) -> np.ndarray:
    """Users with a relevant item, ascending, int64. :raises DataError: if there are none"""
    having = relevant.counts() > 0
    chosen = np.flatnonzero(having) if users is None else np.asarray(users, np.int64)
    chosen = chosen[having[chosen]]
    if not len(chosen):
        raise DataError("no user has an interaction to evaluate on; give the split more validation and test share")
    return chosen


def rank_users(
    model: Scorer, users: np.ndarray, seen: UserItems, settings: EvaluateSettings, *, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Lists as long as the longest metric needs, made in evaluation mode. shape: (B, K), see ``rank_topk``"""
    training = isinstance(model, torch.nn.Module) and model.training
    if training:
        model.eval()  # type: ignore[attr-defined]
    try:
        return rank_topk(model, users, seen, max(settings.topk), block=settings.block, device=device)
    finally:
        if training:
            model.train()  # type: ignore[attr-defined]


def measure(
    lists: np.ndarray, users: np.ndarray, relevant: UserItems, settings: EvaluateSettings
) -> dict[str, np.ndarray]:
    """Metrics of every user. shape: (B,) each"""
    hits = find_hits(lists, users, relevant)
    return user_metrics(hits, relevant.counts()[users], settings.topk, settings.metrics, settings.metric_profile)


def mean_metrics(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean of every column."""
    return {name: float(values.mean()) for name, values in columns.items()}


def coverages(lists: np.ndarray, n_items: int, settings: EvaluateSettings) -> dict[str, float]:
    """Coverage of the catalogue at every list length."""
    return {f"Coverage@{k}": coverage(lists, n_items, k) for k in settings.topk}
