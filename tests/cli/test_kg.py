"""``kgrec kg`` in words, in JSON, and with one line for an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from kgrec.cli import kg
from kgrec.cli.app import app
from kgrec.kg.formats import FORMATS, FormatName, GraphBuilder, write_graph

runner = CliRunner()


def invoke(*arguments: object) -> Any:
    return runner.invoke(app, ["kg", *map(str, arguments)])


@pytest.fixture(autouse=True)
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's outputs in the current directory: a graph, and the links beside it."""
    builder = GraphBuilder("rdf")
    builder.add_triples(
        [
            ("m.0dyb1", "film.film.directed_by", "m.04jspq"),
            ("m.0dyb1", "film.film.starring..film.performance.actor", "m.0bxtg"),
            ("m.04hwbq", "film.film.prequel", "m.0dyb1"),
            *[(f"m.0{at}", "film.film.genre", "m.comedy") for at in range(15)],
            ("m.04hwbq", "film.film.genre", "m.comedy"),
        ]
    )
    names = {
        "m.0dyb1": "Toy Story",
        "m.04jspq": "John Lasseter",
        "m.04hwbq": "Toy Story 3",
        "m.comedy": "[b]Comedy[/b]",
    }
    for entity, name in names.items():
        builder.add_entity(entity, name=name, type="film.film")
    builder.add_entity("m.0dyb1", description="A cowboy doll …")
    builder.add_link("1", "m.0dyb1")
    graph, links = tmp_path / "artifacts" / "5_kg", tmp_path / "artifacts" / "4_link"
    write_graph(builder.graph(), graph)
    links.mkdir()
    (graph / "links.parquet").rename(links / "links.parquet")
    monkeypatch.chdir(tmp_path)
    return graph


def test_show(graph: Path) -> None:
    result = invoke("show", "toy story")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["Toy", "Story", "film.film", "m.0dyb1", "item", "1", "3", "triples"]
    assert lines[1] == ["A", "cowboy", "doll", "…"]
    assert lines[3:] == [
        ["→", "film.film.directed_by", "John", "Lasseter", "film.film", "m.04jspq"],
        ["→", "film.film.starring", "m.0bxtg"],
        ["..film.performance.actor"],
        ["←", "film.film.prequel", "Toy", "Story", "3", "film.film", "m.04hwbq"],
    ]
    for other in ("m.0dyb1", "/m/0dyb1", "1", "item:1"):
        assert invoke("show", other).stdout == result.stdout


def test_show_counts_what_it_does_not_show() -> None:
    output = invoke("show", "m.comedy", "-n", 3).stdout
    assert "[b]Comedy[/b]" in output  # a name is no markup
    assert "… and 13 more" in output
    assert len(output.splitlines()) == 2 + 4
    assert "more" not in invoke("show", "m.comedy", "-n", 16).stdout


def test_show_lists_several_of_a_name() -> None:
    output = invoke("show", "toy").stdout
    assert "'toy' may be one of these; ask by id" in output
    assert [line.split()[-1] for line in output.splitlines()[2:]] == ["m.0dyb1", "m.04hwbq"]


def test_show_as_json() -> None:
    answer = json.loads(invoke("show", "1", "--json").stdout)
    assert [one["entity_id"] for one in answer["entities"]] == ["m.0dyb1"]
    assert [(one["relation"], one["outgoing"]) for one in answer["facts"]] == [
        ("film.film.directed_by", True), ("film.film.starring..film.performance.actor", True), ("film.film.prequel", False),
    ]  # fmt: skip
    assert json.loads(invoke("show", "toy", "--json").stdout)["facts"] == []


def test_describe() -> None:
    result = invoke("describe")
    assert result.exit_code == 0, result.stderr
    for words in (
        ["triples", "19"], ["relations", "4"], ["entities", "20"],
        ["items", "1,", "100", "%", "linked,", "100", "%", "with", "triples"],
        ["known", "name", "20.0", "%", "description", "5.0", "%", "type", "20.0", "%"],
        ["film.film.genre", "16", "██████████████", "16", "1", "0", "%", "Toy", "Story", "3", "→", "[b]Comedy[/b]"],
        ["film.film.prequel", "1", "▉", "1", "1", "100", "%", "Toy", "Story", "3", "→", "Toy", "Story"],
        ["9–16", "1", "▉"],
    ):  # fmt: skip
        assert words in [line.split() for line in result.stdout.splitlines()], words
    assert json.loads(invoke("describe", "--json").stdout)["totals"]["items_linked"] == 1


def test_describe_leaves_out_what_is_small(tmp_path: Path) -> None:
    builder = GraphBuilder("test")
    builder.add_triples((f"m.{at}", f"r{at:02}", "m.x") for at in range(23))
    write_graph(builder.graph(), tmp_path / "many")
    output = invoke("describe", tmp_path / "many").stdout
    assert "… and 3 more relations (--all)" in output
    assert "r22" not in output
    assert "r22" in invoke("describe", tmp_path / "many", "--all").stdout


@pytest.mark.parametrize("format", get_args(FormatName))
def test_export_and_import(tmp_path: Path, graph: Path, format: str) -> None:
    result = invoke("export", "--format", format, "--out", tmp_path / "data")
    assert result.exit_code == 0, result.stderr
    assert f"exported {format}" in result.stdout
    assert ("1 links; " in result.stdout) == (format in ("pykeen", "ntriples"))
    result = invoke("import", tmp_path / "data", "--out", tmp_path / "back")
    assert result.exit_code == 0, result.stderr
    assert f"imported {format}" in result.stdout
    assert ["entities", "20,", "4", "named"] in [line.split() for line in result.stdout.splitlines()]
    for name in ("triples", "entities"):
        assert (tmp_path / "back" / f"{name}.parquet").read_bytes() == (graph / f"{name}.parquet").read_bytes()
    counts = json.loads(
        invoke("import", tmp_path / "data", "--out", tmp_path / "back", "--json", "--format", format).stdout
    )
    assert (counts["triples"], counts["links"]) == (19, int(format in ("recbole", "kgat")))


def test_languages(tmp_path: Path) -> None:
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    (tmp_path / "x.nt").write_text(f'<http://a/a> {label} "eins"@de .\n<http://a/a> <http://a/p> <http://a/b> .\n')
    for languages, named in (((), 0), (("--language", "fr", "--language", "de"), 1)):
        result = invoke("import", tmp_path / "x.nt", "--out", tmp_path / "out", "--json", *languages)
        assert json.loads(result.stdout)["entities_named"] == named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("show", "Toy Stroy"),
            "error: artifacts/5_kg: has no entity, item or name 'Toy Stroy'; did you mean 'Toy Story'",
        ),
        (("describe", "nowhere"), "error: nowhere: no such folder"),
        (("import", "nowhere", "--out", "x"), "error: nowhere: no such file or folder"),
        (("export", "nowhere", "--out", "x", "--format", "kgat"), "error: nowhere: no such folder"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(message)
    assert not Path("x").exists()


def test_without_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "has no folder artifacts/*_kg; name the folder" in invoke("describe").stderr


def test_formats_are_those_of_the_library() -> None:
    assert get_args(kg.Format) == get_args(FormatName) == tuple(FORMATS)
    assert invoke("export", "--format", "xml", "--out", "x").exit_code == 2
    for command in ("import", "export", "describe", "show", "leaks"):
        assert invoke(command, "--help").exit_code == 0
