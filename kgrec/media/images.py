"""A picture is usable when its file is what its first bytes claim, decodes to the last row, and shows something.

Files named ``.jpg`` turn out to be error pages, half downloads, archives of a billion pixels or the grey card that a
site sends when it has no poster. Each of these would become a feature vector without complaint, so each is refused here
by name. What is left is seen as a person would see it: upright, in RGB, on white where it is transparent.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock

import imagehash
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

#: decoders a file may ask for; the long tail of Pillow's plug-ins is not worth its risk
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

#: what Pillow's decoders raise when a file is not what it should be
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, EOFError, struct.error, zlib.error, LookupError,
    OverflowError, Image.DecompressionBombError,
)  # fmt: skip
#: how to turn a picture upright, by EXIF orientation
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
#: pictures are compared on squares of this many pixels a side
_SMALL = 64
#: filters of warnings belong to the whole process, not to a thread
_FILTERS = Lock()


@dataclass(frozen=True)
class Picture:
    """A file that passed all checks. ``width`` and ``height`` in pixels, upright; ``phash`` see :func:`perceptual_hash`."""

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


def check_file(data: bytes, max_bytes: int, placeholders: Set[str]) -> str | Rejected:
    """SHA-256 (hexadecimal) of a file that is worth opening."""
    if not data:
        return Rejected("empty file")
    if len(data) > max_bytes:
        return Rejected(f"too many bytes: {len(data):,} of at most {max_bytes:,}")
    sha256 = hashlib.sha256(data).hexdigest()
    return Rejected("placeholder: listed by its hash") if sha256 in placeholders else sha256


def check_picture(
    data: bytes, *, max_bytes: int, max_pixels: int, uniform_below: float, placeholders: Set[str] = frozenset()
) -> Picture | Rejected:
    """Open ``data`` and decode its first frame to the last row.

    :param max_bytes: longest file that is looked at
    :param max_pixels: largest width x height that is decoded; the header is read first, so a bomb is never unpacked
    :param uniform_below: see :func:`spread`; a picture below it shows nothing
    :param placeholders: SHA-256 (hexadecimal) of files known to stand for "no picture"
    """
    sha256 = check_file(data, max_bytes, placeholders)
    if isinstance(sha256, Rejected):
        return sha256
    try:
        image = _open(data)
        width, height = image.size
        if width * height > max_pixels:
            return Rejected(f"too many pixels: {width} x {height}, at most {max_pixels:,}")
        upright, width, height = _decode(image, _SMALL)
        small = _shrunk(upright)
    except UnidentifiedImageError:
        return Rejected(f"not an image: {kind_of_text(data)}")
    except Image.DecompressionBombError:
        return Rejected(f"too many pixels: at most {max_pixels:,}")
    except _DAMAGED as error:
        kind = "truncated" if "truncated" in str(error).lower() else "damaged"
        return Rejected(f"{kind}: {error}")
    if spread(small) < uniform_below:
        return Rejected("placeholder: near-uniform colour")
    kind = "JPEG" if image.format == "MPO" else image.format or ""  # a JPEG with more pictures behind the first
    return Picture(sha256, data, width, height, kind, perceptual_hash(small))


def open_rgb(data: bytes, side: int | None = None) -> Image.Image:
    """The first frame of a picture file, upright, in RGB, transparent parts over white.

    :param side: length in pixels that the shorter side will be scaled to. A JPEG whose sides exceed ``4 * side`` is decoded
        at a half, quarter or eighth of its size, never below ``2 * side``, so that scaling still averages; that is several
        times faster. None decodes at full size
    :raises ValueError: if it cannot be decoded
    """
    try:
        return _decode(_open(data), side)[0]
    except _DAMAGED as error:
        raise ValueError(f"cannot be decoded ({error})") from error


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep what Pillow warns of bombs and odd metadata off the screen; what matters is raised."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(data: bytes) -> Image.Image:
    with _no_warnings():
        return Image.open(io.BytesIO(data), formats=FORMATS)


#: turns that leave width and height as they are
_SAME_SIDES = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM)


def _decode(image: Image.Image, side: int | None) -> tuple[Image.Image, int, int]:
    """The picture as :func:`open_rgb` gives it, and the width and height it has at full size."""
    width, height = image.size
    if side is not None:
        image.draft("RGB", (2 * side, 2 * side))
    scaled = image.size != (width, height)
    with _no_warnings() if image.format == "TIFF" else nullcontext():
        image.load()  # a TIFF's tags are read now
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _rgb(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    if not scaled:
        width, height = rgb.size
    elif turn is not None and turn not in _SAME_SIDES:
        width, height = height, width
    return rgb, width, height


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where the file states none or its EXIF block is damaged, which spoils no pixel."""
    try:
        with _no_warnings():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGED:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits a pixel as ``L``: 16 bits have a scale of their own, others are stretched."""
    values = np.asarray(image, dtype=np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (float(values.min()), float(values.max()))
    scaled = (values - low) * (255 / ((high - low) or 1.0))
    if not np.isfinite(scaled).all():
        raise ValueError("pixels that are not numbers")
    grey = Image.fromarray(np.rint(scaled).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _shrunk(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((_SMALL, _SMALL), Image.Resampling.BOX)


def spread(image: Image.Image) -> float:
    """Largest standard deviation of a colour channel (0 to 255) over the picture shrunk to 64 x 64.

    Shrinking takes compression noise and small lettering out: the grey cards of film sites come to less than 10, the
    plainest real posters to more than 20.
    """
    channels = np.asarray(_shrunk(image)).reshape(-1, 3).T
    return float(np.ascontiguousarray(channels, dtype=np.float64).std(axis=1).max())


def perceptual_hash(image: Image.Image) -> int:
    """64 bits that change little when a picture is scaled, compressed or tinted: signs of the lowest cosine frequencies of
    the picture shrunk to 64 x 64."""
    return int(str(imagehash.phash(_shrunk(image))), 16)


def kind_of_text(data: bytes) -> str:
    """What a file is that is no picture: words for a reason."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if head.startswith((b"<svg", b"<?xml")):
        return "XML"
    if head.startswith((b"{", b"[")):
        return "JSON"
    return "no known image format"
