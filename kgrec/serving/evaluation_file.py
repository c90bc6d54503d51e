"""The evaluation file is ``metrics.json`` of the evaluate stage: one protocol, and per model its numbers.

``{"protocol": {...}, "models": {name: {"valid": {"Recall@20": 0.1, ...}, "test": {...}, ...}}}``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec.data.io import read_json
from kgrec.errors import DataError

#: metrics a person looks for first, in this order; others follow by name
LEADING = ("Recall", "NDCG", "MRR", "HR", "Hit", "Precision", "MAP", "coverage")


@dataclass(frozen=True)
class Evaluation:
    """What the evaluate stage found."""

    protocol: dict[str, Any]
    """how the numbers were made: split, mask, candidates, list lengths"""
    models: dict[str, dict[str, Any]]
    """per model its parts; ``test`` and ``valid`` map the name of a metric to its mean over users"""
    more: dict[str, Any]
    """all other keys of the file: significance, groups"""

    def numbers(self, model: str, part: str = "test") -> dict[str, float]:
        """Metrics of one model, the leading ones first, short lists before long ones."""
        values = self.models[model].get(part) or {}
        flat = {name: float(v) for name, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        return dict(sorted(flat.items(), key=lambda pair: metric_order(pair[0])))

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
    more = {key: value for key, value in content.items() if key not in ("protocol", "models")}
    return Evaluation(dict(content.get("protocol") or {}), dict(content["models"]), more)


def metric_order(name: str) -> tuple[int, str, int]:
    """Sort key: leading metrics first, then by name, then by list length."""
    base, _, k = name.partition("@")
    rank = next((i for i, lead in enumerate(LEADING) if base.lower().startswith(lead.lower())), len(LEADING))
    return rank, base.lower(), int(k) if k.isdigit() else 0


def describe(values: Mapping[str, Any]) -> str:
    """``{"split": "random_per_user", "mask": ["train", "valid"]}`` as ``split random per user; mask train, valid``."""
    return "; ".join(
        f"{_plain(key)} {_plain(value)}" for key, value in values.items() if value not in (None, [], {}, "")
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(key)} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return re.sub(r"_", " ", str(value))
