from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kgrec.media.images import Picture, Rejected, check_picture, open_rgb, perceptual_hash, spread

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


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def colours(image: Image.Image) -> NDArray[np.int64]:
    """Values of the four corners: top left, top right, bottom left, bottom right. shape: (4, 3)"""
    assert image.mode == "RGB"
    right, bottom = image.width - 1, image.height - 1
    return np.array([image.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))], dtype=np.int64)


RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def quarters(width: int = 80, height: int = 120) -> Image.Image:
    """Red, green / blue, white."""
    image = Image.new("RGB", (2, 2))
    image.putdata([RED, GREEN, BLUE, WHITE])
    return image.resize((width, height), Image.Resampling.NEAREST)


#: corners of ``quarters`` as stored for each orientation: what stands where, by the numbers of the upright corners
STORED = {
    1: (0, 1, 2, 3), 2: (1, 0, 3, 2), 3: (3, 2, 1, 0), 4: (2, 3, 0, 1),
    5: (0, 2, 1, 3), 6: (1, 3, 0, 2), 7: (3, 1, 2, 0), 8: (2, 0, 3, 1),
}  # fmt: skip


@pytest.mark.parametrize("side", [None, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(kind: str, orientation: int, side: int | None) -> None:
    corner = [RED, GREEN, BLUE, WHITE]
    stored = Image.new("RGB", (2, 2))
    stored.putdata([corner[number] for number in STORED[orientation]])
    stored = stored.resize((80, 120) if orientation < 5 else (120, 80), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif} | ({"lossless": True} if kind == "WEBP" else {})
    data = saved(stored, kind, **options)
    image = open_rgb(data, side)
    scale = 4 if kind == "JPEG" and side else 1
    assert image.size == (80 // scale, 120 // scale)
    assert np.abs(colours(image) - np.array(corner)).max() <= 40
    outcome = check_picture(data, **LIMITS)
    assert isinstance(outcome, Picture)
    assert (outcome.width, outcome.height) == (80, 120)


def test_a_damaged_exif_block_spoils_no_pixel() -> None:
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12\x00\x03"
    data = saved(quarters(), "JPEG", exif=exif)
    assert open_rgb(data).size == (80, 120)
    assert isinstance(check_picture(data, **LIMITS), Picture)


@pytest.mark.parametrize(("size", "side", "want"), [
    ((1200, 1800), 100, (300, 450)),  # a quarter: an eighth would be 150, below 2 x 100
    ((1200, 1800), 75, (150, 225)),  # an eighth
    ((300, 450), 224, (300, 450)),  # already below 4 x side
    ((450, 300), 64, (225, 150)),
    ((301, 451), 75, (151, 226)),
])  # fmt: skip
def test_draft_scaling_leaves_twice_the_side(size: tuple[int, int], side: int, want: tuple[int, int]) -> None:
    data = saved(quarters(*size), "JPEG")
    assert open_rgb(data, side).size == want
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_rgb(saved(quarters(*size), "JPEG", exif=exif), side).size == want[::-1]


def test_draft_scaling_equals_decoding_and_averaging(make_picture: Callable[..., bytes]) -> None:
    data = make_picture(3, (480, 720))
    whole = np.asarray(open_rgb(data).reduce(4), dtype=np.int64)
    draft = np.asarray(open_rgb(data, 60), dtype=np.int64)
    assert whole.shape == draft.shape == (180, 120, 3)
    assert np.abs(whole - draft).mean() < 1.5


def test_cmyk_as_adobe_stores_it() -> None:
    inks = {(0, 0, 0, 0): WHITE, (0, 255, 255, 0): RED, (255, 0, 255, 0): GREEN, (0, 0, 0, 255): BLACK}
    for ink, colour in inks.items():
        data = saved(Image.new("CMYK", (64, 64), ink), "JPEG", quality=95)
        assert b"Adobe" in data[:64]  # inverted: no ink is 255
        for side in (None, 8):
            assert np.abs(colours(open_rgb(data, side)) - np.array(colour)).max() <= 4


def test_cmyk_whose_inks_are_coded_as_luma_and_chroma() -> None:
    # Adobe's transform 2: Y, Cb, Cr (ITU-R BT.601) of the inks taken as RGB, and black inverted
    y, cb, cr = 179, 171, 0  # (0, 255, 255): no cyan, all magenta and yellow
    stored = Image.new("CMYK", (64, 64), (255 - y, 255 - cb, 255 - cr, 0))  # the writer inverts
    data = bytearray(saved(stored, "JPEG", quality=95))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    assert np.abs(colours(open_rgb(bytes(data))) - np.array(RED)).max() <= 6


def test_grey_of_one_and_eight_bits() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1)))
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF"):
        assert np.abs(np.asarray(open_rgb(saved(ramp, kind))) - np.asarray(ramp)[..., None].astype(int)).max() <= 2
    bits = ramp.point(lambda value: 255 * (value > 127), "1")
    assert np.array_equal(colours(open_rgb(saved(bits, "PNG"))), [BLACK, WHITE, BLACK, WHITE])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_is_scaled_not_clipped(kind: str) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    got = np.asarray(open_rgb(saved(Image.fromarray(values), kind)))
    assert np.array_equal(got, np.repeat(np.rint(values / 257)[..., None], 3, axis=2))


