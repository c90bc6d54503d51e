"""Posters on the page are small JPEG files written into it, taken from the shards of the media stage."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgrec.errors import DataError


def thumbnails(images: Path, items: Collection[str], width: int) -> dict[str, str]:
    """Small posters as ``data:`` URIs, by item id; items without a picture are absent.

    :param images: folder of shards with schema ``IMAGES``
    :param width: pixels; smaller pictures stay as they are
    :raises DataError: if the folder holds no shard, or a picture that media accepted cannot be opened
    """
    shards = sorted(images.glob("*.parquet"))
    if not shards:
        raise DataError("holds no image shard; run the media stage first", path=images)
    wanted = pa.array([f"item:{item}" for item in sorted(items)], pa.string())
    scan = ds.dataset(shards, format="parquet").to_table(columns=["key", "bytes"], filter=pc.field("key").isin(wanted))
    rows = zip(scan["key"].to_pylist(), scan["bytes"].to_pylist(), strict=True)
    return {key.partition(":")[2]: data_uri(content, width, f"{images}, key {key}") for key, content in rows}


def data_uri(content: bytes, width: int, place: str) -> str:
    """A picture file as a JPEG of at most ``width`` pixels, written as a ``data:`` URI."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (2 * width, 4 * width))
            small = image.convert("RGB")
            small.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, ValueError):
        raise DataError("cannot be opened as a picture; run the media stage again", path=place) from None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
