from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from kgrec.media.images import Picture, Rejected, check_picture, spread

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 1_000_000, "uniform_below": 12.0}


def rejected(data: bytes, **limits: object) -> str:
    outcome = check_picture(data, **{**LIMITS, **limits})  # type: ignore[arg-type]
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises ``width`` x ``height`` pixels and whose data is a few bytes of zeros."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_good_picture_of_each_format_keeps_its_bytes(make_picture: Callable[..., bytes], kind: str) -> None:
    data = make_picture(1, (60, 90), kind)
    outcome = check_picture(data, **LIMITS)
    assert outcome == Picture(hashlib.sha256(data).hexdigest(), data, 60, 90, kind, outcome.phash)


def test_a_greyscale_picture_is_good(make_picture: Callable[..., bytes]) -> None:
    assert isinstance(check_picture(make_picture(1, mode="L"), **LIMITS), Picture)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated(make_picture: Callable[..., bytes], kind: str, part: float) -> None:
    data = make_picture(1, (300, 450), kind)
    assert rejected(data[: int(len(data) * part)]).startswith(("truncated", "damaged"))


def test_a_flipped_byte_in_a_png_is_damage(make_picture: Callable[..., bytes]) -> None:
    data = bytearray(make_picture(1, (300, 450), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert rejected(bytes(data)).startswith(("truncated", "damaged"))


def test_wrong_type_is_named() -> None:
    assert rejected(b"\n<!DOCTYPE html><html><body>Not found</body></html>") == "not an image: an HTML page"
    assert rejected(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == "not an image: XML"
    assert rejected(b'{"error": "limit reached"}') == "not an image: JSON"
    assert rejected(b"PK\x03\x04 something") == "not an image: no known image format"
    assert rejected(b"") == "empty file"


def test_too_many_bytes(make_picture: Callable[..., bytes]) -> None:
    data = make_picture(1)
    assert rejected(data, max_bytes=len(data) - 1).startswith("too many bytes")
    assert isinstance(check_picture(data, **{**LIMITS, "max_bytes": len(data)}), Picture)


@pytest.mark.parametrize("side", [1001, 30_000, 2_000_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    assert rejected(png_header(side, 1000)).startswith("too many pixels")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_card_of_one_colour_is_a_placeholder(level: int) -> None:
    pixels = np.full((220, 160, 3), level, np.uint8)
    pixels[100:104, 60:100] = 90  # small lettering
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    assert rejected(stream.getvalue()) == "placeholder: near-uniform colour"


def test_a_listed_placeholder_is_rejected_whatever_it_shows(make_picture: Callable[..., bytes]) -> None:
    data = make_picture(1)
    listed = frozenset({hashlib.sha256(data).hexdigest()})
    assert rejected(data, placeholders=listed) == "placeholder: listed by its hash"


def test_spread_of_a_half_black_half_white_picture() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    assert spread(Image.fromarray(pixels)) == pytest.approx(127.5)
