"""The evaluation file is ``metrics.json`` of the evaluate stage: one protocol, and per model its numbers.

``{"protocol": {...}, "models": {name: {"valid": {"Recall@20": 0.1, ...}, "test": {...}}}}``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec.data.io import read_json
from kgrec.errors import DataError

#: metrics a person looks for first, in this order; others follow by name
LEADING = ("Recall", "NDCG", "MRR", "HR", "Precision", "MAP")

#: how the models are written in the literature
LABELS = {
    "multi_kg4rec": "Multi-KG4Rec",
    "kgat": "KGAT",
    "lightgcn": "LightGCN",
    "bpr_mf": "BPR-MF",
    "ease": "EASE",
    "item_knn": "ItemKNN",
    "popularity": "Popularity",
}


@dataclass(frozen=True)
class Evaluation:
    """What the evaluate stage found."""

    protocol: dict[str, Any]
    """how the numbers were made: candidates, mask, users, ties"""
    models: dict[str, dict[str, Any]]
    """per model its parts; ``test`` and ``valid`` map the name of a metric to its mean over users"""

    def numbers(self, model: str, part: str = "test") -> dict[str, float]:
        """Metrics of one model, the leading ones first, short lists before long ones."""
        values = self.models[model].get(part) or {}
        return {name: float(values[name]) for name in sorted(values, key=metric_order)}

    def metrics(self) -> list[str]:
        """Names of all test metrics of all models, the leading ones first."""
        return sorted({name for model in self.models for name in self.numbers(model)}, key=metric_order)

    def protocol_line(self) -> str:
        """The protocol in one line, to stand beside every number."""
        return describe(self.protocol)


def read_evaluation(folder: Path | str) -> Evaluation:
    """Read ``metrics.json`` in ``folder``.

    :raises DataError: if it is missing or has no ``models``
    """
    path = Path(folder) / "metrics.json"
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict) or not content["models"]:
        raise DataError("has no models; run the evaluate stage on at least one model", path=path)
    return Evaluation(dict(content.get("protocol") or {}), dict(content["models"]))


def metric_order(name: str) -> tuple[int, str, int]:
    """Sort key: leading metrics first, then by name, then by list length."""
    base, _, k = name.partition("@")
    rank = LEADING.index(base) if base in LEADING else len(LEADING)
    return rank, base, int(k) if k.isdigit() else 0


def longest(names: Iterable[str]) -> list[str]:
    """The metrics at the greatest list length only, and those without a length."""
    names = list(names)
    lengths = [int(name.partition("@")[2]) for name in names if name.partition("@")[2].isdigit()]
    return [name for name in names if "@" not in name or name.endswith(f"@{max(lengths, default=0)}")]


def label(model: str) -> str:
    """The model's name for people: ``multi_kg4rec_wo_v`` becomes ``Multi-KG4Rec w/o v``."""
    known = max((name for name in LABELS if model == name or model.startswith(f"{name}_")), key=len, default="")
    rest = model[len(known) :].replace("_", " ").replace(" wo ", " w/o ")
    return LABELS.get(known, "") + rest


def describe(values: Mapping[str, Any]) -> str:
    """``{"candidates": "all items", "mask": "train+valid"}`` as ``candidates: all items; mask: train+valid``."""
    return "; ".join(f"{_plain(key)}: {_plain(value)}" for key, value in values.items() if value is not None)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(key)} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("_", " ")
