"""One word names one thing in six places; dvc.yaml says what the stages really take, read and write."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipeline.layout import STAGES
from pipeline.params import Params, load_params

ROOT = Path(__file__).resolve().parents[1]
WORDS = list(STAGES)
#: what only decides how things are told, not what is computed: a change there must not train a model again
TELLING = {"kgrec.errors", "kgrec.progress", "kgrec.config", "kgrec.version"}


@pytest.fixture(scope="module")
def dvc_stages() -> dict[str, Any]:
    """The stages as DVC itself resolves them, by name."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        return {stage.name: stage for stage in repo.index.stages}


def paths(entries: list[Any]) -> list[str]:
    """Paths of deps or outs relative to the repository, parameters left out."""
    return [str(entry.def_path) for entry in entries if type(entry).__name__ != "ParamsDependency"]


def test_one_word_in_six_places(dvc_stages: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "stages").glob("test_*.py")}
    entries = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    folders = {path.name for path in (ROOT / "artifacts").iterdir() if path.is_dir()}
    assert list(Params.model_fields) == WORDS
    assert set(dvc_stages) == set(WORDS)
    assert entries == set(WORDS)
    assert folders == {stage.folder.name for stage in STAGES.values()}
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == WORDS
    assert set(WORDS) <= tested


@pytest.mark.parametrize("word", WORDS)
def test_outputs_are_those_of_the_layout(word: str, dvc_stages: dict[str, Any]) -> None:
    stage = STAGES[word]
    expected = {*(str(stage.path(output)) for output in stage.outputs), str(stage.report)}
    assert set(paths(dvc_stages[word].outs)) == expected
    uncached = {out.def_path for out in dvc_stages[word].outs if not out.use_cache}
    assert str(stage.report) in uncached


@pytest.mark.parametrize("word", WORDS)
def test_a_stage_reads_only_what_earlier_stages_wrote(word: str, dvc_stages: dict[str, Any]) -> None:
    outputs = {out.def_path: stage.name for stage in dvc_stages.values() for out in stage.outs}
    for path in paths(dvc_stages[word].deps):
        if path.startswith("artifacts/"):
            source = next(name for out, name in outputs.items() if path == out or path.startswith(f"{out}/"))
            assert STAGES[source].number < STAGES[word].number, f"{word} reads {path}"


@pytest.mark.parametrize("word", WORDS)
def test_command_parses(word: str, dvc_stages: dict[str, Any]) -> None:
    """Every path in the command is declared, and the entry takes exactly these options."""
    python, flag, module, *arguments = shlex.split(dvc_stages[word].cmd)
    assert (python, flag, module) == ("python", "-m", f"stages.{word}")
    app = typer.Typer()
    app.command()(importlib.import_module(module).main)
    context = typer.main.get_command(app).make_context(module, list(arguments))
    assert context.params["out"] == STAGES[word].folder
    declared = paths(dvc_stages[word].deps)
    for argument in arguments:
        if argument.startswith("artifacts/") and Path(argument) != STAGES[word].folder:
            assert any(dep == argument or dep.startswith(f"{argument}/") for dep in declared), f"{argument} is no dep"


@pytest.mark.parametrize("word", WORDS)
def test_own_section_is_the_only_parameter(word: str, dvc_stages: dict[str, Any]) -> None:
    params = [list(dep.params) for dep in dvc_stages[word].deps if type(dep).__name__ == "ParamsDependency"]
    assert params == [[word]]


@pytest.mark.parametrize("word", WORDS)
def test_code_is_declared(word: str, dvc_stages: dict[str, Any]) -> None:
    """The modules of kgrec that a stage imports, directly or not, lie under its deps."""
    declared = paths(dvc_stages[word].deps)
    wanted = {f"stages/{word}.py"}
    for module in reachable(ROOT / "stages" / f"{word}.py"):
        path = module_file(module)
        if module not in TELLING and path is not None and path.name != "__init__.py":
            wanted.add(str(path.relative_to(ROOT)))
    missing = {p for p in wanted if not any(p == dep or p.startswith(f"{dep}/") for dep in declared)}
    assert not missing
    unused = [dep for dep in declared if dep.startswith("kgrec/") and not (ROOT / dep).exists()]
    assert not unused


@pytest.mark.parametrize(
    ("changed", "untouched"),
    [
        ("artifacts/01_fetch/raw/posters", ["fetch", "interactions", "extract", "link", "kg", "split"]),
        ("pipeline/overrides/posters", ["fetch", "interactions", "extract", "link", "kg", "split"]),
        ("artifacts/01_fetch/raw/kg", ["fetch", "interactions"]),
        ("kgrec/serving/report", [word for word in WORDS if word != "report"]),
        ("kgrec/evaluation/significance.py", WORDS[:10]),
    ],
)
def test_a_change_reaches_only_what_it_must(changed: str, untouched: list[str], dvc_stages: dict[str, Any]) -> None:
    """Follow a changed file downstream, as if every stage that runs again wrote something new."""
    new, reached = {changed}, set()
    for word in WORDS:
        deps = paths(dvc_stages[word].deps)
        if any(dep == one or dep.startswith(f"{one}/") or one.startswith(f"{dep}/") for dep in deps for one in new):
            reached.add(word)
            new |= set(paths(dvc_stages[word].outs))
    assert sorted(reached, key=WORDS.index) == [word for word in WORDS if word not in untouched]


def test_committed_params_are_the_demo_recipe() -> None:
    from pipeline.layout import RECIPES

    assert load_params(ROOT / "params.yaml") == load_params(RECIPES / "demo.yaml")


def module_file(module: str) -> Path | None:
    """The file of a module of this repository."""
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)


def reachable(start: Path) -> set[str]:
    """Modules of kgrec imported from ``start`` on, anywhere in a file; ``import kgrec`` alone leads nowhere further."""
    found: set[str] = set()
    queue = [start]
    while queue:
        for module in imports(queue.pop()):
            if module not in found and module.startswith("kgrec.") and module_file(module) is not None:
                found.add(module)
                queue.append(module_file(module))  # type: ignore[arg-type]
    return found


def imports(file: Path) -> set[str]:
    """Modules a file imports at run time, ``from package import module`` included."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
