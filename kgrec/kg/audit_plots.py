"""The distribution of a link file's scores beside that of its items and entities paired anew at random.

A right file and chance stand at opposite ends. A file of another id space looks like chance.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kgrec.data.io import atomic_file

_BINS = 20
#: Okabe and Ito's blue, and grey
_BLUE, _GREY, _INK = "#0072B2", "#bbbbbb", "#333333"

#: one row per bin: scores from (inclusive) to (exclusive, but for 1); shares of the checked links and of the random pairs
SCORES = pa.schema(
    [
        ("score_from", pa.float64()), ("score_to", pa.float64()), ("links", pa.int64()),
        ("share_of_links", pa.float64()), ("share_by_chance", pa.float64()),
    ]
)  # fmt: skip


def score_counts(scores: npt.ArrayLike, chance: npt.ArrayLike) -> pa.Table:
    """Histogram of scores in [0, 1], schema ``SCORES``.

    :param scores: of the checked links
    :param chance: of the pairs at random
    """
    edges = np.linspace(0, 1, _BINS + 1)
    links, _ = np.histogram(np.asarray(scores, dtype=float), edges)
    random, _ = np.histogram(np.asarray(chance, dtype=float), edges)
    shares = [np.round(counts / max(counts.sum(), 1), 6) for counts in (links, random)]
    edges = np.round(edges, 6)
    return pa.table([edges[:-1], edges[1:], links, *shares], schema=SCORES)


def plot_scores(counts: pa.Table, metrics: Mapping[str, Any], folder: Path) -> None:
    """Write ``scores.csv`` and ``scores.png`` into ``folder``.

    :param counts: schema ``SCORES``
    :param metrics: of the audit, for the title
    """
    with atomic_file(folder / "scores.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, SCORES.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(counts.to_pylist())
    figure = Figure(figsize=(6.4, 3.4), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    figure.suptitle(_title(metrics), fontsize=11, x=0.01, ha="left", weight="bold")
    axis = figure.subplots()
    left, width = counts["score_from"].to_numpy(), 1 / _BINS
    for column, colour, start, label in (
        ("share_of_links", _BLUE, 0.05, f"the file's {metrics['checked']:,} links with evidence"),
        ("share_by_chance", _GREY, 0.5, "its items and entities paired at random"),
    ):
        axis.bar(
            left + start * width, counts[column].to_numpy() * 100, 0.45 * width, align="edge", color=colour, label=label
        )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 100)
    axis.set_xlabel("score: what a link's own evidence says at even odds", fontsize=9, color=_INK)
    axis.set_ylabel("% of the links", fontsize=9, color=_INK)
    axis.legend(loc="upper center", frameon=False, fontsize=9)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GREY)
    axis.tick_params(colors=_INK, labelsize=9)
    with atomic_file(folder / "scores.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _title(metrics: Mapping[str, Any]) -> str:
    if metrics["estimated_precision"] is None:
        return "No link has evidence"
    value, low, high = (100 * metrics[key] for key in ("estimated_precision", "precision_low", "precision_high"))
    return f"Estimated precision {value:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"
