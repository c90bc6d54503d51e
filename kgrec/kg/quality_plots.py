"""The relation report as one picture: a row per relation, biggest on top; what is suspected to leak stands out in red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kgrec.data.io import atomic_file
from kgrec.kg.quality_tables import short_name

# of Okabe and Ito's colours, told apart by colour-blind readers too
_BLUE, _ORANGE, _GREEN, _RED, _SKY, _GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#555555"

#: relations drawn; the rest are in the table
SHOWN = 60


def plot_relations(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Four panels side by side over the same rows: facts, functionality, items, pairs stated twice.

    :param rows: as in ``quality.QUALITY``, biggest relation first
    """
    shown = list(reversed(rows[:SHOWN]))
    places = range(len(shown))
    figure = Figure(figsize=(13.5, 1.9 + 0.215 * len(shown)), layout="constrained", dpi=120)
    more = f"; {len(rows) - SHOWN} smaller ones not shown" if len(rows) > SHOWN else ""
    title = f"{len(rows)} relations of the knowledge graph{more}"
    figure.suptitle(title, fontsize=12, x=0.01, ha="left", weight="bold")
    facts, sharp, reach, twice = figure.subplots(1, 4, sharey=True, width_ratios=(1.1, 1, 1, 1))

    colours = [_RED if row["leak"] else _BLUE for row in shown]
    facts.barh(places, [row["triples"] for row in shown], color=colours, height=0.72)
    facts.set_xscale("log")
    facts.set_xlim(left=0.8)
    _head(facts, "facts, log scale", {"": _BLUE, "suspected leak": _RED})
    facts.set_yticks(places, [short_name(row["relation"]) for row in shown], fontsize=7.5)
    for place, row in enumerate(shown):
        if row["leak"] and row["leaking"] < row["triples"]:
            share = f"{100 * row['leaking'] / row['triples']:.2g} % leaks"
            facts.annotate(
                share, (row["triples"], place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
                color=_RED,
            )  # fmt: skip

    _dumbbell(sharp, [(row["functionality"], row["inverse_functionality"]) for row in shown], (_BLUE, _ORANGE))
    _head(sharp, "functionality", {"heads / facts": _BLUE, "tails / facts": _ORANGE})

    reach.barh(places, [row["item_share"] for row in shown], color="#cfe3f1", height=0.72)
    reach.barh(places, [row["joined_share"] for row in shown], color=_GREEN, height=0.34)
    _head(reach, "share of the items", {"reached": "#9cc6e2", "joined to another": _GREEN})

    _dumbbell(twice, [(row["double_share"], row["inverse_share"]) for row in shown], (_RED, _SKY), joined=False)
    _head(twice, "pairs another states too", {"the same way": _RED, "turned around": _SKY})

    for axis in (sharp, reach, twice):
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    for axis in (facts, sharp, reach, twice):
        axis.set_ylim(-0.7, len(shown) - 0.3)
        axis.grid(axis="x", color="#e5e5e5", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(colors="#333333", labelsize=8, left=False)
        for side in ("top", "right", "left", "bottom"):
            axis.spines[side].set_visible(False)
    facts.tick_params(axis="y", labelsize=7.5)
    for label, row in zip(facts.get_yticklabels(), shown, strict=True):
        label.set_color(_RED if row["leak"] else "#222222")
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _dumbbell(
    axis: Axes, pairs: Sequence[tuple[float, float]], colours: tuple[str, str], *, joined: bool = True
) -> None:
    """Two dots in each row; none for nothing."""
    if joined:
        axis.hlines(range(len(pairs)), [min(p) for p in pairs], [max(p) for p in pairs], color="#dddddd", linewidth=1.6)
    for which, colour in enumerate(colours):
        seen = [(pair[which], place) for place, pair in enumerate(pairs) if pair[which] > 0]
        axis.plot([x for x, _ in seen], [y for _, y in seen], "o", color=colour, markersize=4.6 - 1.2 * which)


def _head(axis: Axes, title: str, legend: Mapping[str, str]) -> None:
    """The panel's title with its colours under it."""
    axis.set_title(title, fontsize=9.5, loc="left", pad=20)
    x = 0.0
    for name, colour in legend.items():
        if name:
            axis.annotate(
                "●",
                (x, 1),
                xycoords="axes fraction",
                xytext=(0, 5),
                textcoords="offset points",
                color=colour,
                fontsize=8,
            )
            axis.annotate(
                name, (x + 0.05, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points",
                color=_GREY, fontsize=8,
            )  # fmt: skip
            x += 0.1 + 0.032 * len(name)
