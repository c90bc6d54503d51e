"""``kgrec kg leaks`` on a hand-made graph: words, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kgrec.cli.app import app
from kgrec.data.io import write_parquet
from kgrec.data.schemas import LINKS, TRIPLES
from kgrec.kg.quality_tables import DROPPED
from kgrec.kg.relations import BOOKKEEPING, LEAKS, VOTED_AWARDS


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["kg", "leaks", *map(str, arguments)])


@pytest.fixture(name="pipeline")
def _pipeline(tmp_path: Path) -> Path:
    """The outputs of a pipeline with a leaking relation in the graph, and one that was left out."""
    facts = [("m.1", "x.also_viewed", "m.2"), ("m.1", "x.genre", "m.g"), ("m.2", "x.genre", "m.g")]
    rows = [dict(zip(TRIPLES.names, fact, strict=True)) for fact in facts]
    kg, link = tmp_path / "artifacts" / "05_kg", tmp_path / "artifacts" / "04_link"
    write_parquet(pa.Table.from_pylist(rows, schema=TRIPLES), kg / "triples.parquet")
    write_parquet(LINKS.empty_table(), link / "links.parquet")
    gone = [{"relation": "type.object.key", "facts": 1234, "pattern": "type.*", "reason": "a reason [in] brackets"}]
    write_parquet(pa.Table.from_pylist(gone, schema=DROPPED), kg / "quality" / "dropped.parquet")
    return tmp_path


def test_words(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    result = invoke()
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"x.also_viewed 1 1 *also_viewed* {LEAKS['*also_viewed*']}" in lines
    assert "type.object.key 1,234 type.* a reason [in] brackets" in lines
    assert not any("x.genre" in line for line in lines)


def test_json_and_check(pipeline: Path) -> None:
    graph = pipeline / "artifacts" / "05_kg"
    result = invoke(graph, "--json", "--check")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert [row["relation"] for row in answer["suspected"]] == ["x.also_viewed"]
    assert answer["dropped"][0]["facts"] == 1234
    rows = [{"head": "m.1", "relation": "x.genre", "tail": "m.g"}]
    write_parquet(pa.Table.from_pylist(rows, schema=TRIPLES), graph / "triples.parquet")
    result = invoke(graph, "--check")
    assert (result.exit_code, "is suspected to leak" in result.stdout) == (0, True)


def test_patterns_come_with_reasons() -> None:
    words = " ".join(invoke("--patterns").stdout.split())
    for pattern, reason in (LEAKS | VOTED_AWARDS | BOOKKEEPING).items():
        assert f"{pattern} {reason}" in words
    assert json.loads(invoke("--patterns", "--json").stdout)["leaks"] == LEAKS


def test_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke()
    assert result.exit_code == 1
    assert "has no folder artifacts/*_kg" in result.stderr
    assert "no such folder" in invoke(tmp_path / "nowhere").stderr
