"""Posters come out of the shards small, as JPEG, and only those asked for."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kgrec.errors import DataError
from kgrec.serving.report.posters import data_uri, thumbnails


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_only_what_is_asked_for_and_there(world: Any) -> None:
    found = thumbnails(world.media / "images", ["1", "2", "4", "29"], 60)
    assert set(found) == {"1", "2", "29"}
    assert opened(found["1"]).size == (60, 90)
    assert opened(found["2"]).format == "JPEG"  # its file is PNG


def test_small_pictures_stay_small(world: Any) -> None:
    assert opened(thumbnails(world.media / "images", ["1"], 400)["1"]).size == (100, 150)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_mode(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (300, 450)).save(buffer, "TIFF")
    assert opened(data_uri(buffer.getvalue(), 100, "x")).size == (100, 150)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shard, key item:7: cannot be opened as a picture"):
        data_uri(b"\xff\xd8 no picture", 100, "shard, key item:7")
    with pytest.raises(DataError, match="holds no image shard"):
        thumbnails(tmp_path, ["1"], 100)
