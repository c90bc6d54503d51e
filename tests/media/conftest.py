"""A tiny catalogue with its posters and texts."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from kgrec.config import parse_settings
from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.media.collect import MediaFolders, MediaSettings, collect_media
from kgrec.media.subjects import Catalogue


def picture(seed: int = 0, size: tuple[int, int] = (60, 90), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """A picture of coloured blocks, so that it is plainly not uniform."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., bytes]:
    return picture


class World:
    """Inputs of the media stage in a folder; ``collect`` runs it."""

    def __init__(self, root: Path) -> None:
        self.root, self.posters, self.texts, self.out = root, root / "posters", root / "texts", root / "out"
        self.responses = root / "responses"
        self.posters.mkdir()
        self.texts.mkdir()
        self.tables([("1", "Alpha"), ("2", "Beta"), ("3", "Gamma"), ("4", None)])

    def tables(self, items: list[tuple[str, str | None]], entities: list[tuple[Any, ...]] | None = None) -> None:
        empty: dict[str, Any] = {field.name: [] for field in schemas.ITEMS if pa.types.is_list(field.type)}
        rows = [empty | {"item_id": i, "title": t} for i, t in items]
        write_parquet(pa.Table.from_pylist(rows, schema=schemas.ITEMS), self.root / "items.parquet")
        links = [{"item_id": "1", "entity_id": "m.1", "method": "file", "score": 1.0}]
        write_parquet(pa.Table.from_pylist(links, schema=schemas.LINKS), self.root / "links.parquet")
        entities = entities or [("m.1", "Alpha", None), ("m.p", "A. Person", None), ("m.x", None, None)]
        table = [{"entity_id": e, "name": n, "description": d, "type": "t"} for e, n, d in entities]
        write_parquet(pa.Table.from_pylist(table, schema=schemas.ENTITIES), self.root / "entities.parquet")

    def collect(self, **settings: Any) -> dict[str, Any]:
        return collect_media(
            self.catalogue, self.folders, self.out, self.responses, parse_settings(MediaSettings, settings)
        )

    @property
    def catalogue(self) -> Catalogue:
        keys = self.root / "keys.parquet"
        tables = (self.root / f"{name}.parquet" for name in ("items", "links", "entities"))
        return Catalogue(*tables, keys if keys.exists() else None)

    @property
    def folders(self) -> MediaFolders:
        return MediaFolders(self.posters, self.texts, self.root / "audio" if (self.root / "audio").exists() else None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
