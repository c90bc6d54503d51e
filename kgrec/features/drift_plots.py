"""The drift of each modality as two panels: the lengths of the vectors before and after, and the neighbours kept."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kgrec.data.io import atomic_file

# of Okabe and Ito's colours, told apart by colour-blind readers too
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#E69F00", "#009E73", "#555555"
_BINS, _STEPS = 33, 10


@dataclass(frozen=True)
class Panel:
    """What is drawn of a modality; without a baseline ``before`` and ``kept`` are empty."""

    modality: str
    before: Sequence[float]
    """lengths of the baseline's sampled vectors"""
    after: Sequence[float]
    """lengths of the vectors sampled now"""
    kept: Sequence[float]
    """share of its neighbours that each sampled key kept, 0 to 1"""
    at_random: float | None


def write_plots(panels: Sequence[Panel], folder: Path) -> None:
    """Write ``norms.csv`` (modality, norm, before, after), ``neighbours.csv`` (modality, kept, keys) and ``drift.png``.

    The columns before, after and keys are shares of the sampled keys; equal panels give equal bytes.
    """
    norms = [(one.modality, *row) for one in panels for row in _norm_rows(one)]
    _write_csv(folder / "norms.csv", ("modality", "norm", "before", "after"), norms)
    kept = [(one.modality, *row) for one in panels for row in _kept_rows(one)]
    _write_csv(folder / "neighbours.csv", ("modality", "kept", "keys"), kept)
    figure = Figure(figsize=(9.6, 0.7 + 2.5 * max(1, len(panels))), layout="constrained", dpi=120)
    title = "Features against the baseline" if any(one.before for one in panels) else "Features, no baseline yet"
    figure.suptitle(title, fontsize=12, x=0.01, ha="left", weight="bold")
    for row, panel in zip(figure.subplots(max(1, len(panels)), 2, squeeze=False), panels, strict=False):
        _draw_norms(row[0], panel)
        _draw_kept(row[1], panel)
    FigureCanvasAgg(figure)
    with atomic_file(folder / "drift.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _edges(panel: Panel) -> np.ndarray:
    values = [*panel.before, *panel.after]
    low, high = min(values), max(values)
    if high - low < 0.01 * high:  # lengths that are all 1 but for rounding are one bar, not noise under a glass
        low, high = low - 0.005 * high, high + 0.005 * high
    return np.linspace(low, high, _BINS + 1)


def _shares(values: Sequence[float], edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0] / max(1, len(values))


def _norm_rows(panel: Panel) -> Iterator[tuple[str, str, str]]:
    if not (panel.before or panel.after):
        return
    edges = _edges(panel)
    shares = [_shares(values, edges) for values in (panel.before, panel.after)]
    for place, middle in enumerate((edges[:-1] + edges[1:]) / 2):
        yield f"{middle:.6g}", f"{shares[0][place]:.6g}", f"{shares[1][place]:.6g}"


def _kept_rows(panel: Panel) -> Iterator[tuple[str, str]]:
    if panel.kept:
        for step, share in enumerate(_steps(panel.kept)):
            yield f"{step / _STEPS:g}", f"{share:.6g}"


def _steps(kept: Sequence[float]) -> np.ndarray:
    """Share of keys at 0, a tenth, … all of their neighbours."""
    return np.bincount(np.rint(np.asarray(kept) * _STEPS).astype(int), minlength=_STEPS + 1) / len(kept)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def _draw_norms(axis: Axes, panel: Panel) -> None:
    _style(axis, f"{panel.modality}: length of vectors")
    if not (panel.before or panel.after):
        _say(axis, "no vectors")
        return
    edges = _edges(panel)
    top = 0.0
    if panel.after:
        shares = _shares(panel.after, edges)
        axis.stairs(shares, edges, color=_BLUE, fill=True, alpha=0.35, label="now")
        top = float(shares.max())
    if panel.before:
        shares = _shares(panel.before, edges)
        axis.stairs(shares, edges, color=_ORANGE, linewidth=1.5, label="before")
        top = max(top, float(shares.max()))
    axis.set_ylim(0, 1.3 * top)
    axis.ticklabel_format(axis="x", useOffset=False)
    axis.locator_params(axis="x", nbins=6)
    axis.set_ylabel("share of keys", fontsize=8, color=_GREY)
    axis.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)


def _draw_kept(axis: Axes, panel: Panel) -> None:
    _style(axis, f"{panel.modality}: share of its neighbours a key kept")
    axis.set_xlim(-0.06, 1.06)
    if not panel.kept:
        _say(axis, "no baseline to compare with" if panel.after else "no vectors")
        return
    shares = _steps(panel.kept)
    axis.bar(np.arange(_STEPS + 1) / _STEPS, shares, width=0.08, color=_GREEN)
    axis.set_ylim(0, 1.25)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    mean = float(np.mean(panel.kept))
    axis.axvline(mean, color=_BLUE, linewidth=1.4, label=f"mean {mean:.3f}")
    if panel.at_random is not None:
        axis.axvline(
            panel.at_random, color=_GREY, linewidth=1.2, linestyle=":", label=f"at random {panel.at_random:.3g}"
        )
    axis.set_ylabel("share of keys", fontsize=8, color=_GREY)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _style(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9.5, loc="left")
    axis.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors="#333333", labelsize=8)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _say(axis: Axes, words: str) -> None:
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", fontsize=9, color=_GREY)
    axis.set_xticks([])
    axis.set_yticks([])
