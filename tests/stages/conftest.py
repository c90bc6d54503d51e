"""A house: all artifacts of a tiny demo world, made by the commands of dvc.yaml, each once and only when asked for."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from filelock import FileLock

from kgrec.data.io import read_json
from pipeline.layout import RECIPES, STAGES

ROOT = Path(__file__).resolve().parents[2]

#: what makes the demo recipe tiny
TINY: dict[str, dict[str, Any]] = {
    "fetch": {"demo": {"users": 60, "items": 80, "ratings_per_user": 20.0}},
    "train": {"epochs": 2},
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, at any depth."""
    result = dict(base)
    for key, value in changes.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if inner else value
    return result


class House:
    """The artifacts of one run under ``folder``.

    :param changes: laid over the demo recipe
    """

    def __init__(self, folder: Path, changes: dict[str, Any]) -> None:
        self.folder, self.params = folder, folder / "params.yaml"
        recipe = yaml.safe_load((RECIPES / "demo.yaml").read_text(encoding="utf-8"))
        self.overrides = folder / "overrides"
        self.overrides.mkdir(parents=True, exist_ok=True)
        values = merged(merged(recipe, changes), {"media": {"overrides": str(self.overrides)}})
        self.params.write_text(yaml.safe_dump(values), encoding="utf-8")
        commands = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        self.commands = {
            word: stage["cmd"].replace("${publish.model}", values["publish"]["model"])
            for word, stage in commands.items()
        }

    def path(self, word: str, output: str = "") -> Path:
        """An output of a stage, or its folder."""
        return self.folder / (STAGES[word].path(output) if output else STAGES[word].folder)

    def run(self, word: str) -> dict[str, Any]:
        """Run a stage by its command in dvc.yaml, in this process. :returns: its report"""
        _, _, module, *arguments = shlex.split(self.commands[word])
        moved = [str(self.folder / one) if one.startswith(("artifacts/", ".kgrec/")) else one for one in arguments]
        app = typer.Typer()
        app.command()(importlib.import_module(module).main)
        typer.main.get_command(app).main([*moved, "--params", str(self.params)], standalone_mode=False)
        return read_json(self.path(word) / "report.json")

    def report(self, word: str) -> dict[str, Any]:
        """The report of a stage; it and all before it are run if they were not yet."""
        with FileLock(self.folder / ".lock"):
            for earlier in STAGES.values():
                if earlier.number <= STAGES[word].number and not (self.folder / earlier.report).exists():
                    self.run(earlier.word)
        return read_json(self.path(word) / "report.json")


def _shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str) -> House:
    """A house that the workers of one test run share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    with FileLock(shared / f"{name}.lock"):
        return House(shared / name, TINY)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> House:
    """The house that all tests of this folder look at. Nobody changes it."""
    return _shared(request, tmp_path_factory, "house")


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> House:
    """A house with the same parameters in another place, with caches of its own."""
    return _shared(request, tmp_path_factory, "twin")
