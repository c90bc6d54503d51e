"""A search finds the items whose vectors lie nearest to a text, a picture or another item, so that a person can see
whether features make sense.

Words find pictures where the pictures' encoder has a text tower in the same space (CLIP, SigLIP); where it has none
they find texts. The features say which encoder made them, so a search needs no settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgrec.data.io import check_parquet, read_parquet
from kgrec.data.schemas import features as feature_schema
from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features.neighbours import nearest

if TYPE_CHECKING:
    from kgrec.features.encoders import Encoder

#: families that read pictures alone, so that words cannot be compared with their vectors
_SEES_ONLY = ("efficientnet-lite0", "timm:", "video-cnn")


@dataclass(frozen=True)
class Hit:
    """An item or entity that was found."""

    key: str
    """``item:<item_id>`` or ``entity:<entity_id>``"""
    title: str | None
    similarity: float
    """cosine, -1 to 1"""

    @property
    def id(self) -> str:
        return self.key.partition(":")[2]


@dataclass(frozen=True)
class Question:
    """What was asked."""

    kind: Literal["text", "like", "image"]
    said: str
    """the words, the item's title or id, or the picture's path"""
    key: str | None = None
    """of the item, for ``like``"""


@dataclass(frozen=True)
class Found:
    """The answer, best first, and how it was found."""

    question: Question
    modality: str
    """whose vectors were compared"""
    encoder: str
    """as the features name it, ``<name>@<fingerprint>``"""
    note: str
    """why this modality, where that needs a word; else empty"""
    compared: int
    mean: float
    """similarity of the question to all that was compared, mean and standard deviation"""
    std: float
    hits: list[Hit] = field(default_factory=list)


def search(
    features: Path,
    *,
    query: str | None = None,
    like: str | None = None,
    image: Path | None = None,
    modality: str | None = None,
    k: int = 10,
    entities: bool = False,
    items: Path | None = None,
    names: Path | None = None,
    device: str = "auto",
) -> Found:
    """The ``k`` items nearest to exactly one of ``query``, ``like`` and ``image``.

    :param features: folder of the features stage
    :param query: words
    :param like: an item by id, title or key; it is not among its own hits
    :param image: a picture file
    :param modality: whose vectors are compared; None: pictures if the question can be compared with them, else texts
    :param entities: also find entities that are no items
    :param items: ``items.parquet``, for titles
    :param names: ``entities.parquet``, for names of entities
    :raises ConfigError: if the question cannot be compared with the vectors of ``modality``; says what would work
    :raises DataError: if nothing has the id or title, or a table is missing or damaged
    """
    if sum(one is not None for one in (query, like, image)) != 1:
        raise ConfigError("ask with words, or with --like ITEM, or with --image FILE: one of them")
    tables = _tables(Path(features))
    if modality is not None and modality not in tables:
        raise ConfigError(f"there are no vectors of modality {modality!r}; there are {', '.join(sorted(tables))}")
    note = ""
    if query is not None:
        question = Question("text", query)
        modality, vector, note = _of_words(query, tables, modality, device)
    elif image is not None:
        question = Question("image", str(image))
        modality, vector = _of_picture(Path(image), tables, modality, device)
    else:
        key = find_item(str(like), items)
        modality, vector = _of_item(key, tables, modality)
        question = Question("like", _titles([key], items, names).get(key) or key.partition(":")[2], key)
    table = tables[modality]
    row = nearest(table.path, vector[None], k + 1, "" if entities else "item:")[0]
    near = [one for one in row.neighbours if one.key != question.key][:k]
    titles = _titles([one.key for one in near], items, names)
    hits = [Hit(one.key, titles.get(one.key), one.similarity) for one in near]
    return Found(question, modality, table.encoder, note, row.compared, row.mean, row.std, hits)


@dataclass(frozen=True)
class _Table:
    path: Path
    encoder: str

    @property
    def name(self) -> str:
        """The encoder's name, without its fingerprint."""
        return self.encoder.rpartition("@")[0] or self.encoder


def _tables(features: Path) -> dict[str, _Table]:
    found = {}
    for path in sorted((features / "vectors").glob("*.parquet")):
        check_parquet(path, feature_schema(1))
        first = next(pq.ParquetFile(path).iter_batches(1, columns=["encoder"]), None)
        if first is not None and first.num_rows:
            found[path.stem] = _Table(path, first["encoder"][0].as_py())
    if not found:
        raise DataError("holds no vectors; run the features stage first", path=features / "vectors")
    return found


