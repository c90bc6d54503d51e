"""What the pipeline promises as a whole: equal bytes, small reruns, one clear error."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

from kgrec.data.io import read_parquet, sha256_file
from pipeline.layout import STAGES
from pipeline.table import summary

ROOT = Path(__file__).resolve().parents[2]


def digests(house: Any, words: list[str]) -> dict[str, str]:
    """SHA-256 of every file these stages wrote."""
    files = [path for word in words for path in house.path(word).rglob("*") if path.is_file()]
    return {str(path.relative_to(house.folder)): sha256_file(path) for path in files}


def test_equal_bytes_in_another_place_without_caches(house: Any, twin: Any) -> None:
    before_training = [word for word, stage in STAGES.items() if stage.number < STAGES["train"].number]
    house.report("graph")
    twin.report("graph")
    ours, theirs = digests(house, before_training), digests(twin, before_training)
    assert ours == theirs
    assert sum(name.endswith(".parquet") for name in ours) >= 15
    assert sum(name.endswith(".dgl") for name in ours) == 3


def test_one_changed_poster_is_one_encoding(twin: Any) -> None:
    twin.report("features")
    before = read_parquet(twin.path("features", "vectors") / "image.parquet").to_pydict()
    key = before["key"][7]
    picture = io.BytesIO()
    Image.effect_noise((120, 180), 90).convert("RGB").save(picture, "PNG")
    override = twin.overrides / f"{key.removeprefix('item:')}.png"
    override.write_bytes(picture.getvalue())
    try:
        twin.run("media")
        with capture_logs() as events:
            twin.run("features")
    finally:
        override.unlink()
    encoded = {one["modality"]: one["encoded"] for one in events if one["event"] == "encoded features"}
    assert encoded == {"image": 1, "text": 0}
    after = read_parquet(twin.path("features", "vectors") / "image.parquet").to_pydict()
    changed = [k for k, x, y in zip(before["key"], before["vector"], after["vector"], strict=True) if x != y]
    assert after["key"] == before["key"]
    assert changed == [key]
    twin.run("media")
    with capture_logs() as events:
        twin.run("features")
    assert [one["encoded"] for one in events if one["event"] == "encoded features"] == [0, 0]
    assert read_parquet(twin.path("features", "vectors") / "image.parquet").to_pydict() == before


def test_table_at_the_end(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.report("report")
    monkeypatch.chdir(house.folder)
    text = summary()
    for word in (
        "multi_kg4rec *",
        "kgat",
        "ease",
        "popularity",
        "Recall@20",
        "SYNTHETIC",
        "artifacts/12_publish/model",
    ):
        assert word in text
    assert "artifacts/13_report/report.html" in text


def test_bad_input_is_one_line_exit_1_and_leaves_what_was_there(house: Any, tmp_path: Path) -> None:
    house.report("split")
    out = tmp_path / "split"
    shutil.copytree(house.path("split"), out)
    before = {path.name: sha256_file(path) for path in out.iterdir()}
    damaged = tmp_path / "interactions.parquet"
    damaged.write_bytes(house.path("interactions", "interactions.parquet").read_bytes()[:1000])
    command = [sys.executable, "-m", "stages.split", "--interactions", str(damaged), "--out", str(out)]
    command += ["--links", str(house.path("link", "links.parquet")), "--params", str(house.params)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {damaged}: ")
    assert done.stderr.count("\n") == 1
    assert {path.name: sha256_file(path) for path in out.iterdir()} == before
