"""Each source of the web over a real connection: fetched from a local server, then replayed from the store without it.

The server's answers are written by hand after the services' public documentation, as in the other tests here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response

from kgrec.media.sources import (
    Found,
    ImdbSettings,
    ImdbSource,
    OmdbSettings,
    OmdbSource,
    Source,
    Subject,
    TmdbSettings,
    TmdbSource,
    UrlsSettings,
    UrlsSource,
    UrlTable,
    WikimediaSettings,
    WikimediaSource,
)
from kgrec.media.web.client import WebSettings
from kgrec.media.web.run import fetch_all, replay
from kgrec.media.web.store import ResponseStore

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))
BOTH = frozenset({"image", "text"})


class Site:
    """A local server: ``answers`` by path, or by path and query; ``asked`` in their order, as they came over the wire."""

    def __init__(self, server: HTTPServer, folder: Path) -> None:
        self.host = f"{server.host}:{server.port}"
        self.base = f"http://{self.host}"
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.folder = folder
        server.expect_request(re.compile(".*")).respond_with_handler(self._answer)

    def _answer(self, asked: Asked) -> Response:
        raw = asked.environ["RAW_URI"]
        self.asked.append(raw)
        self.headers.append(dict(asked.headers))
        content = self.answers.get(raw, self.answers.get(raw.split("?")[0]))
        if content is None:
            return Response("gone", 404)
        if content is JPEG:
            return Response(content, content_type="image/jpeg")
        if isinstance(content, str):
            return Response(content, content_type="text/html; charset=utf-8")
        return Response(json.dumps(content), content_type="application/json; charset=utf-8")

    def fetch(self, source: Source, ids: dict[str, str]) -> dict[str, Any]:
        """Fetch and replay; both must find the same, and the replay asks nothing."""
        subject = Subject("item:1", ids=ids)
        fetched: dict[str, Any] = {}

        def usable(found: Found) -> str:
            fetched[found.modality] = (
                found.origin,
                found.text,
                found.read and found.read(999),
                found.licence,
                found.expires,
            )
            return ""

        settings = WebSettings(
            contact="a@example.org", allow_local=(self.host,), per_second={"default": 1000}, attempts=1
        )
        with ResponseStore(self.folder / "store") as store:
            fetch_all([(subject, BOTH)], [source], store, settings, usable=usable)
            asked = len(self.asked)
            again = {found.modality: found for found in replay(source, subject, BOTH, store)}
        assert len(self.asked) == asked
        for modality, found in again.items():
            if isinstance(found, Found):
                kept = (found.origin, found.text, found.read and found.read(999), found.licence, found.expires)
                assert fetched[modality] == kept
        assert set(fetched) == {m for m, found in again.items() if isinstance(found, Found)}
        return again

    def holds(self, secret: str) -> bool:
        """Whether a file of the store holds a text."""
        return any(secret.encode() in path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def site(httpserver: HTTPServer, tmp_path: Path) -> Site:
    return Site(httpserver, tmp_path)


def test_omdb(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMDB_API_KEY", "s3cret key".replace(" ", "+"))
    source = OmdbSource(OmdbSettings(kind="omdb", base=site.base, hosts=(site.host,)))
    record = {"Response": "True", "Plot": "A plot.", "Poster": f"{site.base}/images/M/a._V1_SX300.jpg"}
    site.answers = {"/": record, "/images/M/a._V1_SX600.jpg": JPEG}
    found = site.fetch(source, {"imdb": "tt0114709"})
    assert (found["text"].text, found["image"].read(999)) == ("A plot.", JPEG)
    assert parse_qs(urlsplit(site.asked[0]).query) == {
        "i": ["tt0114709"], "plot": ["full"], "r": ["json"], "apikey": ["s3cret+key"],
    }  # fmt: skip
    assert "apikey" not in site.asked[1]
    assert not site.holds("s3cret")


@pytest.mark.parametrize("variable", ["TMDB_API_KEY", "TMDB_TOKEN"])
def test_tmdb(site: Site, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("TMDB_API_KEY", raising=False)
    monkeypatch.delenv("TMDB_TOKEN", raising=False)
    monkeypatch.setenv(variable, "s3cret")
    source = TmdbSource(TmdbSettings(kind="tmdb", base=f"{site.base}/api", images=f"{site.base}/t/p"))
    film = {"overview": "An overview.", "poster_path": "/aB-3_x.jpg"}
    site.answers = {"/api/3/find/tt0114709": {"movie_results": [film]}, "/t/p/w500/aB-3_x.jpg": JPEG}
    found = site.fetch(source, {"tmdb": "862", "imdb": "tt0114709"})
    assert [urlsplit(path).path for path in site.asked] == [
        "/api/3/movie/862", "/api/3/find/tt0114709", "/t/p/w500/aB-3_x.jpg",
    ]  # fmt: skip
    assert found["text"].text == "An overview."
    assert found["image"].expires[:4].isdigit()
    assert found["text"].expires[:4].isdigit()
    if variable == "TMDB_TOKEN":
        assert [headers.get("Authorization") for headers in site.headers] == ["Bearer s3cret", "Bearer s3cret", None]
    else:
        assert [parse_qs(urlsplit(path).query).get("api_key") for path in site.asked] == [["s3cret"], ["s3cret"], None]
    assert not site.holds("s3cret")


def test_imdb_where_robots_allow_it(site: Site) -> None:
    source = ImdbSource(ImdbSettings(kind="imdb", base=site.base, hosts=(site.host,), width=None))
    block = json.dumps({"@type": "Movie", "image": f"{site.base}/images/M/a.jpg", "description": "It&apos;s Amélie."})
    page = f'<!DOCTYPE html><html lang="en"><script type="application/ld+json">{block}</script></html>'
    site.answers = {"/title/tt0114709/": page.replace("\\u00e9", "é"), "/images/M/a.jpg": JPEG}
    found = site.fetch(source, {"imdb": "tt0114709"})
    assert site.asked == ["/robots.txt", "/title/tt0114709/", "/images/M/a.jpg"]
    assert (found["text"].text, found["image"].read(999)) == ("It's Amélie.", JPEG)
    assert site.headers[1]["User-Agent"].endswith("(+a@example.org)")


def test_imdb_where_robots_forbid_it(site: Site) -> None:
    source = ImdbSource(ImdbSettings(kind="imdb", base=site.base, hosts=(site.host,)))
    site.answers = {"/robots.txt": "User-agent: *\nDisallow: /title/"}
    found = site.fetch(source, {"imdb": "tt0114709"})
    assert site.asked == ["/robots.txt"]
    assert {found[m].outcome for m in BOTH} == {"refused"}
    assert found["text"].reason.startswith("robots: ")


@pytest.mark.parametrize(
    ("title", "raw"),
    [("Face/Off", "Face%2FOff"), ("Who?", "Who%3F"), ("Amélie 2", "Am%C3%A9lie_2"), ("50%25", "50%2525")],
)
def test_wikimedia(site: Site, title: str, raw: str) -> None:
    settings = WikimediaSettings(
        kind="wikimedia", commons=f"{site.base}/commons", wikipedia=site.base + "/{language}", wikidata=site.base,
        hosts=(site.host,), languages=("de", "en"),
    )  # fmt: skip
    upload = "/wikipedia/commons/thumb/a/ab/A%C3%A4B.jpg/500px-A%C3%A4B.jpg"
    info = {"thumburl": site.base + upload, "extmetadata": {"LicenseShortName": {"value": "CC0"}}}
    site.answers = {
        f"/en/api/rest_v1/page/summary/{raw}": {"extract": "A film.", "thumbnail": {"source": site.base + upload}},
        "/commons/w/api.php": {"query": {"pages": [{"imageinfo": [info]}]}},
        upload: JPEG,
    }
    found = site.fetch(WikimediaSource(settings), {"wikipedia.en": title, "wikipedia.de": "weg"})
    assert (found["text"].text, found["image"].read(999)) == ("A film.", JPEG)
    assert found["image"].licence == "CC0, via Wikimedia"
    paths = ["/de/api/rest_v1/page/summary/weg", f"/en/api/rest_v1/page/summary/{raw}", "/commons/w/api.php", upload]
    assert [path.split("?")[0] for path in site.asked] == paths
    assert parse_qs(urlsplit(site.asked[2]).query)["titles"] == ["File:AäB.jpg"]


def test_urls(site: Site, tmp_path: Path, drive_any: Callable[..., Any]) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"id,image\n1,{site.base}/gone.jpg\n1,{site.base}/a b@.jpg\n")
    source = UrlsSource(UrlsSettings(kind="urls", table=table), UrlTable(table))
    site.answers = {"/a%20b@.jpg": JPEG}
    found = site.fetch(source, {})
    assert site.asked == ["/gone.jpg", "/a%20b@.jpg"]
    assert found["image"].read(999) == JPEG
