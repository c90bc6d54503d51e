"""A pair is an item's picture and its caption; items that share either are on one side of the split.

Which part an item is in follows from a hash of its key, so it stays there when the catalogue grows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgrec.data import schemas
from kgrec.data.io import check_parquet, read_parquet
from kgrec.errors import DataError
from kgrec.media.duplicates import shared_pictures

Caption = Literal["title", "text"]
Part = Literal["train", "validation", "test"]

_FULL_STOP = re.compile(r"[^.\s]\.\s*$")
#: pictures decoded at a time
_ROWS = 64


@dataclass(frozen=True)
class Pairs:
    """Items that have both a picture and a text, by key."""

    images: Path
    keys: list[str]
    texts: list[str]
    sha256: list[str]
    phash: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def captions(self, kind: Caption) -> list[str]:
        """The whole text, or what stands before its first full stop, which is the title."""
        return self.texts if kind == "text" else [first_sentence(text) for text in self.texts]

    def pictures(self) -> Iterator[tuple[int, bytes]]:
        """Position and file of each picture, in order."""
        place = {key: at for at, key in enumerate(self.keys)}
        for shard in _shards(self.images):
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(_ROWS, columns=["key", "bytes"], use_threads=False):
                    for key, data in zip(batch["key"].to_pylist(), batch["bytes"], strict=True):
                        if key in place:
                            yield place[key], data.as_py()


def read_pairs(images: Path, texts: Path) -> Pairs:
    """Pairs of a media folder; entities that are no items are left out.

    :param images: folder of picture shards
    :param texts: texts.parquet
    :raises DataError: if a table is missing or damaged
    """
    columns = ["key", "sha256", "phash"]
    found = pa.concat_tables(
        read_parquet(shard, pa.schema([schemas.IMAGES.field(name) for name in columns])) for shard in _shards(images)
    )
    said = read_parquet(texts, pa.schema([schemas.TEXTS.field(name) for name in ("key", "text")]))
    said = said.filter(pc.and_(pc.starts_with(said["key"], "item:"), pc.greater(pc.utf8_length(said["text"]), 0)))
    both = found.join(said, "key", join_type="inner").sort_by("key")
    return Pairs(images, *(both[name].to_pylist() for name in ("key", "text", "sha256", "phash")))


def split_pairs(
    pairs: Pairs, captions: Sequence[list[str]], *, test: float, validation: float, split: int, near_bits: int
) -> dict[Part, NDArray[np.int64]]:
    """Positions of the pairs of each part.

    Pairs are tied together by an equal or nearly equal picture, and by an equal caption. Tied ones go to one part, which
    a hash of the first key decides; of those that are held out only the first is kept, so that each held-out picture and
    caption is there once.

    :param captions: by kind, one text a pair
    :param test: share of the groups that is never trained on, nor looked at while training
    :param validation: share that decides when to stop
    :param split: another number, another draw
    :param near_bits: see :func:`~kgrec.media.duplicates.shared_pictures`
    """
    first = _firsts(pairs, captions, near_bits)
    drawn = np.array([_draw(f"{split} {pairs.keys[at]}") for at in first])
    alone = first == np.arange(len(pairs))
    return {
        "train": np.flatnonzero(drawn >= test + validation),
        "validation": np.flatnonzero((drawn >= test) & (drawn < test + validation) & alone),
        "test": np.flatnonzero((drawn < test) & alone),
    }


def _firsts(pairs: Pairs, captions: Sequence[list[str]], near_bits: int) -> NDArray[np.int64]:
    """Position of the first pair that each is tied to, be it itself."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shared = shared_pictures(zip(pairs.keys, pairs.sha256, pairs.phash, strict=True), near_bits)
    place = {key: at for at, key in enumerate(pairs.keys)}
    marks: list[tuple[object, int]] = [
        ((kind, group), place[key])
        for kind, group, key in zip(*(shared[n].to_pylist() for n in ("kind", "group", "key")), strict=True)
    ]
    marks += [(text, at) for kind in captions for at, text in enumerate(kind)]
    seen: dict[object, int] = {}
    ties = np.array([(seen.setdefault(mark, at), at) for mark, at in marks]).reshape(-1, 2).T
    graph = coo_array((np.ones(ties.shape[1]), tuple(ties)), shape=(len(pairs), len(pairs)))
    _, labels = connected_components(graph, directed=False)
    _, begin, group = np.unique(labels, return_index=True, return_inverse=True)
    return begin[group]


def first_sentence(text: str) -> str:
    """What stands before the first full stop that ends a sentence: of a title and a plot, the title.

    Titles are full of other ends (``Hot Shots! Part Deux (1993)``, ``When Harry Met Sally... (1989)``).
    """
    from sentencex import segment

    read = ""
    for sentence in segment("en", text):
        read += sentence
        if _FULL_STOP.search(read):
            return read.strip().removesuffix(".")
    return text


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _shards(images: Path) -> list[Path]:
    shards = sorted(images.glob("images-*.parquet"))
    if not shards:
        raise DataError("holds no images-*.parquet; run the media stage first", path=images)
    for shard in shards:
        check_parquet(shard, schemas.IMAGES)
    return shards
