"""A picture is usable when its file is what its first bytes claim, decodes to the last row, and shows something.

Files named ``.jpg`` turn out to be error pages, half downloads, archives of a billion pixels or the grey card that a
site sends when it has no poster. Each of these would become a feature vector without complaint, so each is refused here
by name.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Set
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image, UnidentifiedImageError

#: decoders a file may ask for; the long tail of Pillow's plug-ins is not worth its risk
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Picture:
    """A file that passed all checks. ``width`` and ``height`` in pixels, as stored; ``phash`` see :func:`perceptual_hash`."""

    sha256: str
    data: bytes
    width: int
    height: int
    format: str
    phash: int


@dataclass(frozen=True)
class Rejected:
    """A file that did not. ``reason`` is ``<kind>`` or ``<kind>: <detail>``; kinds are few, so they can be counted."""

    reason: str

    @property
    def kind(self) -> str:
        return self.reason.split(":", 1)[0]


def check_picture(
    data: bytes, *, max_bytes: int, max_pixels: int, uniform_below: float, placeholders: Set[str] = frozenset()
) -> Picture | Rejected:
    """Open and fully decode ``data``.

    :param max_bytes: longest file that is looked at
    :param max_pixels: largest width x height that is decoded; the header is read first, so a bomb is never unpacked
    :param uniform_below: see :func:`spread`; a picture below it shows nothing
    :param placeholders: SHA-256 (hexadecimal) of files known to stand for "no picture"
    """
    if not data:
        return Rejected("empty file")
    if len(data) > max_bytes:
        return Rejected(f"too many bytes: {len(data):,} of at most {max_bytes:,}")
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 in placeholders:
        return Rejected("placeholder: listed by its hash")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            return Rejected(f"too many pixels: {width} x {height}, at most {max_pixels:,}")
        image.load()
        if spread(image) < uniform_below:
            return Rejected("placeholder: near-uniform colour")
        phash = perceptual_hash(image)
    except UnidentifiedImageError:
        return Rejected(f"not an image: {_kind_of_text(data)}")
    except Image.DecompressionBombError:
        return Rejected(f"too many pixels: at most {max_pixels:,}")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError) as error:
        kind = "truncated" if "truncated" in str(error).lower() else "damaged"
        return Rejected(f"{kind}: {error}")
    return Picture(sha256, data, width, height, image.format or "", phash)


def spread(image: Image.Image) -> float:
    """Largest standard deviation of a colour channel (0 to 255) over the picture shrunk to 64 x 64.

    Shrinking takes compression noise and small lettering out: the grey cards of film sites come to less than 10, the
    plainest real posters to more than 20.
    """
    small = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), dtype=np.float64)
    return float(small.reshape(-1, 3).std(axis=0).max())


def perceptual_hash(image: Image.Image) -> int:
    """64 bits that change little when a picture is scaled, compressed or tinted: signs of its lowest cosine frequencies."""
    return int(str(imagehash.phash(image.convert("RGB"))), 16)


def _kind_of_text(data: bytes) -> str:
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if head.startswith((b"<svg", b"<?xml")):
        return "XML"
    if head.startswith((b"{", b"[")):
        return "JSON"
    return "no known image format"
