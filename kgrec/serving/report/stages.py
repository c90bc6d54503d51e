"""The pipeline table of the page: what each stage wrote, its counts, its coverage, and what it left out and why.

Stages say what they like in the ``metrics`` of their ``report.json``; here keys are only sorted by what they mean:
shares are drawn as bars, counts of what was rejected, dropped or missing stand apart, the rest is listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgrec.data.io import read_json
from kgrec.errors import DataError
from kgrec.serving.report.charts import number

#: what a stage is for, in a line
PURPOSE = {
    "fetch": "raw files as published, with checksum and licence",
    "interactions": "ratings, items and users as tables",
    "extract": "facts, types, names and keys of the RDF dumps, read once",
    "link": "which entity of the knowledge graph each item is",
    "kg": "triples and entities around the items",
    "media": "a checked picture and a text per item",
    "features": "pictures and texts as vectors of pretrained encoders",
    "split": "train, valid and test, before anything is learnt",
    "graph": "one typed graph, its modalities, the vocabulary",
    "train": "models, each to its best epoch on valid",
    "evaluate": "full ranking on test, groups, paired tests",
    "publish": "the model folder that answers on its own",
}

_SHARE = re.compile(r"share|coverage|fraction")
_LEFT_OUT = re.compile(
    r"reject|dropp?|skip|remov|missing|malformed|duplicate|unlinked|unknown|invalid|without|repeated|conflict|lost|of_no_"
)
#: these stand in the page's own tables
_ELSEWHERE = {"evaluate": re.compile(r"."), "publish": re.compile(r"^test\b"), "train": re.compile(r"\bvalid\b")}


@dataclass
class StageRow:
    """One row of the pipeline table."""

    stage: str
    purpose: str
    tables: list[dict[str, Any]] = field(default_factory=list)
    """name, rows, columns (name -> type and nulls)"""
    facts: list[tuple[str, str]] = field(default_factory=list)
    shares: list[tuple[str, float]] = field(default_factory=list)
    """values in [0, 1]"""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """as the stage said them"""


def stage_rows(reports: Sequence[Path]) -> list[StageRow]:
    """Read ``report.json`` of each stage. :raises DataError: if one is missing or is not a report"""
    rows = []
    for path in reports:
        content = read_json(path)
        if not isinstance(content, dict) or "stage" not in content:
            raise DataError("is not the report of a stage (it names none)", path=path)
        stage = str(content["stage"])
        row = StageRow(stage, PURPOSE.get(stage, ""))
        row.tables = [
            {"name": name.removesuffix(".parquet"), **table}
            for name, table in sorted(content.get("tables", {}).items())
        ]
        row.metrics = dict(content.get("metrics", {}))
        elsewhere = _ELSEWHERE.get(stage)
        row.shares = list(shares(row.metrics))
        for key, value in flatten(row.metrics):
            if elsewhere and elsewhere.search(key):
                continue
            name = key.replace("_", " ")
            if isinstance(value, float) and 0 <= value <= 1 and _SHARE.search(key):
                row.shares.append((name, value))
            elif isinstance(value, (int, float)) and not isinstance(value, bool) and _LEFT_OUT.search(key):
                if value:
                    row.left_out.append((name, number(value)))
            else:
                row.facts.append((name, _shown(value)))
        row.facts.sort(key=_weight)
        rows.append(row)
    return rows


def flatten(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested counts as ``path · to · key``, value; lists and strings only where they are short."""
    for key, value in values.items():
        path = f"{before} · {key}" if before else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        elif isinstance(value, (list, tuple)):
            if value and len(value) <= 5 and all(isinstance(one, (str, int, float)) for one in value):
                yield path, ", ".join(str(one) for one in value)
        elif value is not None and value != "" and not (isinstance(value, str) and len(value) > 40):
            yield path, value


def shares(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Coverage that counts imply: ``ok`` and ``missing``, ``items`` and ``items_missing`` at every depth, and
    ``items_linked`` in ``items`` at the top."""
    prefix = f"{before} · " if before else ""
    counts = {key: value for key, value in values.items() if isinstance(value, int) and not isinstance(value, bool)}
    if {"ok", "missing"} <= counts.keys():
        rejected = values.get("rejected", 0)
        lost = counts["missing"] + (sum(rejected.values()) if isinstance(rejected, Mapping) else int(rejected))
        if counts["ok"] + lost:
            yield before or "ok", counts["ok"] / (counts["ok"] + lost)
    for whole in ("items", "entities"):
        total = counts.get(whole, 0)
        missing = counts.get(f"{whole}_missing")
        if missing is not None and total + missing:
            yield f"{prefix}{whole}", total / (total + missing)
        for key, value in counts.items() if not before else ():
            if key.startswith(f"{whole}_") and not _LEFT_OUT.search(key) and 0 <= value <= total:
                yield key.replace("_", " "), value / total
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from shares(value, f"{prefix}{key}".replace("_", " "))


def _weight(fact: tuple[str, str]) -> tuple[int, bool]:
    """Sort key: what the stage says at the top first, what is zero or no number last."""
    key, value = fact
    return key.count(" · "), value == "0" or not value[:1].isdigit()


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, (int, float)) else str(value)
