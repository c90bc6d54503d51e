"""Charts put their marks where the numbers are and escape what they are told."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.serving.report.charts import WIDTH, interval_chart, line_chart, nice_ticks, number


def elements(svg: str, kind: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(svg).iter() if one.tag == kind]


def test_lines_follow_their_points() -> None:
    svg = line_chart({"a <b>": (0, [(1, 0.0), (2, None), (3, 1.0)]), "c": (9, [(1, 0.5), (3, 0.5)])}, "epoch")
    first, second = elements(svg, "polyline")
    (x1, y1), (x2, y2) = [tuple(map(float, point.split(","))) for point in first.attrib["points"].split()]
    assert x1 < x2
    assert y1 > y2  # a greater value stands higher
    assert first[0].text == "a <b>"
    assert (second.attrib["class"], "stroke-dasharray" in second.attrib) == ("line s1", True)
    assert elements(svg, "circle") == []


def test_groups_and_marks_have_tooltips() -> None:
    svg = line_chart({"m": (2, [(0, 0.25), (1, 0.5)])}, "n", groups=["1–5", "6–9"], percent=True)
    assert [one[0].text for one in elements(svg, "circle")] == ["m, 1–5: 25%", "m, 6–9: 50%"]
    svg = line_chart({"m": (2, [(1, 0.25), (2, 0.5)])}, "epoch", marked=2)
    assert [one[0].text for one in elements(svg, "circle")] == ["m, 2: 0.5"]


def test_nothing_measured_draws_nothing() -> None:
    assert line_chart({"m": (0, [(1, None), (2, float("nan"))])}, "epoch") == ""
    assert interval_chart([]) == ""


def test_intervals_that_hold_zero_are_unsure() -> None:
    svg = interval_chart([("sure", 0.1, 0.2, 0.3), ("unsure", -0.1, 0.05, 0.2), ("worse", -0.3, -0.2, -0.1)])
    spans = [one for one in elements(svg, "line") if one.attrib["class"].startswith("span")]
    assert [one.attrib["class"] for one in spans] == ["span sure", "span unsure", "span sure"]
    zero = float(next(one for one in elements(svg, "line") if one.attrib["class"] == "zero").attrib["x1"])
    assert [float(one.attrib["x1"]) < zero < float(one.attrib["x2"]) for one in spans] == [False, True, False]
    assert all(0 <= float(one.attrib["x1"]) <= float(one.attrib["x2"]) <= WIDTH for one in spans)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_cover_the_values(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    tolerance = 1e-6 * max(1.0, abs(low), width)
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= low + width - tolerance
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("value", "percent", "wanted"),
    [
        (1200, False, "1,200"),
        (0.25, False, "0.25"),
        (0.123456, False, "0.1235"),
        (0.35, True, "35%"),
        (-2.0, False, "-2"),
    ],
)
def test_numbers(value: float, percent: bool, wanted: str) -> None:
    assert number(value, percent) == wanted
