"""TMDB, The Movie Database: one JSON record per film with poster and overview, in many languages.

https://developer.themoviedb.org/reference. A film is asked for by its TMDB id; where there is none, or TMDB no longer knows
it, by its IMDb id. Terms (https://www.themoviedb.org/api-terms-of-use): nothing may be kept for more than six months, TMDB
is to be named as the source, and commercial use needs an agreement.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from kgrec.media.sources.answers import MAX_JSON, Miss, ask_json, at, host_of, language_code, plain, unexpected
from kgrec.media.sources.base import Credential, Reply, Request, Subject
from kgrec.media.sources.records import Record, RecordSource, WebSettings, imdb_id, pick_credential

_KEYS = (Credential("TMDB_TOKEN", "header:Authorization"), Credential("TMDB_API_KEY", "query:api_key"))
_TMDB_ID = re.compile(r"[1-9][0-9]{0,9}")
_FILE_PATH = re.compile(r"/[\w-]+\.\w+", re.ASCII)


class TmdbSettings(WebSettings):
    """TMDB, by TMDB or IMDb id. The key is read from the environment: ``TMDB_TOKEN`` (read access token) or ``TMDB_API_KEY``."""

    kind: Literal["tmdb"]
    """``tmdb``"""
    base: str = "https://api.themoviedb.org"
    """Address of the service."""
    images: str = "https://image.tmdb.org/t/p"
    """Address of its pictures."""
    size: str = Field(default="w500", pattern=r"^([wh]\d{1,4}|original)$")
    """Size of posters as TMDB names it: ``w342``, ``w500``, ``w780``, ``original``."""
    language: str = Field(default="en-US", pattern=r"^[a-z]{2}(-[A-Z]{2})?$")
    """Language of the overview, and of the poster where there are several."""
    max_age_days: int = Field(default=180, gt=0)
    """Days after which an answer must be asked for again. TMDB's terms allow six months."""
    licence: str = "TMDB terms of use; uses the TMDB API but is not endorsed or certified by TMDB"
    """Written into the tables beside what comes from here."""


class TmdbSource(RecordSource):
    """Poster and overview by TMDB or IMDb id."""

    def __init__(self, settings: TmdbSettings, name: str = "tmdb", *, keys: bool = True) -> None:
        self.name, self.settings, self.licence = name, settings, settings.licence
        self.modalities = frozenset(settings.modalities)
        self.max_age_days = settings.max_age_days
        self.hosts = frozenset({host_of(settings.base), host_of(settings.images)})
        self._credential = pick_credential("tmdb", keys, *_KEYS)

    def record(self, subject: Subject) -> Generator[Request, Reply, Record]:
        """Ask by TMDB id, else by IMDb id."""
        number = subject.ids.get("tmdb", "").strip()
        if not _TMDB_ID.fullmatch(number):
            if not subject.ids.get("imdb"):
                raise Miss("no tmdb or imdb id")
            return (yield from self._by_imdb(subject))
        try:
            url, value, reply = yield from self._ask(f"movie/{number}")
        except Miss as miss:
            if miss.outcome != "missing" or not subject.ids.get("imdb"):
                raise
            return (yield from self._by_imdb(subject))
        return self._read(url, value, reply)

    def _by_imdb(self, subject: Subject) -> Generator[Request, Reply, Record]:
        url, value, reply = yield from self._ask(f"find/{imdb_id(subject, people=True)}", external_source="imdb_id")
        for kind in ("movie_results", "tv_results", "tv_episode_results", "person_results"):
            result = at(value, kind, 0)
            if isinstance(result, dict):
                return self._read(url, result, reply)
        raise Miss("no record: TMDB does not know the imdb id", origin=url)

    def _ask(self, path: str, **query: str) -> Generator[Request, Reply, tuple[str, dict[str, Any], Reply]]:
        url = f"{self.settings.base}/3/{path}?{urlencode(query | {'language': self.settings.language})}"
        value, reply = yield from ask_json(Request(url, ("application/json",), self._credential, max_bytes=MAX_JSON))
        return url, value, reply

    def _read(self, url: str, value: dict[str, Any], reply: Reply) -> Record:
        path = next(filter(None, map(value.get, ("poster_path", "still_path", "profile_path"))), None)
        picture: str | Miss = Miss("no poster")
        if isinstance(path, str) and _FILE_PATH.fullmatch(path):
            picture = f"{self.settings.images}/{self.settings.size}{path}"
        elif path:
            picture = unexpected("poster_path is no path")
        language = self.settings.language
        text = plain(value.get("overview")) or Miss(f"no overview in {language}")
        return Record(reply, url, picture, text, language_code(language))
