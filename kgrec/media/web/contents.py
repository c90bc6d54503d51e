"""What a body is follows from its first bytes; what the server says it is counts where they do not tell."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

#: bytes of a body that are enough to tell
HEAD = 1024
_PART = 65_536

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG\r\n\x1a\n", "image/png"), (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"), (0, b"II*\0", "image/tiff"), (0, b"MM\0*", "image/tiff"),
    (4, b"ftypavif", "image/avif"), (4, b"ftypheic", "image/heic"), (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"), (0, b"\x1aE\xdf\xa3", "video/webm"), (8, b"AVI ", "video/x-msvideo"),
    (8, b"WAVE", "audio/wav"), (0, b"fLaC", "audio/flac"), (0, b"ID3", "audio/mpeg"), (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"), (0, b"\x1f\x8b", "application/gzip"),
)  # fmt: skip
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|script)\b", re.I | re.S
)
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!doctype\s+svg[^>]*>\s*)*<svg\b", re.I | re.S
)
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")
_NAMES = {"text/html": "an HTML page", "application/json": "JSON", "image/svg+xml": "an SVG drawing", "": "unnamed"}
_WANTED = {"image/": "an image", "audio/": "audio", "video/": "a video", "text/html": "an HTML page", "text/": "text",
           "text/plain": "a plain text", "application/json": "JSON"}  # fmt: skip


class Unwanted(Exception):
    """A body is not what was asked for; the message says what it is."""


def settle_type(head: bytes, stated: str, accept: tuple[str, ...]) -> str:
    """The media type of a body.

    :param head: its first :data:`HEAD` bytes, or all of it
    :param stated: the header ``Content-Type``
    :param accept: prefixes of media types that will do; empty: any
    :raises Unwanted: if the type is none of them
    """
    stated = stated.partition(";")[0].strip().lower()
    kind = _sniff(head) or stated
    if not accept or kind.startswith(accept):
        return kind
    # JSON and Ogg are told by too little to contradict a server
    if kind == stated or not _sniff(head):
        if _JSON.match(head) and "application/json".startswith(accept):
            return "application/json"
        if head.startswith(b"OggS") and any(one.startswith(("audio/", "video/")) for one in accept):
            return f"{accept[0].rstrip('/')}/ogg" if accept[0].endswith("/") else accept[0]
    wanted = " or ".join(_WANTED.get(one, one) for one in accept)
    raise Unwanted(f"not {wanted}: {_NAMES.get(kind, kind)}")


def _sniff(head: bytes) -> str:
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if _SVG.match(head):
        return "image/svg+xml"
    if _HTML.match(head):
        return "text/html"
    return ""


class Decompressor:
    """Undoes a content coding in parts of at most 64 kB, so that whoever counts them can stop in time.

    :param coding: ``gzip``, ``deflate`` or ``identity``
    :raises Unwanted: if it is another
    """

    def __init__(self, coding: str) -> None:
        coding = coding.strip().lower().removeprefix("x-") or "identity"
        if coding not in ("gzip", "deflate", "identity"):
            raise Unwanted(f"encoding: {coding[:40]} was not asked for")
        self._gzip = coding == "gzip"
        self._plain = coding == "identity"
        self._inflate = zlib.decompressobj(31 if self._gzip else 15)
        #: the first two bytes of a member tell what it is, and may come one by one
        self._start: bytes | None = b""
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` adds. :raises zlib.error: if it is damaged"""
        if self._plain:
            yield data
            return
        while True:
            if self._start is not None:
                data = self._start + data
                if len(data) < 2:
                    self._start = data
                    return
                if not self._begin(data):
                    return
                self._start = None
            part = self._inflate.decompress(data, _PART)
            if part:
                yield part
            if self._inflate.eof:
                data, self._start = self._inflate.unused_data, b""
                self._members += 1
            else:
                data = self._inflate.unconsumed_tail
                if not data and len(part) < _PART:
                    return

    def _begin(self, data: bytes) -> bool:
        """Make ready for the member ``data`` begins with; False if it is padding behind the last one."""
        if self._members and not (self._gzip and data.startswith(b"\x1f\x8b")):
            return False
        # some servers send deflate without the header it should have
        headless = not self._gzip and (data[0] & 15 != 8 or int.from_bytes(data[:2], "big") % 31)
        self._inflate = zlib.decompressobj(-15 if headless else 31 if self._gzip else 15)
        return True

    @property
    def whole(self) -> bool:
        """Whether the data came to its end."""
        return self._plain or (self._members > 0 and self._start is not None)
