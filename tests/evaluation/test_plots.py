from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from kgrec.evaluation.plots import plot_differences, plot_groups, plot_metrics, write_csv

NUMBERS = {"a": {"Recall@20": 0.2, "MRR@20": 0.4}, "b": {"Recall@20": 0.3, "MRR@20": 0.1}}
GROUPS = {
    "by activity": [
        {"model": m, "group": g, "value": v} for m, g, v in (("a", "1-2", 0.1), ("a", "3-9", 0.2), ("b", "1-2", 0.3))
    ]
}
DIFFERENCES = [
    {"pair": "a vs b", "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.0001},
    {"pair": "b vs c", "difference": 0.0, "low": -0.05, "high": 0.05, "p": 0.4},
]


@pytest.mark.parametrize(
    ("plot", "content"), [(plot_metrics, NUMBERS), (plot_groups, GROUPS), (plot_differences, DIFFERENCES)]
)
def test_plots_are_pictures_and_equal_for_equal_content(plot, content, tmp_path):
    for name in "ab":
        plot(content, tmp_path / f"{name}.png", "A title")
    picture = Image.open(tmp_path / "a.png").convert("L")
    assert min(picture.size) > 150
    assert np.asarray(picture).std() > 5  # not a blank sheet
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_plot_of_nothing_but_zeros(tmp_path):
    plot_metrics({"a": {"Recall@1": 0.0}}, tmp_path / "a.png", "Zero")
    assert (tmp_path / "a.png").exists()


def test_csv(tmp_path):
    write_csv([{"model": "a", "value": 0.1 + 0.2, "users": 3}], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "model,value,users\na,0.3,3\n"
    assert list(csv.DictReader((tmp_path / "a.csv").open())) == [{"model": "a", "value": "0.3", "users": "3"}]
