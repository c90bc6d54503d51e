"""The distribution of scores as numbers and as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgrec.kg.audit_plots import SCORES, plot_scores, score_counts

METRICS = {"checked": 4, "estimated_precision": 0.75, "precision_low": 0.3, "precision_high": 0.97}


def test_counts_by_hand() -> None:
    counts = score_counts([0.0, 0.97, 1.0, 0.5], [0.01, 0.02])
    assert counts.schema == SCORES
    rows = counts.to_pylist()
    assert len(rows) == 20
    assert (rows[0]["score_from"], rows[0]["score_to"], rows[-1]["score_to"]) == (0.0, 0.05, 1.0)
    assert {at: row["links"] for at, row in enumerate(rows) if row["links"]} == {0: 1, 10: 1, 19: 2}
    assert [row["share_of_links"] for row in rows if row["links"]] == [0.25, 0.25, 0.5]
    assert rows[0]["share_by_chance"] == 1.0


@pytest.mark.parametrize("metrics", [METRICS, METRICS | {"estimated_precision": None}])
def test_the_plot_is_a_picture_and_the_same_again(tmp_path: Path, metrics: dict[str, float]) -> None:
    counts = score_counts([0.1, 0.9, 0.95, 1.0], [0.0])
    for folder in ("one", "two"):
        plot_scores(counts, metrics, tmp_path / folder)
    picture = (tmp_path / "one" / "scores.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert picture == (tmp_path / "two" / "scores.png").read_bytes()


def test_nothing_to_plot(tmp_path: Path) -> None:
    plot_scores(score_counts([], []), METRICS | {"estimated_precision": None}, tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines()[1] == "0.0,0.05,0,0.0,0.0"
