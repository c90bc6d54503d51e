"""Answers are written by hand after https://developer.themoviedb.org/reference (movie details, find by id, image basics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kgrec.errors import ConfigError
from kgrec.media.sources import Reply, TmdbSettings, TmdbSource

MOVIE = "https://api.themoviedb.org/3/movie/862?language=en-US"
FIND = "https://api.themoviedb.org/3/find/tt0114709?external_source=imdb_id&language=en-US"
POSTER = "https://image.tmdb.org/t/p/w500/uXDfjJbdP4ijW5hWSBrPrlKpxab.jpg"
FILM = {
    "adult": False, "id": 862, "imdb_id": "tt0114709", "original_language": "en", "title": "Toy Story",
    "overview": "Led by Woody, Andy's toys live happily.", "poster_path": "/uXDfjJbdP4ijW5hWSBrPrlKpxab.jpg",
}  # fmt: skip
RESULTS: dict[str, list[Any]] = {
    "movie_results": [], "person_results": [], "tv_results": [], "tv_episode_results": [], "tv_season_results": [],
}  # fmt: skip
IDS = {"tmdb": "862", "imdb": "tt0114709"}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> TmdbSource:
    monkeypatch.delenv("TMDB_TOKEN", raising=False)
    monkeypatch.setenv("TMDB_API_KEY", "s3cret")
    return TmdbSource(TmdbSettings(kind="tmdb"))


def test_by_tmdb_id(source: TmdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, IDS, {MOVIE: FILM, POSTER: b"picture"})
    assert driven.urls == [MOVIE, POSTER]
    image, text = driven.found("image"), driven.found("text")
    assert (image.origin, image.read(99)) == (POSTER, b"picture")
    assert (text.text, text.lang, text.origin) == (FILM["overview"], "en", MOVIE)
    assert "not endorsed or certified by TMDB" in image.licence
    assert image.expires == text.expires == "2026-07-30T10:00:00Z"  # six months


def test_by_imdb_id(source: TmdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, {"imdb": "114709"}, {FIND: RESULTS | {"movie_results": [FILM]}, POSTER: b"x"})
    assert driven.urls == [FIND, POSTER]
    assert driven.found("text").text == FILM["overview"]


def test_an_id_tmdb_no_longer_knows_is_looked_up_by_imdb(source: TmdbSource, drive: Callable[..., Any]) -> None:
    answers = {FIND: RESULTS | {"tv_results": [FILM]}, POSTER: b"x"}
    assert drive(source, IDS, answers).urls == [MOVIE, FIND, POSTER]
    failing = drive(source, IDS, answers | {MOVIE: Reply("failed", "HTTP 503")})
    assert failing.urls == [MOVIE]  # it may know it another time
    assert failing.nothing("text") == ("failed", "HTTP 503")


def test_people_have_a_portrait(source: TmdbSource, drive: Callable[..., Any]) -> None:
    url = "https://api.themoviedb.org/3/find/nm0000158?external_source=imdb_id&language=en-US"
    person = {"id": 31, "name": "Tom Hanks", "profile_path": "/oFvZoKI6lvU03n5YoNGAll9rkas.jpg"}
    portrait = "https://image.tmdb.org/t/p/w500/oFvZoKI6lvU03n5YoNGAll9rkas.jpg"
    driven = drive(source, {"imdb": "nm0000158"}, {url: RESULTS | {"person_results": [person]}, portrait: b"x"})
    assert driven.found("image").origin == portrait
    assert driven.nothing("text") == ("missing", "no overview in en-US")


@pytest.mark.parametrize(
    ("answer", "image", "text"),
    [
        (FILM | {"poster_path": None, "overview": ""}, ("missing", "no poster"), ("missing", "no overview in en-US")),
        (FILM | {"poster_path": "@evil.example/x.jpg"}, ("refused", "unexpected answer: poster_path is no path"), None),
        (FILM | {"poster_path": "/../../x.jpg"}, ("refused", "unexpected answer: poster_path is no path"), None),
        (FILM | {"poster_path": ["/a.jpg"]}, ("refused", "unexpected answer: poster_path is no path"), None),
        ([], ("refused", "unexpected answer: JSON of type list, not an object"), ("refused",) * 2),
        (b"{", ("refused", "unexpected answer: not JSON"), ("refused",) * 2),
    ],
)
def test_a_record_without(source: TmdbSource, drive: Callable[..., Any], answer: Any, image: Any, text: Any) -> None:
    driven = drive(source, {"tmdb": "862"}, {MOVIE: answer})
    assert driven.nothing("image") == image
    assert driven.urls == [MOVIE]
    if text is None:
        assert driven.found("text").text
    else:
        assert driven.nothing("text")[0] == text[0]


@pytest.mark.parametrize(
    "results", [RESULTS, {}, {"movie_results": None}, {"movie_results": {}}, {"movie_results": [[]]}]
)
def test_an_imdb_id_tmdb_does_not_know(source: TmdbSource, drive: Callable[..., Any], results: Any) -> None:
    driven = drive(source, {"imdb": "tt0114709"}, {FIND: results})
    assert driven.nothing("image") == ("missing", "no record: TMDB does not know the imdb id")


def test_no_id(source: TmdbSource, drive: Callable[..., Any]) -> None:
    for ids in ({}, {"tmdb": ""}, {"tmdb": "12/images"}, {"tmdb": "-5"}, {"tmdb": "0"}):
        driven = drive(source, ids, {})
        assert driven.urls == []
        assert driven.nothing("text") == ("missing", "no tmdb or imdb id")


def test_which_key(monkeypatch: pytest.MonkeyPatch, drive: Callable[..., Any]) -> None:
    for variable in ("TMDB_TOKEN", "TMDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    settings = TmdbSettings(kind="tmdb")
    with pytest.raises(ConfigError, match="tmdb needs a key: set the environment variable TMDB_TOKEN or TMDB_API_KEY"):
        TmdbSource(settings)
    TmdbSource(settings, keys=False)
    places = []
    for variable in ("TMDB_API_KEY", "TMDB_TOKEN"):
        monkeypatch.setenv(variable, "s3cret")
        driven = drive(TmdbSource(settings), IDS, {MOVIE: FILM, POSTER: b"x"})
        assert "s3cret" not in "".join(map(repr, driven.asked))
        assert driven.urls == [MOVIE, POSTER]  # the key changes no address
        places.append([request.credential and request.credential.place for request in driven.asked])
    assert places == [["query:api_key", None], ["header:Authorization", None]]


def test_settings_change_what_is_asked(monkeypatch: pytest.MonkeyPatch, drive: Callable[..., Any]) -> None:
    monkeypatch.setenv("TMDB_TOKEN", "t")
    settings = TmdbSettings(
        kind="tmdb", language="de-DE", size="original", base="http://127.0.0.1:8000", images="http://127.0.0.1:8001/p"
    )
    source = TmdbSource(settings)
    assert source.hosts == {"127.0.0.1:8000", "127.0.0.1:8001"}
    url = "http://127.0.0.1:8000/3/movie/862?language=de-DE"
    driven = drive(source, {"tmdb": "862"}, {url: FILM})
    assert driven.urls == [url, "http://127.0.0.1:8001/p/original/uXDfjJbdP4ijW5hWSBrPrlKpxab.jpg"]
    assert driven.found("text").lang == "de"
