"""Every command answers, in words and in JSON, and tells the caller's errors in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import kgrec
from kgrec.cli.app import app
from kgrec.errors import CheckpointError

runner = CliRunner()


def invoke(*arguments: object) -> Any:
    return runner.invoke(app, [str(one) for one in arguments])


def test_recommend_prints_ranks_titles_and_scores(published: dict[str, Path]) -> None:
    result = invoke("recommend", "--model", published["bpr_mf"], "--user", "7", "-k", "3")
    assert result.exit_code == 0, result.stderr
    wanted = kgrec.load(published["bpr_mf"]).recommend("7", 3)[0]
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "user 7"
    for rank, (line, one) in enumerate(zip(lines[2:], wanted, strict=True), start=1):
        assert line.split()[0] == str(rank)
        assert one.title in line
        assert line.split()[-1] == f"{one.score:.4f}"


def test_recommend_as_json_for_several_users(published: dict[str, Path]) -> None:
    result = invoke("recommend", "-m", published["ease"], "-u", "7", "-u", "1", "-k", "2", "--json")
    answer = json.loads(result.stdout)
    assert [row["user_id"] for row in answer] == ["7", "1"]
    assert set(answer[0]["items"][0]) == {"item_id", "title", "score"}
    assert [len(row["items"]) for row in answer] == [2, 2]


def test_recommend_with_seen_items(published: dict[str, Path]) -> None:
    result = invoke("recommend", "-m", published["ease"], "-u", "7", "-k", "30", "--seen", "--json")
    assert len(json.loads(result.stdout)[0]["items"]) == 30


def test_similar(published: dict[str, Path]) -> None:
    result = invoke("similar", "--model", published["bpr_mf"], "--item", "1", "-k", "4")
    assert result.exit_code == 0
    assert "like Silent Harbour" in result.stdout
    answer = json.loads(invoke("similar", "-m", published["bpr_mf"], "-i", "1", "--json").stdout)
    assert answer["title"] == "Silent Harbour"
    assert len(answer["items"]) == 10


def test_inspect(published: dict[str, Path], tmp_path: Path) -> None:
    result = invoke("inspect", published["bpr_mf"])
    assert result.exit_code == 0
    for word in ("kgrec-demo-bpr-mf", "synthetic data", "user_vectors.parquet", "Recall@10", "mask: train+valid"):
        assert word in result.stdout
    assert json.loads(invoke("inspect", published["bpr_mf"], "--json").stdout)["sound"] is True
    broken = shutil.copytree(published["bpr_mf"], tmp_path / "model")
    (broken / "seen.parquet").write_bytes(b"")
    result = invoke("inspect", broken)
    assert result.exit_code == 1
    assert "damaged" in result.stdout


def test_doctor() -> None:
    result = invoke("doctor", "--json")
    assert result.exit_code == 0
    found = {one["name"]: one["status"] for one in json.loads(result.stdout)}
    assert found["DGL"] == found["PyTorch"] == "ok"


def test_doctor_says_when_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from kgrec.serving import doctor

    findings = [doctor.Finding("DGL", "missing", "does not import", "pip install dgl")]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "→ pip install dgl" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "--user", "nobody"), "unknown user 'nobody'"),
        (("similar", "--item", "999"), "unknown item '999'"),
    ],
)
def test_an_error_is_one_line(published: dict[str, Path], arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments, "--model", published["bpr_mf"])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    arguments = ["recommend", "--model", str(tmp_path / "x"), "--user", "1"]
    assert isinstance(runner.invoke(app, ["--debug", *arguments]).exception, CheckpointError)
    assert isinstance(runner.invoke(app, arguments).exception, SystemExit)


def test_wrong_use_is_exit_code_2(published: dict[str, Path]) -> None:
    assert invoke("recommend", "--model", published["ease"], "--user", "1", "-k", "0").exit_code == 2
    assert invoke("recommend", "--user", "1").exit_code == 2
    assert invoke("frobnicate").exit_code == 2


def test_train_and_evaluate_are_one_call(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kgrec.training import run

    params = tmp_path / "params.yaml"
    params.write_text("train: {models: {ease: {}}, seed: 3}\nevaluate: {topk: [5], bootstrap: 100, device: cpu}\n")
    state = tmp_path / "state"
    calls: list[Any] = []

    def train_models(*arguments: Any) -> dict[str, int]:
        calls.append((*arguments, state.exists()))
        return {"ease": 1}

    monkeypatch.setattr(run, "train_models", train_models)
    common = ("--graph", world.graph, "--split", world.split, "--params", params)
    for flag, kept in (("--resume", True), ("--fresh", False)):
        state.mkdir(exist_ok=True)
        result = invoke("train", *common, "--out", tmp_path / "out", "--state", state, flag)
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"ease": 1})
        graph, split, out, settings, folder, existed = calls.pop()
        assert (graph, split, out, folder, existed) == (world.graph, world.split, tmp_path / "out", state, kept)
        assert (settings.seed, list(settings.models)) == (3, ["ease"])
    result = invoke("evaluate", *common, "--models", world.models, "--out", tmp_path / "evaluated")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["models"] == 4  # and nothing else on standard output
    assert "evaluated model" in result.stderr
    assert (tmp_path / "evaluated" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"), ("a: [", "is not YAML"), ("- 1", "sections of keys and values"),
        ("evaluate: {topkk: [5]}", "unknown key 'topkk'; did you mean 'topk'?"),
    ],
)  # fmt: skip
def test_bad_parameters(world: Any, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "p.yaml").write_text(content)
    result = invoke(
        "evaluate", "--models", world.models, "--graph", world.graph, "--split", world.split,
        "--out", tmp_path / "out", "--params", tmp_path / "p.yaml",
    )  # fmt: skip
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_version_and_help() -> None:
    assert invoke("--version").stdout == f"kgrec {kgrec.__version__}\n"
    for command in ("recommend", "similar", "inspect", "doctor", "train", "evaluate"):
        assert invoke(command, "--help").exit_code == 0


def test_python_m_kgrec(published: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "kgrec", "recommend", "--model", str(published["ease"]), "--user", "nobody"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("error: unknown user 'nobody'")
    assert "Traceback" not in result.stderr
