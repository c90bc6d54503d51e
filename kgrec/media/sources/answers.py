"""An answer is whatever a server sent: it may be no JSON at all, a list where an object was promised, or hold a number for
an address. What is not as promised is a :class:`Miss` with a reason, never an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from typing import Any

from yarl import URL

from kgrec.media.sources.base import Found, Modality, Nothing, Outcome, Reply, Request, expiry
from kgrec.media.texts import clean_text

#: largest JSON answer and largest page that is read, in bytes
MAX_JSON, MAX_PAGE = 5_000_000, 10_000_000
#: media types each modality is accepted in
ACCEPT: dict[Modality, tuple[str, ...]] = {
    "image": ("image/",), "text": ("text/plain",), "audio": ("audio/",), "video": ("video/",),
}  # fmt: skip

_PLAIN_ADDRESS = re.compile(r"https?://([a-z0-9][a-z0-9.-]*)(?:/[!\"$-~]*)?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*|[0-9a-f:.]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_][a-z0-9]+)*", re.IGNORECASE)
_SHOWN = 80


class Miss(Exception):
    """Nothing can be had, and why; a search that ends so ends in :class:`Nothing`.

    :param reason: ``<kind>`` or ``<kind>: <detail>``
    """

    def __init__(self, reason: str, outcome: Outcome = "missing", origin: str = "") -> None:
        super().__init__(reason)
        self.reason, self.outcome, self.origin = reason, outcome, origin

    def nothing(self, modality: Modality) -> Nothing:
        """This miss as the outcome of one modality."""
        return Nothing(modality, self.outcome, self.reason, self.origin)


def worst(misses: Sequence[Miss]) -> Miss | None:
    """The miss to report of several: one that may be none another time before one that will be one, else the first."""
    order = ("pending", "failed", "refused", "missing", "ok")
    return min(misses, key=lambda miss: order.index(miss.outcome), default=None)


def unexpected(detail: str, origin: str = "") -> Miss:
    """A miss because the answer is not what the service documents."""
    return Miss(f"unexpected answer: {detail}", "refused", origin)


def ask(request: Request) -> Generator[Request, Reply, Reply]:
    """Ask, and end the search unless the answer is ok. :raises Miss:"""
    reply = yield request
    if reply.outcome != "ok":
        raise Miss(reply.reason or reply.outcome, reply.outcome, request.url)
    return reply


def ask_json(request: Request) -> Generator[Request, Reply, tuple[dict[str, Any], Reply]]:
    """Ask for a JSON object. :raises Miss:"""
    reply = yield from ask(request)
    try:
        value = json.loads(reply.body())
    except (ValueError, RecursionError):
        raise unexpected("not JSON", request.url) from None
    if not isinstance(value, dict):
        raise unexpected(f"JSON of type {type(value).__name__}, not an object", request.url)
    return value, reply


def ask_file(modality: Modality, url: str, licence: str, max_age_days: int | None) -> Generator[Request, Reply, Found]:
    """Ask for a picture or clip, or a plain text. :raises Miss:"""
    reply = yield from ask(Request(url, accept=ACCEPT[modality]))
    expires = expiry(reply.time, max_age_days)
    if modality == "text":
        text = plain(reply.body().decode("utf-8-sig", "replace"))
        if not text:
            raise Miss("no text", origin=url)
        return Found(modality, url, text=text, licence=licence, expires=expires)
    return Found(modality, url, read=lambda limit: reply.body()[: limit + 1], licence=licence, expires=expires)


def at(value: Any, *path: str | int) -> Any:
    """The value at a path of keys and indices, or None as soon as one is not there."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def one_line(value: Any) -> str:
    """A string with single spaces, without what cannot be written as UTF-8; empty for what is no string."""
    return (
        " ".join(value.replace("\0", " ").encode("utf-8", "replace").decode().split()) if isinstance(value, str) else ""
    )


def plain(value: Any) -> str:
    """:func:`one_line`, and the words for nothing (``N/A``, ``null`` …) are the empty string."""
    return clean_text(one_line(value))


def web_address(value: Any) -> str:
    """An http or https address as it is asked for: spaces and non-ASCII parts encoded, without a fragment. Empty if
    ``value`` is none, or carries a user name or password."""
    if not isinstance(value, str):
        return ""
    value = value.strip()
    if _PLAIN_ADDRESS.fullmatch(value):
        return value
    if _CONTROL.search(value):
        return ""
    try:
        url = URL(f"https:{value}" if value.startswith("//") else value).with_fragment(None)
        text = str(url)
        if (
            url.scheme in ("http", "https")
            and url.user is None
            and url.password is None
            and _HOST.fullmatch(url.raw_host or "")
        ):
            return text if text.isascii() else ""
    except (ValueError, TypeError):
        pass
    return ""


def host_of(url: str) -> str:
    """``host``, or ``host:port`` where the address names a port that is not its scheme's own."""
    if match := _PLAIN_ADDRESS.fullmatch(url):
        return match[1].lower()
    parts = URL(url)
    return (parts.host or "") if parts.is_default_port() else f"{parts.host}:{parts.port}"


def language_code(value: Any) -> str:
    """ISO 639-1 of ``en``, ``en-US``, ``en_us``; empty if it cannot be told."""
    match = _LANGUAGE.fullmatch(value) if isinstance(value, str) else None
    return match[1].lower() if match else ""


def shown(value: str) -> str:
    """The beginning of a text, for a reason."""
    text = plain(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