def _of_words(
    words: str, tables: Mapping[str, _Table], modality: str | None, device: str
) -> tuple[str, NDArray[np.float32], str]:
    """Modality, vector, and why not the one before it."""
    notes: list[str] = []
    for one in [modality] if modality else [name for name in ("image", "video", "text") if name in tables]:
        try:
            vector = _encode(_text_tower(tables[one], one, device), words)
            return one, vector, f"{one} vectors are compared because {'; '.join(notes)}" if notes else ""
        except (EncoderUnavailable, ConfigError) as error:
            if one != "text" and tables[one].name.startswith("open_clip:"):
                raise  # it reads text, if only it can be loaded
            notes.append(str(error))
    ways = [name for name in tables if name != modality and not tables[name].name.startswith(_SEES_ONLY)]
    other = f"--modality {' or '.join(ways)}, " if modality and ways else ""
    raise ConfigError(f"{'; '.join(notes) or 'nothing here reads text'}; use {other}--like ITEM or --image FILE")


def _text_tower(table: _Table, modality: str, device: str) -> Encoder:
    """The encoder whose vectors of texts may be compared with those of the table."""
    name = table.name.removeprefix("frames:")
    reads = f"{modality} vectors are of {table.name}, which reads no text"
    if modality not in ("image", "text", "video") or table.name.startswith(_SEES_ONLY):
        raise ConfigError(reads)
    from kgrec.features.encoders import open_encoder

    try:
        return open_encoder(name, "text", device, 1)
    except EncoderUnavailable as error:
        raise EncoderUnavailable(f"{reads} here: {str(error).partition('. Choices')[0]}") from None


def _of_picture(
    path: Path, tables: Mapping[str, _Table], modality: str | None, device: str
) -> tuple[str, NDArray[np.float32]]:
    from kgrec.features.encoders import open_encoder

    modality = modality or "image"
    if modality not in tables:
        raise ConfigError(f"there are no image vectors to compare {path} with; there are {', '.join(sorted(tables))}")
    name = tables[modality].name
    if modality == "video" and name.startswith("frames:"):
        name = name.removeprefix("frames:")
    elif modality != "image":
        raise ConfigError(f"{modality} vectors are of {name}, which sees no pictures; use --modality image")
    try:
        return modality, _encode(open_encoder(name, "image", device, 1), path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path=path) from None
    except ValueError as error:
        raise DataError(f"is not a picture that can be opened ({error})", path=path) from None


def _of_item(key: str, tables: Mapping[str, _Table], modality: str | None) -> tuple[str, NDArray[np.float32]]:
    order = [modality] if modality else sorted(tables, key=lambda name: (name != "image", name != "text", name))
    for one in order:
        rows = pq.read_table(tables[one].path, columns=["vector"], filters=[("key", "=", key)])
        if rows.num_rows:
            return one, np.array(rows["vector"][0].as_py(), np.float32)
    raise DataError(f"{key} has no {' or '.join(order)} vector; `kgrec features status --item {key}` says why")


def _encode(encoder: Encoder, content: Any) -> NDArray[np.float32]:
    batch = encoder.collate([content], encoder.padded_length(content))
    return encoder.encode(batch).vectors[0].numpy()


def find_item(wanted: str, items: Path | None) -> str:
    """The key of an item by key, id or title, with or without its year.

    :raises DataError: if there is none, or several have the title
    """
    if wanted.startswith(("item:", "entity:")) or items is None:
        return wanted if ":" in wanted else f"item:{wanted}"
    table = read_parquet(items, columns=["item_id", "title"])
    ids, titles = table["item_id"], table["title"]
    if pc.any(pc.equal(ids, wanted)).as_py():
        return f"item:{wanted}"
    lower = pc.utf8_lower(titles)
    found = ids.filter(pc.fill_null(pc.equal(lower, wanted.lower()), False)).to_pylist()
    if not found:  # a title without its year is enough
        found = ids.filter(pc.fill_null(pc.starts_with(lower, f"{wanted.lower()} ("), False)).to_pylist()
    if len(found) == 1:
        return f"item:{found[0]}"
    if found:
        raise DataError(
            f"{len(found)} items are called {wanted!r}: {', '.join(sorted(found)[:10])}; ask by id", path=items
        )
    near = get_close_matches(wanted.lower(), (one for one in lower.to_pylist() if one), n=1)
    hint = f"; did you mean {titles[pc.index(lower, near[0]).as_py()].as_py()!r}?" if near else ""
    raise DataError(f"has no item {wanted!r}, neither as id nor as title{hint}", path=items)


def _titles(keys: Collection[str], items: Path | None, names: Path | None) -> dict[str, str | None]:
    """Titles of items and names of entities, by key."""
    found: dict[str, str | None] = {}
    for path, kind, name, title in ((items, "item", "item_id", "title"), (names, "entity", "entity_id", "name")):
        ids = [key.partition(":")[2] for key in keys if key.startswith(f"{kind}:")]
        if path is not None and ids:
            check_parquet(path, pa.schema([(name, pa.string()), (title, pa.string())]))
            rows = pq.read_table(path, columns=[name, title], filters=[(name, "in", ids)])
            found |= {f"{kind}:{i}": t for i, t in zip(rows[name].to_pylist(), rows[title].to_pylist(), strict=True)}
    return found
