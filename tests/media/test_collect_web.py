"""The media stage with sources on the web: fetched once, packed the same again without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from kgrec.data import schemas
from kgrec.data.io import read_parquet
from kgrec.errors import ConfigError, DataError
from kgrec.media.collect import MediaSettings, fetch_media
from kgrec.media.status import explain, summarise

Make = Callable[..., bytes]


@pytest.fixture
def site(world: Any, make_picture: Make) -> Iterator[HTTPServer]:
    """Posters of items 1 to 3: a good one, a grey card, an error page; item 4 is gone."""
    with HTTPServer(host="127.0.0.1") as server:
        server.expect_request("/1.jpg").respond_with_data(make_picture(1), content_type="image/jpeg")
        server.expect_request("/2.jpg").respond_with_data(GREY, content_type="image/jpeg")
        server.expect_request("/3.jpg").respond_with_data("<html>sorry</html>", content_type="image/jpeg")
        server.expect_request("/4.jpg").respond_with_data("gone", status=404)
        rows = "".join(f"{i},{server.url_for(f'/{i}.jpg')}\n" for i in range(1, 5))
        (world.posters / "posters.csv").write_text("item_id,url\n" + rows)
        yield server


def card() -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (60, 90), (128, 128, 128)).save(stream, "JPEG")
    return stream.getvalue()


GREY = card()


def chosen(site: HTTPServer, **web: Any) -> dict[str, Any]:
    here = f"127.0.0.1:{site.port}"
    web = {
        "contact": "tests@example.org",
        "allow_local": [here],
        "per_second": {"default": 1000},
        "backoff": 0,
        "attempts": 2,
    } | web
    return {"sources": [{"kind": "folder"}, {"kind": "urls", "table": "posters.csv"}], "web": web}


def tables(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def test_every_key_has_its_reason_and_a_replay_gives_equal_bytes(world: Any, site: HTTPServer, tmp_path: Path) -> None:
    report = world.collect(**chosen(site))
    rows = {
        row["key"]: row
        for row in read_parquet(world.out / "ledger.parquet", schemas.LEDGER).to_pylist()
        if row["modality"] == "image"
    }
    assert rows["item:1"]["status"] == "ok"
    assert rows["item:1"]["source"] == site.url_for("/1.jpg")
    assert rows["item:2"]["status"] == "rejected"
    assert rows["item:2"]["reason"] == "folder: no file; urls:posters: placeholder: near-uniform colour"
    assert "HTML" in rows["item:3"]["reason"]
    assert rows["item:4"]["status"] == "missing"
    assert report["image"]["ok"] == 1
    assert report["image"]["rejected"]["placeholder"] == 1

    tries = read_parquet(world.out / "tries.parquet", schemas.TRIES).to_pylist()
    assert [(row["key"], row["status"], row["http"]) for row in tries] == [
        ("item:1", "ok", 200), ("item:2", "ok", 200), ("item:3", "refused", 200), ("item:4", "missing", 404),
    ]  # fmt: skip
    asked, before = len(site.log), tables(world.out)
    assert world.collect(**chosen(site)) == report  # all is known
    assert len(site.log) == asked
    site.stop()
    world.out = tmp_path / "again"
    assert world.collect(**chosen(site, offline=True)) == report
    assert tables(world.out) == before


def test_a_file_one_has_comes_before_the_web_and_is_not_asked_for(
    world: Any, site: HTTPServer, make_picture: Make
) -> None:
    (world.posters / "1.jpg").write_bytes(make_picture(9))
    world.collect(**chosen(site))
    assert "/1.jpg" not in [request.path for request, _ in site.log]
    (row,) = read_parquet(world.out / "images" / "images-00000.parquet").to_pylist()
    assert row["bytes"] == make_picture(9)


def test_a_network_that_does_not_work_is_an_error_and_not_a_catalogue_without_posters(
    world: Any, site: HTTPServer
) -> None:
    many = [(str(i), f"Film {i}") for i in range(20)]
    world.tables(many)
    site.clear()
    site.expect_request("/").respond_with_data("")
    for item, _ in many:
        site.expect_request(f"/{item}.jpg").respond_with_data("busy", status=503)
    (world.posters / "posters.csv").write_text(
        "item_id,url\n" + "".join(f"{i},{site.url_for(f'/{i}.jpg')}\n" for i, _ in many)
    )
    with pytest.raises(DataError, match="failed"):
        world.collect(**chosen(site))
    assert not list(world.out.rglob("*.parquet"))
    report = world.collect(**chosen(site, max_failed=1))
    assert report["image"]["ok"] == 0
    assert sum(report["image"]["failed"].values()) == 20


def test_the_web_wants_a_contact(world: Any, site: HTTPServer) -> None:
    with pytest.raises(ConfigError, match="contact"):
        world.collect(**chosen(site, contact=None))
    assert not site.log


def test_plots_of_a_service_become_texts_with_their_licence(
    world: Any, make_picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMDB_API_KEY", "s3cret-s3cret")
    import pyarrow as pa

    from kgrec.data.io import write_parquet

    items = read_parquet(world.root / "items.parquet").to_pylist()
    items[0]["imdb_id"], items[1]["imdb_id"] = "tt0000001", "tt0000002"
    write_parquet(pa.Table.from_pylist(items, schema=schemas.ITEMS), world.root / "items.parquet")
    with HTTPServer(host="127.0.0.1") as server:
        answer = {
            "Response": "True",
            "Title": "Alpha",
            "Plot": "A plot from the web.",
            "Poster": server.url_for("/a.png"),
        }
        server.expect_request(
            "/", query_string={"i": "tt0000001", "plot": "full", "r": "json", "apikey": "s3cret-s3cret"}
        ).respond_with_json(answer)
        server.expect_request("/").respond_with_json({"Response": "False", "Error": "Movie not found!"})
        server.expect_request("/a.png").respond_with_data(make_picture(3, kind="PNG"), content_type="image/png")
        here = f"127.0.0.1:{server.port}"
        omdb = {"kind": "omdb", "base": server.url_for("/"), "hosts": [here]}
        world.collect(**(chosen(server) | {"sources": [omdb]}))
    texts = {row["key"]: row["text"] for row in read_parquet(world.out / "texts.parquet").to_pylist()}
    assert texts["item:1"] == "Alpha. A plot from the web."
    assert texts["item:2"] == "Beta"
    everything = b"".join(path.read_bytes() for path in world.root.rglob("*") if path.is_file())
    assert b"s3cret-s3cret" not in everything


def test_why_has_this_film_no_poster(world: Any, site: HTTPServer) -> None:
    world.collect(**chosen(site))
    told = explain("4", world.out, world.responses)
    assert [(row["modality"], row["status"]) for row in told["ledger"]] == [("image", "missing"), ("text", "missing")]
    assert [(row["status"], row["http"]) for row in told["tries"]] == [("missing", 404)]
    counts = summarise(world.out, world.responses)
    images = next(row for row in counts["coverage"] if row["modality"] == "image")
    assert (images["keys"], images["ok"], images["missing"], images["rejected"]) == (4, 1, 1, 2)
    assert counts["answers"]["addresses"] == {"missing": 1, "ok": 2, "refused": 1}
    with pytest.raises(DataError, match="has no key 'item:nobody'"):
        explain("nobody", world.out, world.responses)


def test_only_what_failed_is_asked_again(world: Any, site: HTTPServer, make_picture: Make, tmp_path: Path) -> None:
    from kgrec.config import parse_settings

    settings = parse_settings(MediaSettings, chosen(site, max_failed=1))
    site.clear()
    for item in (1, 2, 4):
        site.expect_request(f"/{item}.jpg").respond_with_data(make_picture(item), content_type="image/jpeg")
    site.expect_request("/3.jpg").respond_with_data("busy", status=503)
    first = fetch_media(world.catalogue, world.folders, tmp_path, world.responses, settings)
    assert first is not None
    assert first.by_status == {"failed": 2, "ok": 3}
    site.clear()
    site.expect_request("/3.jpg").respond_with_data(make_picture(3), content_type="image/jpeg")
    again = fetch_media(world.catalogue, world.folders, tmp_path, world.responses, settings, only="failed")
    assert again is not None
    assert again.by_status == {"ok": 1}
    assert world.collect(**chosen(site, offline=True))["image"]["ok"] == 4


def test_entities_get_pictures_when_the_settings_say_so(world: Any, make_picture: Make) -> None:
    (world.posters / "entity%3Am.p.jpg").write_bytes(make_picture(5))
    report = world.collect()
    assert report["image"]["files_of_no_item"]["count"] == 0 or report["image"]["ok"] == 0
    report = world.collect(entities=["text", "image"])
    assert [row["key"] for row in read_parquet(world.out / "images" / "images-00000.parquet").to_pylist()] == [
        "entity:m.p"
    ]
    assert json.dumps(report)
