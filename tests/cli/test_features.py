"""``kgrec features`` in words, in colour, in JSON, and with one line for an error."""

from __future__ import annotations

import io
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from kgrec.cli import show
from kgrec.cli.app import app
from kgrec.cli.errors import Commands
from kgrec.cli.features import app as features_app
from kgrec.cli.pictures import picture, shows_pictures
from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.features.pages import Card
from kgrec.features.search import Hit

runner = CliRunner()
TITLES = {"1": "Toy Story", "2": "Toy Story 2", "3": "[bold]Heat[/bold]", "4": "Lost Poster"}
COLOURS = {"1": (200, 30, 30), "2": (190, 40, 30), "3": (10, 20, 220)}
LABEL = "efficientnet-lite0@0123456789ab"


def invoke(*arguments: object) -> Any:
    assert isinstance(app.info.cls, type)
    assert issubclass(app.info.cls, Commands)
    known = [group.name for group in app.registered_groups]
    if "features" not in known:
        app.add_typer(features_app, name="features")
    return runner.invoke(app, ["features", *map(str, arguments)])


def features(folder: Path, noise: float = 0.0, label: str = LABEL) -> None:
    random = np.random.default_rng(1)
    rows = np.array([(*COLOURS[one], 5) for one in COLOURS], np.float16)
    rows += (noise * random.normal(size=rows.shape)).astype(np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4)
    hashes = [sha256(jpeg(colour)).hexdigest() for colour in COLOURS.values()]
    table = pa.table([[f"item:{one}" for one in COLOURS], hashes, [label] * 3, column], schema=schemas.features(4))
    write_parquet(table, folder / "vectors" / "image.parquet")


def jpeg(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 60), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's outputs in the current directory."""
    media, interactions = tmp_path / "artifacts" / "06_media", tmp_path / "artifacts" / "02_interactions"
    features(tmp_path / "artifacts" / "07_features")
    rows = [
        (f"item:{one}", sha256(jpeg(colour)).hexdigest(), jpeg(colour), 40, 60, "JPEG", 0)
        for one, colour in COLOURS.items()
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    write_parquet(pa.table(columns, schema=schemas.IMAGES), media / "images" / "images-00000.parquet")
    write_parquet(schemas.TEXTS.empty_table(), media / "texts.parquet")
    ledger = [(f"item:{one}", "image", "ok", "", f"{one}.jpg", "", "") for one in COLOURS]
    ledger.append(("item:4", "image", "missing", "no file", "", "", ""))
    columns = [list(column) for column in zip(*ledger, strict=True)]
    write_parquet(pa.table(columns, schema=schemas.LEDGER), media / "ledger.parquet")
    empty = {field.name: [] if pa.types.is_list(field.type) else None for field in schemas.ITEMS}
    items = [empty | {"item_id": one, "title": title} for one, title in TITLES.items()]
    write_parquet(pa.Table.from_pylist(items, schema=schemas.ITEMS), interactions / "items.parquet")
    (tmp_path / "params.yaml").write_text("fetch: {recipe: demo}\nfeatures: {text: null}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_search_in_a_pipe() -> None:
    result = invoke("search", "--like", "toy story")
    assert result.exit_code == 0, result.stderr
    lines = words(result.stdout)
    assert lines[0] == ["most", "like", "Toy", "Story", "item", "1"]
    assert lines[1][:6] == ["3", "image", "vectors", "of", LABEL + ";", "cosine"]
    assert lines[4][0] == "1"
    assert lines[4][2:] == ["Toy", "Story", "2", "item:2", "yes"]
    assert lines[5][2:] == ["[bold]Heat[/bold]", "item:3", "yes"]  # a title is no markup
    assert "\x1b" not in result.stdout
    assert len(lines) == 6


def test_search_as_json_and_as_a_page(run: Path) -> None:
    result = invoke("search", "--like", "1", "-k", 1, "--json", "--html", "out/page.html")
    answer = json.loads(result.stdout)
    assert answer["question"] == {"kind": "like", "said": "Toy Story", "key": "item:1"}
    assert [(hit["key"], hit["title"]) for hit in answer["hits"]] == [("item:2", "Toy Story 2")]
    assert answer["hits"][0]["similarity"] > 0.99
    page = (run / "out" / "page.html").read_text()
    assert page.count("<img ") == 2
    assert "wrote out/page.html" in invoke("search", "--like", "1", "--html", "out/page.html").stdout


def coloured(monkeypatch: pytest.MonkeyPatch, width: int = 80) -> io.StringIO:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=width, highlight=False)
    monkeypatch.setattr(show, "console", lambda: console)
    return out


def test_search_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    out = coloured(monkeypatch)
    assert invoke("search", "--like", "1").exit_code == 0
    text = out.getvalue()
    seen = {tuple(map(int, code)) for code in re.findall(r"48;2;(\d+);(\d+);(\d+)", text)}
    for colour in COLOURS.values():  # within JPEG's rounding: what was asked about, and the hits
        assert any(np.abs(np.subtract(colour, one)).max() <= 4 for one in seen), colour
    lines = Text.from_ansi(text).plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["Toy", "Story"] for line in lines)


def test_pictures_need_colours() -> None:
    for options, expected in (
        ({"force_terminal": True, "color_system": "truecolor"}, True),
        ({"force_terminal": True, "color_system": "256"}, True),
        ({"force_terminal": True, "color_system": "standard"}, False),
        ({"force_terminal": True, "color_system": "truecolor", "no_color": True}, False),
        ({"force_terminal": False, "color_system": "truecolor"}, False),
    ):
        assert shows_pictures(Console(file=io.StringIO(), **options)) is expected


