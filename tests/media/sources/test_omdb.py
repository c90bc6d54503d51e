"""Answers are written by hand after https://www.omdbapi.com (parameters, ``Response`` and ``Error``, ``N/A``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kgrec.media.sources import OmdbSettings, OmdbSource

URL = "https://www.omdbapi.com/?i=tt0114709&plot=full&r=json"
POSTER = "https://m.media-amazon.com/images/M/MV5BMDU2ZWJl@._V1_SX300.jpg"
WIDE = "https://m.media-amazon.com/images/M/MV5BMDU2ZWJl@._V1_SX600.jpg"
FILM = {
    "Title": "Toy Story", "Year": "1995", "Plot": "A cowboy doll is  threatened.", "Language": "English",
    "Poster": POSTER, "imdbID": "tt0114709", "Type": "movie", "Response": "True",
}  # fmt: skip
IDS = {"imdb": "tt0114709"}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> OmdbSource:
    monkeypatch.setenv("OMDB_API_KEY", "s3cret")
    return OmdbSource(OmdbSettings(kind="omdb"))


def test_poster_and_plot_of_one_record(source: OmdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, IDS, {URL: FILM, WIDE: b"picture"})
    assert driven.urls == [URL, WIDE]
    image, text = driven.found("image"), driven.found("text")
    assert (image.origin, image.read(99)) == (WIDE, b"picture")
    assert (text.text, text.lang, text.origin) == ("A cowboy doll is threatened.", "en", URL)
    assert image.licence == text.licence == "CC BY-NC 4.0, OMDb API (omdbapi.com)"
    assert image.expires == text.expires == ""


def test_the_key_goes_with_the_record_and_stands_in_no_address(source: OmdbSource, drive: Callable[..., Any]) -> None:
    record, picture = drive(source, IDS, {URL: FILM, WIDE: b"x"}).asked
    assert record.credential.variable == "OMDB_API_KEY"
    assert record.credential.place == "query:apikey"
    assert picture.credential is None
    assert "s3cret" not in record.url + repr(record) + repr(vars(source))


def test_only_what_is_asked_for(source: OmdbSource, drive: Callable[..., Any]) -> None:
    assert drive(source, IDS, {URL: FILM}, "text").urls == [URL]
    assert list(drive(source, IDS, {URL: FILM}, "text").by) == ["text"]


@pytest.mark.parametrize(
    ("record", "image", "text"),
    [
        ({"Poster": "N/A"}, ("missing", "no poster"), None),
        ({"Plot": "N/A"}, None, ("missing", "no plot")),
        ({"Poster": None, "Plot": 7}, ("missing", "no poster"), ("missing", "no plot")),
        ({"Poster": "poster.jpg"}, ("refused", "unexpected answer: poster is no web address (poster.jpg)"), None),
    ],
)
def test_a_record_without(
    source: OmdbSource, drive: Callable[..., Any], record: dict[str, Any], image: Any, text: Any
) -> None:
    driven = drive(source, IDS, {URL: FILM | record, WIDE: b"x"})
    assert image is None or driven.nothing("image") == image
    assert text is None or driven.nothing("text") == text


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ({"Response": "False", "Error": "Incorrect IMDb ID."}, ("missing", "no record: Incorrect IMDb ID.")),
        ({"Response": "False", "Error": "Error getting data."}, ("missing", "no record: Error getting data.")),
        ({"Response": False}, ("refused", "unexpected answer: neither a record nor an error")),
        ({}, ("refused", "unexpected answer: neither a record nor an error")),
        ([FILM], ("refused", "unexpected answer: JSON of type list, not an object")),
        (b"The service is unavailable.", ("refused", "unexpected answer: not JSON")),
    ],
)
def test_no_record(source: OmdbSource, drive: Callable[..., Any], answer: Any, want: tuple[str, str]) -> None:
    driven = drive(source, IDS, {URL: answer})
    assert driven.nothing("image") == driven.nothing("text") == want
    assert driven.by["text"].origin == URL


def test_a_poster_that_is_gone_leaves_the_plot(source: OmdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, IDS, {URL: FILM})
    assert driven.nothing("image") == ("missing", "HTTP 404")
    assert driven.found("text").text


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ({}, "no imdb id"),
        ({"tmdb": "862"}, "no imdb id"),
        ({"imdb": "nm0000158"}, "not an imdb id of a title: nm0000158"),
        ({"imdb": "tt0114709&apikey=x"}, "not an imdb id of a title: tt0114709&apikey=x"),
    ],
)
def test_no_id(source: OmdbSource, drive: Callable[..., Any], ids: dict[str, str], reason: str) -> None:
    driven = drive(source, ids, {})
    assert driven.urls == []
    assert driven.nothing("image") == driven.nothing("text") == ("missing", reason)


def test_bare_numbers_are_ids(source: OmdbSource, drive: Callable[..., Any]) -> None:
    assert drive(source, {"imdb": "114709"}, {}).urls == [URL]


def test_settings_change_what_is_asked(monkeypatch: pytest.MonkeyPatch, drive: Callable[..., Any]) -> None:
    monkeypatch.setenv("OMDB_API_KEY", "k")
    settings = OmdbSettings(kind="omdb", plot="short", width=None, max_age_days=10, base="http://127.0.0.1:8000")
    source = OmdbSource(settings)
    assert source.hosts >= {"127.0.0.1:8000", "m.media-amazon.com"}
    url = "http://127.0.0.1:8000/?i=tt0114709&plot=short&r=json"
    driven = drive(source, IDS, {url: FILM, POSTER: b"x"})
    assert driven.urls == [url, POSTER]
    assert driven.found("text").expires == driven.found("image").expires == "2026-02-10T10:00:00Z"
