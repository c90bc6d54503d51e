"""Charts as inline SVG: no script, no font, no fetch; colours are CSS variables of the page and follow light and dark.

Series ``i`` is drawn in class ``s<i modulo 8>``; past eight its line is dashed. Marks carry their value as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from markupsafe import Markup, escape

#: of a chart, in pixels where there is room
WIDTH, HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 36

#: one series: its number, and its points; y is None where nothing was measured
Series = tuple[int, Sequence[tuple[float, float | None]]]


def line_chart(
    series: Mapping[str, Series],
    x_label: str,
    *,
    groups: Sequence[str] = (),
    from_zero: bool = False,
    percent: bool = False,
    marked: float | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Markup:
    """Lines over a common axis; empty if nothing was measured.

    :param series: label -> number and points
    :param groups: names of the x positions 0, 1, …; without them x is a number
    :param marked: x whose points are marked (the best epoch)
    """
    measured = {name: (colour, _measured(points)) for name, (colour, points) in series.items()}
    every = [point for _, points in measured.values() for point in points]
    if not every:
        return Markup("")
    xs, ys = zip(*every, strict=True)
    x_low, x_high = (-0.3, len(groups) - 0.7) if groups else (min(xs), max(xs))
    y_ticks = nice_ticks(0.0 if from_zero else min(ys), max(ys))

    def at_x(x: float) -> float:
        return _LEFT + (x - x_low) / ((x_high - x_low) or 1) * (width - _LEFT - _RIGHT)

    def at_y(y: float) -> float:
        return height - _BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (height - _TOP - _BOTTOM)

    parts = []
    for y in y_ticks:
        parts.append(_line("grid", _LEFT, at_y(y), width - _RIGHT, at_y(y)))
        parts.append(_text("tick", _LEFT - 6, at_y(y) + 3.5, number(y, percent), "end"))
    x_ticks = [x for x in nice_ticks(x_low, x_high) if x_low <= x <= x_high and x == int(x)]
    for x, name in enumerate(groups) if groups else [(x, number(x)) for x in x_ticks]:
        parts.append(_text("tick", at_x(x), height - _BOTTOM + 16, name))
    parts.append(_text("axis", (_LEFT + width - _RIGHT) / 2, height - 4, x_label))
    for name, (colour, points) in measured.items():
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        dashed = ' stroke-dasharray="5 3"' if colour >= 8 else ""
        kind = f"line s{colour % 8}"
        parts.append(f'<polyline class="{kind}" points="{path}"{dashed}><title>{escape(name)}</title></polyline>')
        for x, y in points:
            if groups or x == marked or len(points) == 1:
                tip = f"{name}, {groups[int(x)] if groups else number(x)}: {number(y, percent)}"
                parts.append(_dot(f"dot s{colour % 8}", at_x(x), at_y(y), 3.4, tip))
    return _svg(width, height, f"{', '.join(series)} over {x_label}", parts)


def interval_chart(rows: Sequence[tuple[str, float, float, float]]) -> Markup:
    """Differences with their confidence intervals around a line at zero; empty without rows.

    :param rows: label, low end, value, high end
    """
    if not rows:
        return Markup("")
    height = 30 + 26 * len(rows)
    label_width = min(WIDTH // 2, 24 + 7 * max(len(name) for name, *_ in rows))
    ticks = nice_ticks(min(0.0, *(low for _, low, _, _ in rows)), max(0.0, *(high for *_, high in rows)), 4)

    def at_x(x: float) -> float:
        return label_width + (x - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - label_width - 24)

    parts = []
    for tick in ticks:
        parts.append(_line("grid" if tick else "zero", at_x(tick), 4, at_x(tick), height - 22))
        parts.append(_text("tick", at_x(tick), height - 8, number(tick)))
    for place, (name, low, value, high) in enumerate(rows):
        y = 18.0 + 26 * place
        sure = "sure" if low > 0 or high < 0 else "unsure"
        parts.append(_text("row", label_width - 8, y + 4, name, "end"))
        parts.append(_line(f"span {sure}", at_x(low), y, at_x(high), y))
        parts.append(_dot(f"mean {sure}", at_x(value), y, 4.5, f"{name}: {value:+.4f} [{low:+.4f}, {high:+.4f}]"))
    return _svg(WIDTH, height, "Differences with confidence intervals", parts)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover ``low`` to ``high``, about so many."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-300):
        pad = abs(low) * 0.05 or 0.5
        low, high = low - pad, high + pad
    raw = (high - low) / max(1, about - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def number(value: float, percent: bool = False) -> str:
    """A number as short as it can be read: ``1,200``, ``0.25``, ``35%``."""
    if percent:
        return f"{100 * value:.4g}%"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _measured(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(kind: str, x: float, y: float, radius: float, tip: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(tip)}</title></circle>'


def _text(kind: str, x: float, y: float, content: str, anchor: Literal["middle", "end"] = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _svg(width: float, height: float, summary: str, parts: Sequence[str]) -> Markup:
    size = f'viewBox="0 0 {width} {height}" style="max-width: {1.15 * width:.0f}px"'
    head = f'<svg class="chart" {size} role="img" aria-label="{escape(summary)}">'
    return Markup(head + "".join(parts) + "</svg>")
