"""A record is what a service says of one title: where its poster is, and its plot. Most services differ in nothing else,
so each of them is a source that knows how to ask for a record.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from kgrec.config import Settings
from kgrec.errors import ConfigError
from kgrec.media.sources.answers import Miss, ask_file, shown
from kgrec.media.sources.base import (
    Credential,
    Found,
    Modality,
    Nothing,
    Reply,
    Request,
    Search,
    Source,
    Subject,
    expiry,
)

#: where IMDb and OMDb keep posters
AMAZON_HOSTS = ("m.media-amazon.com", "ia.media-imdb.com", "images-na.ssl-images-amazon.com")
_IMDB_ID = re.compile(r"(tt|nm)?([0-9]{1,10})")
_AMAZON_SIZE = re.compile(r"\._V1_[^/]*(\.\w+)$")


class WebSettings(Settings):
    """What every service on the web has."""

    name: str = Field(default="", pattern=r"^[\w.-]*$")
    """Tells two sources of one kind apart: the source is called ``<kind>:<name>`` in tables. May be left out."""
    modalities: tuple[Literal["image", "text"], ...] = Field(default=("image", "text"), min_length=1)
    """What to take from it."""
    max_age_days: int | None = Field(default=None, gt=0)
    """Days after which an answer must be asked for again; null: never."""


@dataclass(frozen=True)
class Record:
    """What a service says of one title."""

    reply: Reply
    #: address of the record, for a person
    origin: str
    #: address of the poster, or why there is none
    picture: str | Miss
    #: the plot, or why there is none
    text: str | Miss
    #: ISO 639-1 of the plot, or empty
    lang: str


class RecordSource(Source):
    """A service that is asked for one record per title."""

    @abstractmethod
    def record(self, subject: Subject) -> Generator[Request, Reply, Record]:
        """Ask for the record. :raises Miss: if there is none"""

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """Ask for the record, then for the picture it names."""
        wanted = sorted(modalities)
        try:
            record = yield from self.record(subject)
        except Miss as miss:
            return [miss.nothing(modality) for modality in wanted]
        found: list[Found | Nothing] = []
        for modality in wanted:
            try:
                found.append((yield from self._take(record, modality)))
            except Miss as miss:
                found.append(miss.nothing(modality))
        return found

    def _take(self, record: Record, modality: Modality) -> Generator[Request, Reply, Found]:
        what = {"image": record.picture, "text": record.text}.get(modality, Miss(f"no {modality} here"))
        if isinstance(what, Miss):
            raise Miss(what.reason, what.outcome, record.origin)
        if modality == "image":
            return (yield from ask_file("image", what, self.licence, self.max_age_days))
        return Found(
            "text", record.origin, None, what, record.lang, self.licence, expiry(record.reply.time, self.max_age_days)
        )


def imdb_id(subject: Subject, *, people: bool = False) -> str:
    """The IMDb id of a title (``tt0114709``), or also of a person (``nm0000158``). :raises Miss: if the subject has none"""
    value = subject.ids.get("imdb", "").strip()
    if not value:
        raise Miss("no imdb id")
    match = _IMDB_ID.fullmatch(value)
    if match is None or (match[1] == "nm" and not people):
        raise Miss(f"not an imdb id{'' if people else ' of a title'}: {shown(value)[:20]}")
    return f"{match[1] or 'tt'}{int(match[2]):07d}"


def amazon_width(url: str, width: int | None) -> str:
    """The address of an IMDb poster at a width, in pixels: their server scales what ``_V1_SX<width>`` asks for."""
    return url if width is None else _AMAZON_SIZE.sub(rf"._V1_SX{width}\1", url)


def pick_credential(kind: str, needed: bool, *choices: Credential) -> Credential:
    """The first credential whose variable is set; the first of all if none is and none is ``needed`` (replay of answers
    that are there already). :raises ConfigError: if one is needed"""
    for credential in choices:
        if os.environ.get(credential.variable):
            return credential
    if needed:
        variables = " or ".join(credential.variable for credential in choices)
        raise ConfigError(f"media.sources: {kind} needs a key: set the environment variable {variables}")
    return choices[0]
