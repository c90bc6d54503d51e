"""A page shows what a search found as pictures with their similarity, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup
from PIL import Image

from kgrec.data.io import atomic_file, check_parquet
from kgrec.errors import DataError
from kgrec.features.search import Found, Hit
from kgrec.media.images import open_rgb

#: a picture on the page, in pixels and in bytes at most
WIDTH, HEIGHT, MOST_BYTES = 240, 360, 15_000
_LONGEST_TEXT = 400


@dataclass(frozen=True)
class Card:
    """A hit with what a person looks at."""

    hit: Hit
    picture: Image.Image | None
    """RGB, at most 240 x 360"""
    reason: str
    """why there is no picture; empty if there is one"""
    text: str
    """the beginning of its text; empty if it has none"""

    @property
    def title(self) -> str:
        return self.hit.title or self.hit.key


def cards(found: Found, media: Path) -> tuple[list[Card], Card | None]:
    """The hits with their pictures and texts, and the item asked about, if one was, or the picture.

    Reads only those row groups of the media tables that hold one of the keys.

    :param media: folder of the media stage
    :raises DataError: if a table is missing or damaged
    """
    asked = found.question
    hits = list(found.hits)
    if asked.key:
        hits.append(Hit(asked.key, asked.said, 1.0))
    keys = {hit.key for hit in hits}
    shards = sorted((media / "images").glob("images-*.parquet"))
    if not shards:
        raise DataError("holds no images-*.parquet; run the media stage first", path=media / "images")
    pictures: dict[str, bytes] = {}
    for shard in shards:
        pictures |= _rows(shard, keys, "bytes")
    reasons = _reasons(media / "ledger.parquet", keys - pictures.keys())
    texts = _rows(media / "texts.parquet", keys, "text")
    shown = [
        Card(
            hit,
            _small(pictures[hit.key], f"{media}, key {hit.key}") if hit.key in pictures else None,
            "" if hit.key in pictures else reasons.get(hit.key, "no picture is kept of entities"
                                                       if hit.key.startswith("entity:") else "not in the media ledger"),
            _shorter(texts.get(hit.key, ""), hit.title),
        )
        for hit in hits
    ]  # fmt: skip
    if asked.key:
        return shown[:-1], shown[-1]
    if asked.kind == "image":
        query = Hit("", Path(asked.said).name, 1.0)
        return shown, Card(query, _small(Path(asked.said).read_bytes(), asked.said), "", "")
    return shown, None


def write_page(found: Found, shown: list[Card], asked: Card | None, out: Path) -> None:
    """Write the page ``out``: what was asked on top, the hits below, best first."""
    here = files("kgrec.features")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data_uri": data_uri, "hue": _hue}
    template = environment.from_string(here.joinpath("search.html.j2").read_text(encoding="utf-8"))
    best = max((card.hit.similarity for card in shown), default=0.0)
    floor = min(found.mean, *(card.hit.similarity for card in shown)) if shown else 0.0
    page = template.render(
        found=found, cards=shown, asked=asked, floor=floor, span=(best - floor) or 1.0,
        style=Markup(here.joinpath("search.css.j2").read_text(encoding="utf-8")),
    )  # fmt: skip
    with atomic_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_uri(picture: Image.Image) -> str:
    """A picture as a JPEG in a ``data:`` URI of at most 20 kB."""
    for quality in (84, 74, 62, 48, 30):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _small(data: bytes, place: str) -> Image.Image:
    try:
        picture = open_rgb(data, WIDTH)
    except ValueError as error:
        raise DataError(f"{error}; run the media stage again", path=place) from None
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return picture


def _rows(path: Path, keys: Collection[str], column: str) -> dict[str, Any]:
    """One column of some keys of a table that is sorted by key."""
    check_parquet(path, _columns("key", column))
    found: dict[str, Any] = {}
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        bounds = file.metadata.row_group(group).column(0).statistics
        if bounds is not None and bounds.has_min_max and not any(bounds.min <= key <= bounds.max for key in keys):
            continue
        here = file.read_row_group(group, columns=["key"])["key"].to_pylist()
        places = [place for place, key in enumerate(here) if key in keys]
        if places:
            values = file.read_row_group(group, columns=[column])[column].take(places).to_pylist()
            found |= dict(zip((here[place] for place in places), values, strict=True))
    return found


def _reasons(ledger: Path, keys: Collection[str]) -> dict[str, str]:
    """Why keys have no picture."""
    if not keys:
        return {}
    columns = ["key", "modality", "status", "reason"]
    check_parquet(ledger, _columns(*columns))
    chosen = (pc.field("modality") == "image") & pc.field("key").isin(list(keys))
    rows = pq.read_table(ledger, columns=columns, filters=chosen).to_pylist()
    return {row["key"]: row["reason"].partition(":")[0] or row["status"] for row in rows}


def _shorter(text: str, title: str | None) -> str:
    """The beginning of a text, without the title where it begins with that."""
    if title and text.startswith(title):
        text = text[len(title) :].lstrip(" .:–-")
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT].rsplit(" ", 1)[0] + " …"


def _hue(key: str) -> int:
    return zlib.crc32(key.encode()) % 360


def _columns(*names: str) -> pa.Schema:
    return pa.schema([(name, pa.null()) for name in names])