def test_grey_of_sixteen_bits_of_the_other_byte_order_and_of_floats() -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    big = Image.frombytes("I;16B", (64, 64), values.astype(">u2").tobytes())
    assert np.array_equal(open_rgb(saved(big, "TIFF")), open_rgb(saved(Image.fromarray(values.astype("<u2")), "TIFF")))
    floats = np.asarray(open_rgb(saved(Image.fromarray((values / 65535).astype(np.float32)), "TIFF")))
    assert floats.min() == 0
    assert floats.max() == 255
    not_numbers = Image.fromarray(np.full((64, 64), np.nan, np.float32))
    assert rejected(saved(not_numbers, "TIFF")) == "damaged: pixels that are not numbers"


def half_clear(mode: str) -> Image.Image:
    """Left half black and opaque, right half black and transparent."""
    image = Image.new(
        "LA" if mode in ("LA", "PA") else "RGBA", (64, 64), (0, 255) if mode in ("LA", "PA") else (0, 0, 0, 255)
    )
    image.paste((0, 0) if mode in ("LA", "PA") else (0, 0, 0, 0), (32, 0, 64, 64))
    return image


@pytest.mark.parametrize(("kind", "mode"), [
    ("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("TIFF", "LA"), ("GIF", "RGBA"),
])  # fmt: skip
def test_transparent_parts_stand_on_white(kind: str, mode: str) -> None:
    data = saved(half_clear(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(colours(open_rgb(data)), [BLACK, WHITE, BLACK, WHITE])


def test_half_transparent_is_half_white() -> None:
    data = saved(Image.new("RGBA", (64, 64), (255, 0, 0, 128)), "PNG")
    assert np.abs(colours(open_rgb(data)) - np.array((255, 127, 127))).max() <= 1


def test_palettes_with_and_without_a_transparent_colour() -> None:
    plain = quarters(64, 64).quantize(4)
    assert np.array_equal(colours(open_rgb(saved(plain, "PNG"))), [RED, GREEN, BLUE, WHITE])
    index = plain.getpixel((0, 0))  # red
    for kind in ("PNG", "GIF"):
        data = saved(plain, kind, transparency=index)
        assert np.array_equal(colours(open_rgb(data)), [WHITE, GREEN, BLUE, WHITE]), kind
    faint = bytes(128 if number == index else 255 for number in range(4))
    got = colours(open_rgb(saved(plain, "PNG", transparency=faint)))
    assert np.abs(got - np.array([(255, 127, 127), GREEN, BLUE, WHITE])).max() <= 1


@pytest.mark.parametrize(("image", "clear"), [
    (Image.new("RGB", (64, 64), RED), RED),
    (Image.new("L", (64, 64), 90), 90),
    (Image.fromarray(np.full((64, 64), 5000, np.uint16)), 5000),
])  # fmt: skip
def test_one_colour_of_a_png_may_be_transparent(image: Image.Image, clear: Any) -> None:
    assert np.array_equal(colours(open_rgb(saved(image, "PNG", transparency=clear))), [WHITE] * 4)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [quarters(), Image.new("RGB", (80, 120), BLUE)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(colours(open_rgb(data)) - np.array([RED, GREEN, BLUE, WHITE])).max() <= 40
    outcome = check_picture(data, **LIMITS)
    assert isinstance(outcome, Picture)
    assert outcome.format == ("JPEG" if kind == "MPO" else kind)


def test_what_cannot_be_decoded_is_a_value_error(make_picture: Callable[..., bytes]) -> None:
    for data in (b"", b"<html>", make_picture(1)[:200], png_header(100_000, 100_000)):
        with pytest.raises(ValueError, match="cannot be decoded"):
            open_rgb(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_anywhere_is_an_answer_never_another_error(make_picture: Callable[..., bytes], kind: str) -> None:
    rng = np.random.default_rng(0)
    good = np.frombuffer(make_picture(1, (64, 64), kind), dtype=np.uint8)
    for trial in range(150):
        bad = good.copy()
        where = rng.integers(0, len(bad) if trial % 2 else min(len(bad), 200), size=4)
        bad[where] = rng.integers(0, 256, size=4)
        check_picture(bad.tobytes(), **LIMITS)
        with contextlib.suppress(ValueError):
            open_rgb(bad.tobytes(), 32)


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_the_perceptual_hash_survives_a_copy_and_tells_pictures_apart(make_picture: Callable[..., bytes]) -> None:
    image = open_rgb(make_picture(1, (300, 450), "PNG"))
    phash = perceptual_hash(image)
    assert phash == int(str(imagehash.phash(image.resize((64, 64), Image.Resampling.BOX))), 16)
    copies = [
        open_rgb(saved(image, "JPEG", quality=40)), image.resize((150, 225)),
        ImageEnhance.Brightness(image).enhance(0.9), image.convert("L").convert("RGB"),
    ]  # fmt: skip
    assert max(bits_apart(phash, perceptual_hash(copy)) for copy in copies) <= 8
    assert bits_apart(phash, perceptual_hash(open_rgb(make_picture(2, (300, 450))))) > 16
    turned = Image.Exif()
    turned[0x0112] = 6
    stored = saved(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=turned)
    outcome = check_picture(stored, **LIMITS)
    assert isinstance(outcome, Picture)
    assert outcome.phash == phash
