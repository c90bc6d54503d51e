"""The pipeline table sorts what stages say by what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgrec.data.io import write_json
from kgrec.errors import DataError
from kgrec.serving.report.stages import flatten, shares, stage_rows


def test_rows_of_the_run(world: Any) -> None:
    rows = {row.stage: row for row in stage_rows(world.reports)}
    assert list(rows) == ["fetch", "interactions", "media", "split", "graph"]
    assert [(one["name"], one["rows"]) for one in rows["interactions"].tables] == [("interactions", 400), ("items", 30)]
    assert rows["interactions"].left_out == [("rejected · malformed line", "3")]  # what is zero is not told
    assert dict(rows["media"].shares) == pytest.approx({"image": 26 / 30, "items described": 0.5})
    assert ("image · missing", "3") in rows["media"].left_out
    assert rows["graph"].shares == [("modalities · image · items", pytest.approx(26 / 30))]
    assert ("method", "random_per_user") in rows["split"].facts


def test_shares_of_counts() -> None:
    counts = {
        "items": 10,
        "items_linked": 5,
        "items_without_title": 3,
        "text": {"ok": 9, "missing": 1},
        "coverage": 0.5,
    }
    assert dict(shares(counts)) == {"items linked": 0.5, "text": 0.9}
    assert list(shares({"ok": 0, "missing": 0})) == []


def test_flatten_leaves_out_what_is_long() -> None:
    values = {"a": {"b": 1}, "short": [1, 2], "long": list(range(9)), "text": "x" * 41, "none": None, "dicts": [{}]}
    assert list(flatten(values)) == [("a · b", 1), ("short", "1, 2")]


def test_what_stands_in_other_tables_is_not_repeated(tmp_path: Path) -> None:
    paths = []
    for stage, metrics in (
        ("train", {"kgat": {"seconds": 3, "valid": {"NDCG@20": 0.1}}}),
        ("evaluate", {"models": 3}),
        ("publish", {"users": 3, "test": {"NDCG@20": 0.1}}),
    ):
        write_json({"stage": stage, "metrics": metrics}, tmp_path / stage / "report.json")
        paths.append(tmp_path / stage / "report.json")
    assert [row.facts for row in stage_rows(paths)] == [[("kgat · seconds", "3")], [], [("users", "3")]]


def test_a_file_that_is_no_report(tmp_path: Path) -> None:
    write_json({"tables": {}}, tmp_path / "report.json")
    with pytest.raises(DataError, match=r"report\.json: is not the report of a stage"):
        stage_rows([tmp_path / "report.json"])
    with pytest.raises(DataError, match="no such file"):
        stage_rows([tmp_path / "gone.json"])
