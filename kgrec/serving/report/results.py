"""The numbers of the page: models side by side, how sure a difference is, who is served, how training went."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kgrec.data.io import read_json
from kgrec.errors import DataError
from kgrec.serving.evaluation_file import Evaluation, label, metric_order
from kgrec.serving.report.charts import interval_chart, line_chart

#: validation metrics drawn per model
_CURVES = 3

#: widths of charts that stand three and four in a row, pixels
_THIRD, _QUARTER = 340, 270


@dataclass(frozen=True)
class Curve:
    """How one model was trained."""

    model: str
    epochs: int
    best_epoch: int
    """the epoch that was kept, by the validation metric"""
    ended: str
    """why it ended: early stop, last epoch"""
    seconds: float
    loss_names: list[str]
    losses: Markup
    metric_names: list[str]
    metrics: Markup


def model_order(results: Evaluation, lead: str) -> list[str]:
    """Models by the leading metric on test, best first."""
    return sorted(results.models, key=lambda model: (-results.numbers(model).get(lead, float("-inf")), model))


def metric_table(results: Evaluation, order: list[str], names: list[str]) -> list[dict[str, Any]]:
    """A row per model: ``model`` and ``cells``, each a value and whether it is the best of its column."""
    numbers_of = {model: results.numbers(model) for model in order}
    best = {name: max(numbers[name] for numbers in numbers_of.values() if name in numbers) for name in names}
    rows = []
    for model, numbers in numbers_of.items():
        cells = [
            {"value": numbers[name], "best": numbers[name] == best[name]} if name in numbers else None for name in names
        ]
        rows.append({"model": model, "cells": cells})
    return rows


def comparisons(evaluation: Path, model: str, lead: str) -> tuple[list[dict[str, Any]], Markup]:
    """Paired tests of ``model`` against each other model on the leading metric, as rows and as a chart.

    :raises DataError: if ``significance.json`` is missing or has another form
    """
    path = evaluation / "significance.json"
    try:
        found = [row for row in read_json(path)["comparisons"] if row["metric"] == lead and model in row["models"]]
        rows = [_seen_from(model, row) for row in found]
    except (KeyError, TypeError) as error:
        raise DataError(f"is not what evaluate writes ({error!r}); run evaluate again", path=path) from None
    rows.sort(key=lambda row: -row["difference"])
    chart = interval_chart([(label(row["other"]), row["low"], row["difference"], row["high"]) for row in rows])
    return rows, chart


def _seen_from(model: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison with ``model`` as the first."""
    first, second = row["models"]
    if first == model:
        return {**row, "other": second}
    turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return {**row, **turned, "better": row["worse"], "worse": row["better"], "other": first}


def group_charts(evaluation: Path, lead: str, k: str, colours: Mapping[str, int]) -> list[tuple[str, str, Markup]]:
    """Title, explanation and chart of each view on groups.

    :param k: list length of the leading metric
    :param colours: series number of each model
    :raises DataError: if ``plots/groups.csv`` is missing or has another form
    """
    rows = read_csv(evaluation / "plots" / "groups.csv", ("kind", "model", "group", "metric", "value"))
    views = (
        ("user activity", lead, f"{lead} by user activity", "users grouped by their number of training items", False),
        (
            "item popularity",
            f"Recall@{k}",
            f"Recall@{k} by item popularity",
            "test items by their training count",
            False,
        ),
        ("item popularity", f"Share@{k}", "Places by item popularity", f"part of the first {k} places per group", True),
    )
    charts = []
    for kind, metric, title, text, percent in views:
        mine = [row for row in rows if (row["kind"], row["metric"]) == (kind, metric)]
        groups = list(dict.fromkeys(row["group"] for row in mine))
        series = {
            label(model): (colour, [(groups.index(r["group"]), float(r["value"])) for r in mine if r["model"] == model])
            for model, colour in colours.items()
            if any(row["model"] == model for row in mine)
        }
        if groups:
            shown = [f"{group.replace('-', '–')}" for group in groups]
            chart = line_chart(
                series, "training interactions", groups=shown, from_zero=True, percent=percent, width=_THIRD
            )
            charts.append((title, text, chart))
    return charts


def learning_curves(training: Path, order: list[str]) -> tuple[list[Curve], list[str]]:
    """Curves of the models trained by gradient, and names of those with a closed form.

    :raises DataError: if a model has no readable ``history.csv`` or ``config.json``
    """
    curves, closed = [], []
    for model in order:
        rows = read_csv(training / model / "history.csv", ("epoch",))
        config = read_json(training / model / "config.json")
        how = config.get("training", {}) if isinstance(config, dict) else {}
        if how.get("ended") == "closed form":
            closed.append(model)
            continue
        columns = list(rows[0])
        metrics = sorted(
            (name for name in columns if name.startswith("valid_")), key=lambda name: metric_order(name[6:])
        )
        metrics = metrics[:_CURVES]
        losses = [name for name in columns if not name.startswith("valid_") and not name.endswith("seconds")][1:]
        best = int(how.get("best_epoch", float(rows[-1]["epoch"])))
        curves.append(
            Curve(
                model, len(rows), best, str(how.get("ended", "")), sum(float(row.get("seconds") or 0) for row in rows),
                losses, _curve_chart(rows, losses, best),
                [name.removeprefix("valid_") for name in metrics], _curve_chart(rows, metrics, best),
            )
        )  # fmt: skip
    return curves, closed


def _curve_chart(rows: list[dict[str, str]], names: list[str], best: int) -> Markup:
    series = {
        name.removeprefix("valid_"): (
            place,
            [(float(row["epoch"]), float(row[name]) if row[name] else None) for row in rows],
        )
        for place, name in enumerate(names)
    }
    return line_chart(series, "epoch", marked=best, width=_QUARTER, height=190)


def read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file. :raises DataError: if it is missing, empty, or lacks one of ``columns``"""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise DataError("no such file; run the stage that writes it first", path=path) from None
    if not rows:
        raise DataError("holds no rows; run the stage that writes it again", path=path)
    missing = [name for name in columns if name not in rows[0]]
    if missing:
        raise DataError(f"lacks column(s) {', '.join(missing)}; it has {', '.join(rows[0])}", path=path)
    return rows
