"""What a body is, and what compressed data is, part by part."""

from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from kgrec.media.web.contents import Decompressor, Unwanted, settle_type
from tests.media.web.server import bomb, gzip

IMAGE, JSON, PAGE = ("image/",), ("application/json",), ("text/html",)


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("stated", ["", "application/octet-stream", "text/html; charset=utf-8"])
def test_pictures_are_told_by_their_bytes(kind: str, stated: str) -> None:
    assert settle_type(picture(kind), stated, IMAGE) == f"image/{kind.lower()}"


def test_the_server_is_believed_where_bytes_do_not_tell() -> None:
    assert settle_type(b"\x00\x00\x00\x0cjxl ", "image/jxl", IMAGE) == "image/jxl"
    assert settle_type(b"\xff\xfb\x90\x00", "audio/mpeg", ("audio/",)) == "audio/mpeg"
    assert settle_type(b"Just a plot.", "Text/Plain; charset=utf-8", ("text/plain",)) == "text/plain"
    assert settle_type(b'{"a": 1}', "text/html", JSON) == "application/json"
    assert settle_type(b'{"a": 1}', "application/vnd.api+json", JSON) == "application/json"
    assert settle_type(b"[A plot in brackets]", "text/plain", ("text/plain",)) == "text/plain"
    assert settle_type(b"OggS\0", "application/octet-stream", ("audio/",)) == "audio/ogg"
    assert settle_type(b"whatever", "x/y", ()) == "x/y"


@pytest.mark.parametrize(
    ("body", "stated", "accept", "reason"),
    [
        (b"<!DOCTYPE html><title>Sorry", "image/jpeg", IMAGE, "not an image: an HTML page"),
        (b"\xef\xbb\xbf \n<!-- x -->\n<HTML>", "image/jpeg", IMAGE, "not an image: an HTML page"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC', "", IMAGE, "not an image: an HTML page"),
        (b'{"error": 1}', "application/json", IMAGE, "not an image: JSON"),
        (b"<html>", "application/json", JSON, "not JSON: an HTML page"),
        (picture("PNG"), "text/html", PAGE, "not an HTML page: image/png"),
        (b"%PDF-1.7", "image/jpeg", IMAGE, "not an image: application/pdf"),
        (b"who knows", "", IMAGE, "not an image: unnamed"),
        (b"{}", "application/json", ("audio/", "video/"), "not audio or a video: JSON"),
    ],
)
def test_unwanted(body: bytes, stated: str, accept: tuple[str, ...], reason: str) -> None:
    with pytest.raises(Unwanted) as error:
        settle_type(body, stated, accept)
    assert str(error.value) == reason


def undo(coding: str, data: bytes, step: int) -> tuple[bytes, bool]:
    decompressor = Decompressor(coding)
    parts = [part for at in range(0, len(data), step) for part in decompressor.feed(data[at : at + step])]
    assert all(len(part) <= 65_536 for part in parts) or coding == "identity"
    return b"".join(parts), decompressor.whole


@pytest.mark.parametrize("step", [1, 1000, 1 << 30])
def test_decompression(step: int) -> None:
    data = bytes(range(256)) * 2000
    raw = zlib.compressobj(wbits=-15)
    assert undo("identity", data, 1000) == (data, True)
    assert undo("gzip", gzip(data), step) == (data, True)
    assert undo("x-gzip", gzip(data) + gzip(b"more") + b"\0\0", step) == (data + b"more", True)
    assert undo("deflate", zlib.compress(data), step) == (data, True)
    assert undo("deflate", raw.compress(data) + raw.flush(), step) == (data, True)
    assert undo("gzip", gzip(data)[:-9], step)[1] is False
    assert undo("gzip", gzip(data) + gzip(b"more")[:-1], step)[1] is False
    with pytest.raises(Unwanted, match="encoding: br was not asked for"):
        Decompressor("br")
    with pytest.raises(zlib.error):
        undo("gzip", b"not gzip", step)


def test_a_bomb_goes_off_in_small_parts() -> None:
    parts = Decompressor("gzip").feed(bomb(1 << 26))
    assert sum(len(next(parts)) for _ in range(10)) <= 10 * 65_536
