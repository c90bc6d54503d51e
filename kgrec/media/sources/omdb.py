"""OMDb, the Open Movie Database: one JSON record per IMDb id with poster and plot.

https://www.omdbapi.com. Its content is licensed CC BY-NC 4.0; a free key allows 1,000 requests a day.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from kgrec.media.sources.answers import MAX_JSON, Miss, ask_json, host_of, plain, shown, unexpected, web_address
from kgrec.media.sources.base import Credential, Reply, Request, Subject
from kgrec.media.sources.records import (
    AMAZON_HOSTS,
    Record,
    RecordSource,
    WebSettings,
    amazon_width,
    imdb_id,
    pick_credential,
)

_KEY = Credential("OMDB_API_KEY", "query:apikey")


class OmdbSettings(WebSettings):
    """OMDb, by IMDb id. The key is read from the environment variable ``OMDB_API_KEY``."""

    kind: Literal["omdb"]
    """``omdb``"""
    base: str = "https://www.omdbapi.com"
    """Address of the service."""
    plot: Literal["full", "short"] = "full"
    """Which plot to ask for."""
    width: int | None = Field(default=600, gt=0)
    """Width of posters in pixels, as far as their server scales them (smaller ones stay); null: as OMDb names them."""
    hosts: tuple[str, ...] = AMAZON_HOSTS
    """Hosts posters may come from."""
    licence: str = "CC BY-NC 4.0, OMDb API (omdbapi.com)"
    """Written into the tables beside what comes from here."""


class OmdbSource(RecordSource):
    """Poster and full plot by IMDb id."""

    def __init__(self, settings: OmdbSettings, name: str = "omdb", *, keys: bool = True) -> None:
        self.name, self.settings, self.licence = name, settings, settings.licence
        self.modalities = frozenset(settings.modalities)
        self.max_age_days = settings.max_age_days
        self.hosts = frozenset({host_of(settings.base), *settings.hosts})
        self._credential = pick_credential("omdb", keys, _KEY)

    def record(self, subject: Subject) -> Generator[Request, Reply, Record]:
        """Ask by IMDb id."""
        query = urlencode({"i": imdb_id(subject), "plot": self.settings.plot, "r": "json"})
        url = f"{self.settings.base}/?{query}"
        value, reply = yield from ask_json(Request(url, ("application/json",), self._credential, max_bytes=MAX_JSON))
        if str(value.get("Response")).lower() != "true":
            if error := plain(value.get("Error")):
                raise Miss(f"no record: {shown(error)}", origin=url)
            raise unexpected("neither a record nor an error", url)
        poster, plot = plain(value.get("Poster")), plain(value.get("Plot"))
        picture: str | Miss = amazon_width(web_address(poster), self.settings.width)
        if not picture:
            picture = unexpected(f"poster is no web address ({shown(poster)})") if poster else Miss("no poster")
        return Record(reply, url, picture, plot or Miss("no plot"), "en")
