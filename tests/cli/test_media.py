"""``kgrec media``: fetch, retry, and why a film has no poster."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from kgrec.cli.app import app
from kgrec.data import schemas
from kgrec.data.io import write_parquet


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["media", *arguments])


def write(path: Path, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    empty = {field.name: [] if pa.types.is_list(field.type) else None for field in schema}
    write_parquet(pa.Table.from_pylist([empty | row for row in rows], schema=schema), path)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A current directory where a pipeline ran as far as ``kg``, and a site with one poster of two."""
    stages = tmp_path / "artifacts"
    write(
        stages / "02_interactions" / "items.parquet",
        schemas.ITEMS,
        [{"item_id": i, "title": f"Film {i}"} for i in "12"],
    )
    write(stages / "04_link" / "links.parquet", schemas.LINKS, [])
    write(stages / "05_kg" / "entities.parquet", schemas.ENTITIES, [{"entity_id": "m.p", "name": "A. Person"}])
    write(stages / "05_kg" / "keys.parquet", schemas.KEYS, [])
    for role in ("posters", "texts", "audio", "video"):
        (stages / "01_fetch" / "raw" / role).mkdir(parents=True)
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)).save(stream, "JPEG")
    with HTTPServer(host="127.0.0.1") as server:
        server.expect_request("/1.jpg").respond_with_data(stream.getvalue(), content_type="image/jpeg")
        server.expect_oneshot_request("/2.jpg").respond_with_data("busy", status=503)
        server.expect_request("/2.jpg").respond_with_data("gone", status=404)
        table = "item_id,url\n" + "".join(f"{i},{server.url_for(f'/{i}.jpg')}\n" for i in "12")
        (stages / "01_fetch" / "raw" / "posters" / "posters.csv").write_text(table)
        web = {
            "contact": "tests@example.org", "allow_local": [f"127.0.0.1:{server.port}"], "attempts": 1, "max_failed": 1.0,
            "per_second": {"default": 1000.0},
        }  # fmt: skip
        media = {"sources": [{"kind": "folder"}, {"kind": "urls", "table": "posters.csv"}], "web": web}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"media": media}))
        monkeypatch.chdir(tmp_path)
        yield server


def test_fetch_then_retry_what_failed_then_ask_why(desk: HTTPServer) -> None:
    result = invoke("fetch", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["by_status"] == {"failed": 1, "ok": 1}
    result = invoke("retry", "--only", "failed")
    assert result.exit_code == 0, result.output
    assert "requests: 1 missing" in result.stdout
    assert [request.path for request, _ in desk.log] == ["/1.jpg", "/2.jpg", "/2.jpg"]

    from kgrec.cli.common import section
    from kgrec.cli.media import _here
    from kgrec.media.collect import MediaSettings, collect_media

    catalogue, folders = _here()
    settings = section(MediaSettings, Path("params.yaml"), "media")
    collect_media(catalogue, folders, Path("artifacts/06_media"), Path(".kgrec/cache/media"), settings)
    result = invoke("status")
    assert result.exit_code == 0, result.output
    assert "50.0%" in result.stdout
    assert "missing: folder: no file; urls:posters: HTTP 404" in " ".join(result.stdout.split())
    result = invoke("status", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("/2.jpg") == 2
    result = invoke("status", "2", "--json")
    assert [row["http"] for row in json.loads(result.stdout)["tries"]] == [503, 404]


def test_prune_deletes_nothing_that_is_in_use(desk: HTTPServer) -> None:
    invoke("fetch")
    result = invoke("prune")
    assert result.exit_code == 0, result.output
    assert result.stdout == "0 expired; 0 files deleted, 0.0 MB\n"
    assert invoke("prune", "--as-of", "soon").exit_code == 1


def test_without_a_source_on_the_web_there_is_nothing_to_fetch(desk: HTTPServer) -> None:
    Path("params.yaml").write_text("media: {}\n")
    result = invoke("fetch")
    assert result.exit_code == 1
    assert "names no source on the web" in result.output


def test_an_unknown_choice_is_told(desk: HTTPServer) -> None:
    result = invoke("retry", "--only", "falied")
    assert result.exit_code == 1
    assert "choose failed, missing or all" in result.output
