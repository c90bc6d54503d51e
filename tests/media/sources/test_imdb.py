"""Pages are written by hand after what IMDb publishes for machines: a JSON-LD block of schema.org's ``Movie``, ``TVSeries`` or
``Person``, and Open Graph tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kgrec.media.sources import ImdbSettings, ImdbSource

URL = "https://www.imdb.com/title/tt0114709/"
FULL = "https://m.media-amazon.com/images/M/MV5BMDU2ZWJlMjkt@._V1_.jpg"
POSTER = "https://m.media-amazon.com/images/M/MV5BMDU2ZWJlMjkt@._V1_SX600.jpg"
LOGO = "https://m.media-amazon.com/images/G/01/imdb/images/social/imdb_logo.png"
IDS = {"imdb": "tt0114709"}
FILM = {
    "@context": "https://schema.org", "@type": "Movie", "url": "https://www.imdb.com/title/tt0114709/",
    "name": "Toy Story", "image": FULL, "description": "A cowboy doll isn&apos;t happy &amp; says so.",
    "trailer": {"@type": "VideoObject", "description": "A trailer", "thumbnailUrl": LOGO},
}  # fmt: skip


def page(*blocks: Any, image: str = "", description: str = "") -> bytes:
    scripts = "".join(
        f'<script type="application/ld+json">{b if isinstance(b, str) else json.dumps(b)}</script>' for b in blocks
    )
    tags = f'<meta property="og:image" content="{image}"/><meta property="og:description" content="{description}"/>'
    return f'<!DOCTYPE html><html lang="en-US"><head><title>t</title>{tags}{scripts}</head><body/></html>'.encode()


@pytest.fixture
def source() -> ImdbSource:
    return ImdbSource(ImdbSettings(kind="imdb"))


def test_poster_and_plot_of_the_block(source: ImdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, IDS, {URL: page(FILM, image=LOGO, description="shared"), POSTER: b"picture"})
    assert driven.urls == [URL, POSTER]
    image, text = driven.found("image"), driven.found("text")
    assert (image.origin, image.read(99)) == (POSTER, b"picture")
    assert (text.text, text.lang, text.origin) == ("A cowboy doll isn't happy & says so.", "en", URL)
    assert "written consent" in text.licence


def test_only_the_page_is_scraped(source: ImdbSource, drive: Callable[..., Any]) -> None:
    asked = drive(source, IDS, {URL: page(FILM), POSTER: b"x"}).asked
    assert [request.scrapes for request in asked] == [True, False]
    assert [request.accept for request in asked] == [("text/html", "application/xhtml+xml"), ("image/",)]


@pytest.mark.parametrize(
    "blocks",
    [
        [{"@graph": [{"@type": "BreadcrumbList", "image": LOGO}, FILM]}],
        [[FILM]],
        ["{broken", FILM],
        [{"@type": "Organization", "description": "IMDb", "image": LOGO}, FILM],
        [FILM | {"@type": ["CreativeWork", "TVSeries"], "image": {"@type": "ImageObject", "url": FULL}}],
        [FILM | {"image": ["", FULL]}],
        [
            {"@type": "Movie", "url": "/title/tt9999999/", "image": LOGO.replace("/G/", "/M/"), "description": "no"},
            FILM,
        ],
        [FILM | {"description": ""}, FILM | {"image": None}],
    ],
)
def test_blocks_come_in_many_shapes(source: ImdbSource, drive: Callable[..., Any], blocks: list[Any]) -> None:
    driven = drive(source, IDS, {URL: page(*blocks), POSTER: b"x"})
    assert driven.found("image").origin == POSTER
    assert driven.found("text").text == "A cowboy doll isn't happy & says so."


def test_open_graph_where_the_block_is_silent_or_broken(source: ImdbSource, drive: Callable[..., Any]) -> None:
    data = page("{broken", image=FULL, description="A cowboy doll isn&#39;t happy.")
    driven = drive(source, IDS, {URL: data, POSTER: b"x"})
    assert driven.found("image").origin == POSTER
    assert driven.found("text").text == "A cowboy doll isn't happy."


@pytest.mark.parametrize(
    ("shared", "plot"),
    [
        ("Toy Story: Directed by John Lasseter. With Tom Hanks, Jim Varney. A cowboy doll is threatened.",
         "A cowboy doll is threatened."),
        ("Directed by Jon Favreau.  With Robert Downey Jr., Samuel L. Jackson, Jeff Bridges. After a crash he builds.",
         "After a crash he builds."),
        ("Created by Vince Gilligan. With Bryan Cranston. A teacher. He cooks.", "A teacher. He cooks."),
        ("Directed by Tom Hanks. A film about many things.", "A film about many things."),
        ("Directed by John Lasseter. With Tom Hanks, Jim Varney.", None),
        ("1h 21m | G", None),
        ("Toy Story", None),
        ("", None),
    ],
)  # fmt: skip
def test_credits_are_no_plot(source: ImdbSource, drive: Callable[..., Any], shared: str, plot: str | None) -> None:
    driven = drive(source, IDS, {URL: page(description=shared, image=FULL)}, "text")
    if plot is None:
        assert driven.nothing("text") == ("missing", "no plot")
    else:
        assert driven.found("text").text == plot


def test_the_logo_is_no_poster(source: ImdbSource, drive: Callable[..., Any]) -> None:
    driven = drive(source, IDS, {URL: page(FILM | {"image": LOGO}, image=LOGO)})
    assert driven.nothing("image") == ("missing", "no poster")
    assert driven.urls == [URL]


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>Verify that you are human</body></html>", b"\xff\xd8\xff\xe0JFIF", b"{}"]
)
def test_a_page_that_says_nothing(source: ImdbSource, drive: Callable[..., Any], body: bytes) -> None:
    driven = drive(source, IDS, {URL: body})
    assert (
        driven.nothing("image") == driven.nothing("text") == ("refused", "unexpected answer: a page without metadata")
    )


def test_people_have_pages_of_their_own(source: ImdbSource, drive: Callable[..., Any]) -> None:
    url = "https://www.imdb.com/name/nm0000158/"
    person = {"@type": "ProfilePage", "mainEntity": {"@type": "Person", "image": FULL, "description": "An actor."}}
    driven = drive(source, {"imdb": "nm0000158"}, {url: page(person), POSTER: b"x"})
    assert (driven.found("text").text, driven.found("image").origin) == ("An actor.", POSTER)


def test_no_id(source: ImdbSource, drive: Callable[..., Any]) -> None:
    assert drive(source, {}, {}).nothing("image") == ("missing", "no imdb id")
    assert drive(source, {"imdb": "../x"}, {}).nothing("image") == ("missing", "not an imdb id: ../x")


def test_the_width_of_posters(drive: Callable[..., Any]) -> None:
    other = "https://m.media-amazon.com/images/M/plain.jpg"
    cropped = "https://m.media-amazon.com/images/M/MV5B@._V1_UX182_CR0,0,182,268_AL_.jpg"
    for width, image, want in [
        (None, FULL, FULL), (300, FULL, FULL.replace("_V1_", "_V1_SX300")), (300, other, other),
        (300, cropped, "https://m.media-amazon.com/images/M/MV5B@._V1_SX300.jpg"),
    ]:  # fmt: skip
        source = ImdbSource(ImdbSettings(kind="imdb", width=width))
        assert drive(source, IDS, {URL: page(FILM | {"image": image})}, "image").urls == [URL, want]
