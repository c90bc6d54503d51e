"""A page says in its head what it is about: in JSON-LD blocks (https://schema.org) and in Open Graph tags
(https://ogp.me). Both are made for machines, and both are often broken: several blocks, lists of lists, entities escaped
twice, JSON with line breaks in strings.
"""

from __future__ import annotations

import html
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from kgrec.media.sources.answers import language_code, plain, web_address

#: a page's blocks are looked through this far
_MAX_NODES = 10_000
_BLOCK = "application/ld+json"


@dataclass(frozen=True)
class Page:
    """What a page says of itself."""

    #: objects of all JSON-LD blocks, those of ``@graph`` and ``mainEntity`` too
    nodes: list[dict[str, Any]] = field(default_factory=list)
    #: content of ``<meta property="og:…">`` by property, the first of each
    graph: dict[str, str] = field(default_factory=dict)
    #: ISO 639-1 of ``<html lang>``, or empty
    lang: str = ""


def read_page(data: bytes, content_type: str = "") -> Page:
    """Read the metadata of an HTML page; whatever cannot be read is left out.

    :param content_type: as the server sent it; its charset counts before the page's own
    """
    root = _parse(data, content_type)
    if root is None:
        return Page()
    nodes: list[dict[str, Any]] = []
    graph: dict[str, str] = {}
    for element in root.iter("script", "meta"):
        if element.tag == "script" and (element.get("type") or "").split(";")[0].strip().lower() == _BLOCK:
            nodes.extend(_objects(_json(element.text or ""), _MAX_NODES - len(nodes)))
        elif element.tag == "meta":
            name = (element.get("property") or element.get("name") or "").strip().lower()
            content = plain(element.get("content"))
            if name.startswith("og:") and content:
                graph.setdefault(name, content)
    return Page(nodes, graph, language_code(root.get("lang") or ""))


def node_text(value: Any) -> str:
    """A text of a node, on one line; entities are resolved (sites escape them although JSON-LD needs none)."""
    for choice in value if isinstance(value, list) else [value]:
        text = plain(choice.get("@value") if isinstance(choice, dict) else choice)
        if text:
            return plain(html.unescape(text))
    return ""


def node_address(value: Any) -> str:
    """The first web address of a property like ``image``: a string, an ``ImageObject``, or a list of these."""
    for choice in value if isinstance(value, list) else [value]:
        places: list[Any] = [choice] if isinstance(choice, str) else []
        if isinstance(choice, dict):
            places = [choice.get(name, "") for name in ("url", "contentUrl", "@id")]
        for place in places:
            if address := web_address(html.unescape(place) if isinstance(place, str) else place):
                return address
    return ""


def node_types(node: dict[str, Any]) -> set[str]:
    """The types of a node, without the vocabulary's address."""
    types = node.get("@type")
    names = types if isinstance(types, list) else [types]
    return {name.rsplit("/", 1)[-1] for name in names if isinstance(name, str)}


def _json(text: str) -> Any:
    text = text.strip().removeprefix("<!--").removesuffix("-->").strip().rstrip(";")
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _objects(value: Any, limit: int) -> Iterator[dict[str, Any]]:
    waiting = deque([value])
    while waiting and limit > 0:
        value = waiting.popleft()
        limit -= 1
        if isinstance(value, list):
            waiting.extend(value[:limit])
        elif isinstance(value, dict):
            yield value
            waiting.extend(value[name] for name in ("@graph", "mainEntity") if name in value)


def _parse(data: bytes, content_type: str) -> etree._Element | None:
    """The tree, in the charset of the header; else in that of a byte order mark or of the page; else in UTF-8."""
    header = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    own = b"charset" in data[:4096].lower() or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in [*([header[1]] if header else []), None if own else "utf-8"]:
        try:
            return etree.fromstring(data, etree.HTMLParser(encoding=encoding, no_network=True))
        except LookupError:
            continue  # no charset: the next choice
        except (etree.XMLSyntaxError, ValueError):
            break
    return None
