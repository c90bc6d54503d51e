"""Plots of an evaluation: the metrics of all models side by side, the metrics by group, and the differences with their
confidence intervals. Each is a figure for people and a CSV table for ``dvc plots``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kgrec.data.io import atomic_file

#: Okabe and Ito's colours, told apart by colour-blind readers too
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#999999")
_GREY = "#555555"


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows with equal keys; numbers with ten significant digits."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.10g}" if isinstance(value, float) else value for key, value in row.items()})


def plot_metrics(numbers: Mapping[str, Mapping[str, float]], path: Path, title: str) -> None:
    """One panel per metric, one bar per model, best model on top.

    :param numbers: model -> metric -> value
    """
    models = list(numbers)
    metrics = list(numbers[models[0]])
    order = sorted(models, key=lambda model: numbers[model][metrics[0]])
    columns = min(4, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = _figure(3.1 * columns + 0.9, rows * (0.7 + 0.3 * len(models)) + 0.6, title)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        values = [numbers[model][metric] for model in order]
        bars = axis.barh(order, values, color=[_colour(models, model) for model in order], height=0.7)
        axis.bar_label(bars, fmt="%.3f", padding=3, fontsize=8, color=_GREY)
        axis.set_title(metric, fontsize=10, loc="left")
        axis.set_xlim(0, max([*values, 1e-9]) * 1.25)
        axis.tick_params(left=False, bottom=False, labelbottom=False)
        _bare(axis, "left")
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    _save(figure, path)


def plot_groups(panels: Mapping[str, Sequence[Mapping[str, Any]]], path: Path, title: str) -> None:
    """One panel per kind of group, a line per model over the groups.

    :param panels: title of the panel -> rows with ``model``, ``group`` and ``value``
    """
    figure = _figure(4.6 * len(panels) + 0.4, 3.6, title)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    models = list(dict.fromkeys(str(row["model"]) for rows in panels.values() for row in rows))
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        groups = list(dict.fromkeys(str(row["group"]) for row in rows))
        for model in models:
            values = {str(row["group"]): row["value"] for row in rows if row["model"] == model}
            line = [values.get(group, np.nan) for group in groups]
            axis.plot(groups, line, marker="o", markersize=4, linewidth=1.8, color=_colour(models, model), label=model)
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel("training interactions", fontsize=9, color=_GREY)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        axis.margins(x=0.08)
        _bare(axis, "left", "bottom")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(models)), frameon=False, fontsize=9)
    _save(figure, path)


def plot_differences(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Differences of means with their confidence intervals, one line per pair of models.

    :param rows: ``pair``, ``difference``, ``low``, ``high`` and ``p`` (corrected)
    """
    figure = _figure(7.4, 1.1 + 0.34 * len(rows), title)
    axis = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        sure = row["low"] > 0 or row["high"] < 0
        colour = _COLOURS[0] if sure else "#999999"
        axis.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axis.plot(row["difference"], place, "o", color=colour, markersize=6)
        p = "p < .001" if row["p"] < 0.001 else f"p = {row['p']:.3f}".replace("0.", ".")
        axis.annotate(p, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_GREY)
    axis.axvline(0, color="#333333", linewidth=0.9)
    axis.set_yticks(range(len(rows)), [str(row["pair"]) for row in reversed(rows)], fontsize=9)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axis.tick_params(left=False)
    _bare(axis, "bottom")
    _save(figure, path)


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def _colour(models: Sequence[str], model: str) -> str:
    return _COLOURS[sorted(models).index(model) % len(_COLOURS)]


def _bare(axis: Axes, *kept: str) -> None:
    """Keep only the named sides of the frame."""
    for side, spine in axis.spines.items():
        spine.set_visible(side in kept)
        spine.set_color("#bbbbbb")
    axis.tick_params(colors="#333333", labelsize=9)
    axis.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG; its bytes depend on the content and the matplotlib release alone."""
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