@pytest.mark.parametrize("columns", [13, 14, 22])
def test_a_picture_and_its_placeholder_take_the_same_room(columns: int) -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system="truecolor")
    sizes = set()
    for image, reason in (
        (Image.new("RGB", (30, 200)), ""),
        (Image.new("RGB", (300, 100)), ""),
        (None, "rejected: placeholder"),
    ):
        lines = console.render_lines(picture(Card(Hit("item:1", None, 0.5), image, reason, ""), columns), pad=False)
        lines = [line for line in lines if line]
        sizes.add((len(lines), *{sum(segment.cell_length for segment in line) for line in lines}))
    assert sizes == {(round(columns * 0.75), columns)}


def test_status() -> None:
    result = invoke("status", "--quick")
    assert result.exit_code == 0, result.stderr
    lines = words(result.stdout)
    assert lines[1][:6] == ["image", "efficientnet-lite0", "4", "3", "0", "1"]
    assert ["1", "missing", "no", "file"] in lines
    assert "would change nothing" in result.stdout
    answer = json.loads(invoke("status", "--quick", "--json").stdout)
    assert [(one["modality"], one["present"], one["missing"], one["settled"]) for one in answer] == [
        ("image", 3, {"no file": 1}, True)
    ]


def test_status_of_an_item(run: Path) -> None:
    result = invoke("status", "--item", "lost poster", "--quick")
    assert ["image", "missing", "no", "file", "–"] in words(result.stdout)
    row = dict.fromkeys(schemas.TRIES.names) | {
        "key": "item:4", "source": "tmdb", "url": "https://example.org/4", "time": "2026-01-01T00:00:00Z",
        "status": "missing", "http": 404, "reason": "not found",
    }  # fmt: skip
    path = run / "artifacts" / "06_media" / "tries.parquet"
    write_parquet(pa.Table.from_pylist([row], schema=schemas.TRIES), path)
    assert ["2026-01-01T00:00:00Z", "tmdb", "missing", "404", "not", "found", "https://example.org/4"] in words(
        invoke("status", "--item", "4", "--quick").stdout
    )
    answer = json.loads(invoke("status", "--item", "4", "--quick", "--json").stdout)
    assert (answer["key"], answer["modalities"][0]["reason"], answer["tries"][0]["http"]) == ("item:4", "no file", 404)


def test_pin_and_drift(run: Path) -> None:
    result = invoke("pin")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("wrote pipeline/baselines/demo.parquet (")
    result = invoke("drift", "--out", "drift")
    assert result.exit_code == 0, result.stderr
    assert "Within the limits." in result.stdout
    assert {path.name for path in (run / "drift").iterdir()} == {"metrics.json", "plots"}
    features(run / "artifacts" / "07_features", label="efficientnet-lite0@ffffffffffff")
    result = invoke("drift", "--check")
    assert result.exit_code == 1
    assert "image: another encoder than the baseline's, now efficientnet-lite0@ffffffffffff" in result.stdout
    answer = json.loads(invoke("drift", "--json").stdout)
    assert answer["modalities"]["image"]["drift"]["same_encoder"] is False
    assert len(answer["warnings"]) == 1


def test_drift_against_another_folder(run: Path) -> None:
    features(run / "before", noise=300)
    answer = json.loads(invoke("drift", "--before", run / "before", "--json").stdout)
    assert answer["modalities"]["image"]["drift"]["norm_shift"] > 0.05
    assert "moved" in invoke("drift", "--before", run / "before").stdout


def test_encode_by_hand_then_status_then_prune(run: Path) -> None:
    """A tiny run from pictures to vectors: what is encoded is settled, and its cache is what it needs."""
    out = run / "artifacts" / "07_features"
    result = invoke("encode", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["image"]["encoded"] == 3
    status = json.loads(invoke("status", "--json").stdout)[0]
    assert (status["present"], status["stale"], status["cached"], status["settled"]) == (3, {}, 3, True)
    assert status["wanted"] in status["encoders"]
    assert json.loads(invoke("search", "--like", "1", "--json").stdout)["hits"][0]["key"] == "item:2"
    counts = json.loads(invoke("prune", "--json").stdout)
    assert (counts["kept"], counts["removed"]) == (3, 0)
    features(out)
    assert invoke("prune").stdout.startswith("kept 0 entries, removed 3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search",), "error: ask with words, or with --like ITEM, or with --image FILE"),
        (("search", "x", "--modality", "image"), "error: image vectors are of efficientnet-lite0, which reads no text"),
        (("search", "--like", "Toy Stroy"), "did you mean 'Toy Story'"),
        (("search", "--like", "4"), "error: item:4 has no image vector"),
        (("drift",), "error: pipeline/baselines/demo.parquet: no such baseline; `kgrec features pin` writes one"),
        (("drift", "--baseline", "a", "--before", "b"), "error: give --baseline or --before, not both"),
        (("drift", "--params", "none.yaml"), "error: none.yaml"),
        (("pin", "--features", "nowhere"), "error: nowhere/vectors: no such folder of feature tables"),
        (("status", "--media", "nowhere"), "error: nowhere: no such folder; run the media stage first"),
        (("status", "--params", "none.yaml"), "error: none.yaml: no such file"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]


def test_every_command_has_help() -> None:
    for command in features_app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        assert invoke(name, "--help").exit_code == 0
