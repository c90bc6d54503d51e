"""Inspecting tells the state of every file instead of stopping at the first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kgrec.serving.inspect import inspect_model


def test_a_sound_folder(published: dict[str, Path]) -> None:
    facts = inspect_model(published["bpr_mf"])
    files = {file.name: file for file in facts.files}
    assert facts.sound
    assert files["user_vectors.parquet"].content == "40 rows: id string, vector float[16]"
    assert files["model.safetensors"].content == "1 tensors: node [70, 16]"
    assert files["README.md"].status == "unchecked"
    assert facts.metrics["model"] == "bpr_mf"
    assert json.loads(json.dumps(facts.as_dict()))["sound"] is True


def test_damaged_missing_and_foreign_files(published: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published["bpr_mf"], tmp_path / "model"))
    (folder / "vocab.parquet").write_bytes(b"x")
    (folder / "seen.parquet").unlink()
    (folder / "metrics.json").unlink()
    (folder / "notes.txt").write_text("mine")
    facts = inspect_model(folder)
    states = {file.name: file.status for file in facts.files}
    assert not facts.sound
    assert states["vocab.parquet"] == "damaged"
    assert states["seen.parquet"] == "missing"
    assert states["notes.txt"] == "unchecked"
    assert facts.metrics == {}
