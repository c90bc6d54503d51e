"""What every source owes whoever drives it, whatever the servers say: an outcome for each modality, no exception, and
requests that could be sent. Hypothesis makes up the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec.media.sources import (
    Found,
    ImdbSettings,
    ImdbSource,
    Nothing,
    OmdbSettings,
    OmdbSource,
    Reply,
    Request,
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

IDS = {
    "imdb": "tt0114709", "tmdb": "862", "wikidata": "Q171048", "commons": "A b.jpg", "wikipedia.en": "A/b?",
    "wikipedia.de": "Ä",
}  # fmt: skip
SOURCES = ("imdb", "omdb", "tmdb", "wikimedia", "urls")
#: names the services use, so that made-up answers get past the first look
NAMES = (
    "Response", "Error", "Poster", "Plot", "poster_path", "overview", "movie_results", "tv_results", "person_results",
    "query", "pages", "imageinfo", "thumburl", "url", "extmetadata", "LicenseShortName", "Artist", "NonFree", "value",
    "missing", "entities", "Q171048", "claims", "P18", "sitelinks", "enwiki", "title", "mainsnak", "datavalue", "rank",
    "type", "extract", "lang", "originalimage", "thumbnail", "source", "content_urls", "desktop", "page", "@graph",
    "@type", "image", "description", "mainEntity", "@value",
)  # fmt: skip
WORDS = (
    "True", "False", "N/A", "https://upload.wikimedia.org/wikipedia/en/a/ab/X.jpg", "https://e.org/a b", "/a.jpg", "//",
    "http://[", "normal", "X.jpg", "File:|", "disambiguation", "Movie", "<b>&amp;", "\ud800", "\x00", "",
)  # fmt: skip
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip
json_bodies = values.map(lambda value: json.dumps(value).encode())
pages = st.builds(
    lambda head, block, tail: b"<html><head>" + head + b'<script type="application/ld+json">' + block + b"</script>" + tail,
    st.binary(max_size=30), json_bodies | st.binary(max_size=30), st.binary(max_size=30),
)  # fmt: skip
replies = st.one_of(
    st.builds(
        lambda body, kind, time: Reply("ok", content_type=kind, time=time, body=lambda: body),
        st.binary(max_size=60) | json_bodies | pages,
        st.sampled_from(["", "text/html; charset=utf-16", "text/html; charset=\x00", "application/json"]) | st.text(max_size=20),
        st.sampled_from(["", "2026-01-31T10:00:00Z", "no time"]),
    ),
    st.builds(Reply, st.sampled_from(["missing", "refused", "failed", "pending"]), st.text(max_size=10)),
)  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    table: Path = tmp_path_factory.mktemp("urls") / "t.csv"
    table.write_text("id,url,modality\n1,https://a.org/1.jpg,\n1,nonsense,\n1,https://a.org/1.txt,text\n")
    return {
        "imdb": ImdbSource(ImdbSettings(kind="imdb", max_age_days=3)),
        "omdb": OmdbSource(OmdbSettings(kind="omdb"), keys=False),
        "tmdb": TmdbSource(TmdbSettings(kind="tmdb"), keys=False),
        "wikimedia": WikimediaSource(WikimediaSettings(kind="wikimedia", languages=("en", "de"), only_free=True)),
        "urls": UrlsSource(UrlsSettings(kind="urls", table=table), UrlTable(table)),
    }


def check_request(request: Request, source: Source) -> None:
    parts = urlsplit(request.url)
    assert parts.scheme in ("http", "https")
    assert parts.netloc
    assert request.url.isascii()
    assert not set(request.url) & set(" \t\r\n\x00#")
    assert request.accept
    # a record is read into memory, and comes from the service itself; a picture from wherever the record says
    if request.accept[0] in ("application/json", "text/html"):
        assert request.max_bytes is not None
        assert parts.netloc in source.hosts
    else:
        assert request.credential is None
        assert not request.scrapes


def check_outcomes(outcomes: list[Found | Nothing], modalities: list[str]) -> None:
    assert sorted(outcome.modality for outcome in outcomes) == sorted(modalities)
    for outcome in outcomes:
        if isinstance(outcome, Nothing):
            assert outcome.outcome in ("missing", "refused", "failed", "pending")
            assert outcome.reason
            assert len(outcome.reason) < 200
        else:
            assert outcome.origin
            assert outcome.licence
            assert bool(outcome.text) != (outcome.read is not None)
            assert outcome.text == " ".join(outcome.text.split())
            if outcome.read:
                assert len(outcome.read(5)) <= 6
        json.dumps(vars(outcome), default=str, ensure_ascii=False).encode()  # can be written into a table


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_answers_end_in_an_outcome(
    sources: dict[str, Source], drive_any: Callable[..., Any], kind: str, data: st.DataObject
) -> None:
    ids = data.draw(st.sets(st.sampled_from(sorted(IDS))))
    modalities = data.draw(st.sampled_from([["image"], ["text"], ["image", "text"], ["image", "text", "audio"]]))
    source = sources[kind]

    def answer(request: Request) -> Reply:
        check_request(request, source)
        return data.draw(replies)

    driven = drive_any(source, Subject("item:1", ids={name: IDS[name] for name in ids}), modalities, answer)
    check_outcomes(driven.outcomes, modalities)
    assert len(driven.urls) < 12


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.dictionaries(st.sampled_from(sorted(IDS)), st.text(max_size=30) | st.sampled_from(WORDS)))
def test_any_ids_are_asked_for_properly_or_not_at_all(
    sources: dict[str, Source], drive_any: Callable[..., Any], kind: str, ids: dict[str, str]
) -> None:
    source = sources[kind]

    def answer(request: Request) -> Reply:
        check_request(request, source)
        return Reply("missing", "HTTP 404")

    check_outcomes(drive_any(source, Subject("item:1", ids=ids), ["image", "text"], answer).outcomes, ["image", "text"])


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_not_there_yet_is_pending(sources: dict[str, Source], drive_any: Callable[..., Any], kind: str) -> None:
    driven = drive_any(sources[kind], Subject("item:1", ids=IDS), ["image", "text"], lambda request: Reply("pending"))
    assert {outcome.outcome for outcome in driven.outcomes} == {"pending"}
    assert driven.urls


@pytest.mark.parametrize("kind", SOURCES)
def test_one_search_asks_nothing_twice(sources: dict[str, Source], drive_any: Callable[..., Any], kind: str) -> None:
    for outcome in ("missing", "failed"):
        driven = drive_any(sources[kind], Subject("item:1", ids=IDS), ["image", "text"], lambda request: Reply(outcome))  # noqa: B023
        assert len(set(driven.urls)) == len(driven.urls)
