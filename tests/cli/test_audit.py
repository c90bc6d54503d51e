"""``kgrec audit`` in words and in JSON, on link files that are right and wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kgrec.cli.app import app

FILMS = [
    "Silver Harbour", "Crimson Garden", "Quiet Winter", "Broken Mirror", "Hidden Station", "Golden Letter",
    "Frozen Voyage", "Burning Orchard", "Lonely Bridge", "Secret Empire", "Distant Window", "Hollow Canyon",
]  # fmt: skip
YEARS = [1950 + 5 * at for at in range(len(FILMS))]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit", *(str(one) for one in arguments)])


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with ``movies.dat``, a table of entities, right and shifted link files."""
    films = list(enumerate(zip(FILMS, YEARS, strict=True), start=1))
    (tmp_path / "movies.dat").write_text("".join(f"{at}::{name} ({year})::Drama\n" for at, (name, year) in films))
    rows = "".join(f"m.{at},{name},{year}\n" for at, (name, year) in films)
    (tmp_path / "entities.csv").write_text("entity_id,name,year\n" + rows)
    (tmp_path / "right.txt").write_text("".join(f"{at}\tm.{at}\r\n" for at, _ in films), newline="")
    (tmp_path / "one.link").write_text(
        "item_id:token\tentity_id:token\n" + "".join(f"{at}\tm.{min(at + (at == 5), 12)}\n" for at, _ in films)
    )
    (tmp_path / "shifted.txt").write_text("".join(f"{at}\tm.{at % 12 + 1}\n" for at, _ in films))
    return tmp_path


def options(desk: Path) -> tuple[object, ...]:
    return ("--items", desk / "movies.dat", "--entities", desk / "entities.csv")


def test_a_right_file(desk: Path) -> None:
    result = invoke(desk / "right.txt", *options(desk))
    assert result.exit_code == 0, result.stderr
    assert "12 of 12 items (100.0%)" in result.stdout
    assert "suspicious rows" not in result.stdout


def test_a_wrong_row_is_shown_with_its_reason(desk: Path) -> None:
    result = invoke(desk / "one.link", *options(desk))
    assert result.exit_code == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("5 ")]
    assert "Hidden Station (1970)" in line
    assert "Golden Letter (1975)" in line
    assert "titles differ" in line
    assert "suspicious rows" not in invoke(desk / "one.link", *options(desk), "--show", "0").stdout


def test_a_shifted_file_is_refused_after_it_is_reported(desk: Path) -> None:
    result = invoke(desk / "shifted.txt", *options(desk), "--out", desk / "out", "--show", "2")
    assert result.exit_code == 1
    assert "and 10 more; --out writes all of them" in result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "shifted.txt: an estimated 0.0% of the links are right" in line
    assert "12 of 12 linked entities are items of the catalogue" in line
    assert json.loads((desk / "out" / "metrics.json").read_text())["refused"] is True
    assert (desk / "out" / "plots" / "scores.png").stat().st_size > 1000


def test_without_evidence_it_says_so(desk: Path) -> None:
    (desk / "item_list.txt").write_text("org_id remap_id\n" + "".join(f"{at} {at - 1}\n" for at in range(1, 13)))
    result = invoke(desk / "right.txt", "--items", desk / "item_list.txt", "--entities", desk / "entities.csv")
    assert result.exit_code == 0, result.stderr
    assert "unknown: no link has evidence" in result.stdout
    assert "0 (not: 12 without evidence)" in result.stdout


def test_json(desk: Path) -> None:
    result = invoke(desk / "one.link", *options(desk), "--json")
    answer = json.loads(result.stdout)
    assert (answer["rows"], answer["suspicious"], answer["mismatch"]) == (12, 1, None)
    assert answer["suspicious_rows"][0]["item_id"] == "5"
    assert answer["duplicate_rows"] == [{"item_id": "6", "entity_id": "m.6", "repeats": "entity is also item 5"}]
    wrong = invoke(desk / "shifted.txt", *options(desk), "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.stdout)["mismatch"] in wrong.stderr


def test_in_a_pipelines_folder_the_stages_outputs_are_audited(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    result = invoke()
    assert result.exit_code == 1
    assert "has no folder artifacts/*_link" in result.stderr
    folder = desk / "artifacts" / "04_link"
    folder.mkdir(parents=True)
    rows = "".join(f"{at},m.{at}\n" for at in range(1, 13))
    (desk / "links.csv").write_text("item_id,entity_id\n" + rows)
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(desk / "links.csv"), folder / "links.parquet")
    assert invoke(*options(desk)).exit_code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.txt", "no such file; give a link file"), ("movies.dat", "which is not KB4Rec"), ("empty", "which is not")],
)
def test_bad_link_files(desk: Path, name: str, message: str) -> None:
    (desk / "empty").write_text("")
    result = invoke(desk / name, *options(desk))
    assert result.exit_code == 1
    assert message in result.stderr


def test_bad_items_and_entities(desk: Path) -> None:
    result = invoke(desk / "right.txt", "--items", desk / "nothing", "--entities", desk / "entities.csv")
    assert (result.exit_code, "give an item file" in result.stderr) == (1, True)
    result = invoke(desk / "right.txt", "--items", desk / "movies.dat", "--entities", desk / "nothing")
    assert (result.exit_code, "give a table of entities" in result.stderr) == (1, True)
