"""IMDb's pages of titles and people name poster and plot in their metadata.

Pages are asked for only where IMDb's robots.txt allows it. IMDb's conditions of use
(https://www.imdb.com/conditions) forbid data mining and robots without its written consent: this source is for those who
have it. OMDb and TMDB know the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from kgrec.media.sources.answers import MAX_PAGE, Miss, ask, host_of, unexpected, web_address
from kgrec.media.sources.base import Reply, Request, Subject
from kgrec.media.sources.pages import Page, node_address, node_text, node_types, read_page
from kgrec.media.sources.records import AMAZON_HOSTS, Record, RecordSource, WebSettings, amazon_width, imdb_id

#: what a page is about, in the words of schema.org
_TITLES = frozenset(
    {"Movie", "TVSeries", "TVSeason", "TVEpisode", "VideoGame", "MusicVideoObject", "CreativeWork", "Person"}
)
#: the site's own pictures: its logo stands in for a missing poster
_OWN = "/images/G/"
#: "<title>: Directed by A. B. Name. With C. Name, D. Name Jr." — a name ends in a word of three letters or more
_CREDITS = re.compile(
    r"^(?:[^:]{1,200}: )?(?:Directed|Created) by .{1,300}?(?<=\w\w\w)\.(?: +|$)(?:With .{1,300}?(?<=\w\w\w)\.(?: +|$))?"
)


class ImdbSettings(WebSettings):
    """Title pages of IMDb, by IMDb id. IMDb's terms ask for its written consent."""

    kind: Literal["imdb"]
    """``imdb``"""
    base: str = "https://www.imdb.com"
    """Address of the site."""
    width: int | None = Field(default=600, gt=0)
    """Width of posters in pixels, as far as their server scales them (smaller ones stay); null: as published, several
    thousand pixels."""
    hosts: tuple[str, ...] = AMAZON_HOSTS
    """Hosts posters may come from."""
    licence: str = "IMDb conditions of use; needs IMDb's written consent"
    """Written into the tables beside what comes from here."""


class ImdbSource(RecordSource):
    """Poster and plot by IMDb id."""

    def __init__(self, settings: ImdbSettings, name: str = "imdb") -> None:
        self.name, self.settings, self.licence = name, settings, settings.licence
        self.modalities = frozenset(settings.modalities)
        self.max_age_days = settings.max_age_days
        self.hosts = frozenset({host_of(settings.base), *settings.hosts})

    def record(self, subject: Subject) -> Generator[Request, Reply, Record]:
        """Read the page."""
        title = imdb_id(subject, people=True)
        url = f"{self.settings.base}/{'name' if title.startswith('nm') else 'title'}/{title}/"
        reply = yield from ask(Request(url, ("text/html", "application/xhtml+xml"), scrapes=True, max_bytes=MAX_PAGE))
        page = read_page(reply.body(), reply.content_type)
        nodes = [node for node in page.nodes if node_types(node) & _TITLES]
        nodes.sort(key=lambda node: title not in str(node.get("url")))
        if not nodes and not page.graph:
            raise unexpected("a page without metadata", url)
        picture = next(filter(_is_poster, (node_address(node.get("image")) for node in nodes)), "")
        if not picture:
            shared = web_address(page.graph.get("og:image", ""))
            picture = shared if _is_poster(shared) else ""
        text = next(filter(None, (node_text(node.get("description")) for node in nodes)), "")
        text = text or _shared_plot(page)
        picture = amazon_width(picture, self.settings.width)
        return Record(reply, url, picture or Miss("no poster"), text or Miss("no plot"), page.lang)


def _is_poster(url: str) -> bool:
    return bool(url) and not urlsplit(url).path.startswith(_OWN)


def _shared_plot(page: Page) -> str:
    """The plot in ``og:description``, without the sentences about director and cast in front of it. Newer pages have
    running time and rating there instead (``1h 21m | G``)."""
    text = _CREDITS.sub("", page.graph.get("og:description", ""))
    return "" if " | " in text or len(text.split()) < 4 else text
