"""A source knows where the picture or the text of something is published, and does not fetch it: it says what to ask for
and reads the answers.

That makes one code path of two: the fetcher drives a source against the network, the collector drives the same source
against the store of answers, and finds the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

#: what a source may be asked for
Modality = Literal["image", "text", "audio", "video"]
#: how a request ended. ``missing``: the server says there is none. ``refused``: we will not have it (size, type, robots,
#: address). ``failed``: it may work another time. ``pending``: not asked yet
Outcome = Literal["ok", "missing", "refused", "failed", "pending"]


@dataclass(frozen=True)
class Subject:
    """What media are wanted for: an item of the catalogue or an entity of the graph."""

    #: ``item:<item_id>`` or ``entity:<entity_id>``
    key: str
    title: str = ""
    year: int | None = None
    #: by kind (:data:`kgrec.data.schemas.KEYS`): ``imdb`` (``tt0114709``), ``tmdb``, ``isbn``, ``commons``, ``wikidata``,
    #: ``wikipedia.<language>``
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Credential:
    """A secret a request carries. It is read from the environment when the request is sent, and written nowhere."""

    #: environment variable
    variable: str
    #: ``query:<name>`` or ``header:<name>``; a header ``Authorization`` gets ``Bearer`` in front
    place: str


@dataclass(frozen=True)
class Request:
    """One GET. ``url`` is how the answer is known later; it never holds a secret."""

    url: str
    #: media types that are an answer, as prefixes: ``("image/",)``, ``("application/json",)``
    accept: tuple[str, ...] = ()
    credential: Credential | None = None
    #: whether the path is subject to the host's robots.txt
    scrapes: bool = False
    #: largest body, in bytes, after decompression; None is the fetcher's own limit
    max_bytes: int | None = None


@dataclass(frozen=True)
class Reply:
    """How a request ended. ``body`` reads the content, which only ``ok`` has."""

    outcome: Outcome
    #: ``<kind>`` or ``<kind>: <detail>``, empty when ok
    reason: str = ""
    #: where redirects led
    url: str = ""
    content_type: str = ""
    sha256: str = ""
    #: ISO 8601, UTC: when the content was fetched or last confirmed
    time: str = ""
    body: Callable[[], bytes] = lambda: b""


@dataclass(frozen=True)
class Found:
    """A picture, clip or text. Either ``read`` (file bytes, at most ``limit + 1`` of them) or ``text`` is set."""

    modality: Modality
    #: file or address, for a person
    origin: str
    read: Callable[[int], bytes] | None = None
    text: str = ""
    #: ISO 639-1, empty if the source does not say
    lang: str = ""
    licence: str = ""
    #: ISO 8601, UTC; empty if the source's terms set no date
    expires: str = ""


@dataclass(frozen=True)
class Nothing:
    """Why a source has nothing of a modality. ``outcome`` is never ``ok``."""

    modality: Modality
    outcome: Outcome
    #: ``<kind>`` or ``<kind>: <detail>``; kinds are few, so they can be counted
    reason: str
    origin: str = ""


#: Driven by ``send``: yields requests, is sent their replies, returns one :class:`Found` or :class:`Nothing` for each
#: modality it was asked for.
Search = Generator[Request, Reply, "list[Found | Nothing]"]


#: how times are written
TIME = "%Y-%m-%dT%H:%M:%SZ"


def expiry(time: str, max_age_days: int | None) -> str:
    """When a content of this age must be asked for again, or thrown away: ISO 8601, UTC; empty if never."""
    if max_age_days is None or not time:
        return ""
    try:
        return (datetime.strptime(time, TIME) + timedelta(days=max_age_days)).strftime(TIME)
    except OverflowError:
        return ""


class Source(ABC):
    """Where media come from."""

    #: names it in tables: ``folder``, ``tmdb``, or ``<kind>:<name>`` where there may be several
    name: str
    modalities: frozenset[Modality]
    #: hosts a request or a redirect may go to: ``host`` or ``host:port``, ``*.example.org`` for subdomains; empty: no
    #: network
    hosts: frozenset[str] = frozenset()
    licence: str = "not stated"
    #: days after which an answer must be asked for again, or thrown away, by the source's terms; None: never
    max_age_days: int | None = None

    @abstractmethod
    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """Look for media of ``subject``."""

    def close(self) -> None:  # noqa: B027
        """Release files; nothing by default."""
