"""Collecting media decides which picture and which text an item or entity has, and writes down why it has none.

Keys are ``item:<item_id>`` for the catalogue and ``entity:<entity_id>`` for the attribute entities. An entity that is
linked to an item *is* that item and has no key of its own. Item text is title and plot; entity text is its bare name.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from kgrec.config import Settings
from kgrec.data import schemas
from kgrec.data.io import PARQUET_OPTIONS, atomic_folder, read_parquet, write_parquet
from kgrec.errors import DataError
from kgrec.media.files import DamagedMember, PosterFile, PosterFiles
from kgrec.media.images import Picture, Rejected, check_picture
from kgrec.media.texts import TextSource, clean_text, read_text_source
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: rows of picture bytes are read back one row group at a time, so groups stay small
_GROUP_BYTES = 32_000_000
_SHOWN = 100
#: key, modality, status, reason, source
_LedgerRow = tuple[str, str, str, str, str]


class TextSettings(Settings):
    """How an item's text is composed."""

    compose: Literal["title_plot", "title", "plot"] = "title_plot"
    """What an item's text is made of. With ``title_plot`` an item that has only one of the two gets that one."""
    separator: str = ". "
    """Between title and plot."""
    order: tuple[str, ...] = ("*override*", "*plot*", "*extrainfos*", "*omdb*", "*abstract*")
    """Patterns of file names; the first file in this order that has a text for an item gives it. Files that match none
    come after, by name; the description of the item's linked entity comes last."""
    lang: str = "en"
    """Language (ISO 639-1) of files and names that do not state theirs."""


class MediaSettings(Settings):
    """What counts as a usable picture, and where texts come from."""

    max_bytes: int = Field(default=20_000_000, gt=0)
    """Longest picture file, in bytes."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest width x height that is decoded."""
    uniform_below: float = Field(default=12.0, ge=0)
    """A picture whose colours vary less than this (standard deviation, 0 to 255, shrunk to 64 x 64) is a
    placeholder."""
    placeholders: tuple[str, ...] = ()
    """SHA-256 of further files that stand for "no picture"."""
    shard_mb: int = Field(default=256, gt=0)
    """Size at which a new shard of pictures is begun, in megabytes."""
    overrides: Path | None = None
    """A folder of files ``<item_id>.<suffix>`` that take the place of fetched posters."""
    texts: TextSettings = TextSettings()
    """How texts are composed."""


def collect_media(
    items: Path, links: Path, entities: Path, posters: Path, texts: Path, out: Path, settings: MediaSettings
) -> dict[str, Any]:
    """Check and pack all pictures and texts.

    Writes ``images/images-00000.parquet`` … (:data:`~kgrec.data.schemas.IMAGES`, bytes as published, sorted by key over
    all shards), ``texts.parquet`` and ``ledger.parquet`` (one row per item and modality, one per entity for text).

    :param items: ``items.parquet``
    :param links: ``links.parquet``; its entities are items and get no key of their own
    :param entities: ``entities.parquet``
    :param posters: folder with zip archives or files named ``<item_id>.<suffix>``
    :param texts: folder of text files, see :mod:`kgrec.media.texts`
    :return: counts by status and reason per modality, groups of keys that share one picture, files that were not used
    :raises DataError: if an input is missing or damaged as a whole; a single bad picture or line goes to the ledger
    """
    catalogue = read_parquet(items, columns=["item_id", "title"])
    titles = dict(zip(catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), strict=True))
    link_table = read_parquet(links, columns=["item_id", "entity_id"])
    item_of = dict(zip(link_table["entity_id"].to_pylist(), link_table["item_id"].to_pylist(), strict=True))
    linked = {item for item in item_of.values() if item in titles}
    entity_table = read_parquet(entities, columns=["entity_id", "name", "description"])

    ledger: list[_LedgerRow] = []
    with atomic_folder(out / "images") as shards, PosterFiles(posters, settings.overrides) as files:
        image_report = _collect_images(sorted(titles), files, shards, settings, ledger)
        text_rows, text_report = _collect_texts(titles, item_of, entity_table, texts, settings.texts, ledger)
        text_table = pa.table([list(c) for c in zip(*text_rows, strict=True)] or [[]] * 3, schema=schemas.TEXTS)
        write_parquet(text_table, out / "texts.parquet", sort_by=["key"])
        ledger_table = pa.table(
            [list(c) for c in zip(*((*row, "", "") for row in ledger), strict=True)] or [[]] * 7, schema=schemas.LEDGER
        )
        write_parquet(ledger_table, out / "ledger.parquet", sort_by=["key", "modality"])
    report = {"image": image_report, "text": text_report, "linked_items": _coverage(ledger, linked)}
    log.info("collected media", pictures=image_report["ok"], texts=len(text_rows))
    return report


def _coverage(ledger: Iterable[_LedgerRow], linked: set[str]) -> dict[str, Any]:
    """Status counts over linked items only, per modality."""
    keys = {f"item:{item}" for item in linked}
    counts = Counter((row[1], row[2]) for row in ledger if row[0] in keys)
    return {"items": len(linked)} | {
        modality: {status: counts[modality, status] for status in ("ok", "missing", "rejected")}
        for modality in ("image", "text")
    }


def _collect_images(
    item_ids: list[str], files: PosterFiles, shards: Path, settings: MediaSettings, ledger: list[_LedgerRow]
) -> dict[str, Any]:
    keyed = sorted((f"item:{item}", files.by_item.get(item)) for item in item_ids)
    keys_of: dict[str, list[str]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    missing = 0
    with _ShardWriter(shards, settings.shard_mb * 1_000_000) as writer:
        for key, file, outcome in _checked(keyed, settings):
            if file is None:
                missing += 1
                ledger.append((key, "image", "missing", "no file", ""))
            elif isinstance(outcome, Picture):
                writer.add(key, outcome)
                keys_of[outcome.sha256].append(key)
                ledger.append((key, "image", "ok", "", file.name))
            elif outcome is not None:
                reasons[outcome.kind] += 1
                ledger.append((key, "image", "rejected", outcome.reason, file.name))
    groups = sorted(group for group in keys_of.values() if len(group) > 1)
    unused = sorted(file.name for item, file in files.by_item.items() if item not in set(item_ids))
    return {
        "ok": sum(map(len, keys_of.values())),
        "missing": missing,
        "rejected": dict(sorted(reasons.items())),
        "megabytes": round(writer.total / 1e6, 3),
        "shards": writer.count,
        "duplicates": {"groups": len(groups), "keys": groups[:_SHOWN]},
        "files_of_no_item": {"count": len(unused), "first": unused[:10]},
        "files_behind_another": {"count": len(files.ambiguous), "first": files.ambiguous[:10]},
    }


def _checked(
    keyed: list[tuple[str, PosterFile | None]], settings: MediaSettings
) -> Iterator[tuple[str, PosterFile | None, Picture | Rejected | None]]:
    """Check pictures in worker threads, in order, a bounded number ahead."""
    limits: dict[str, Any] = {
        "max_bytes": settings.max_bytes, "max_pixels": settings.max_pixels,
        "uniform_below": settings.uniform_below, "placeholders": frozenset(settings.placeholders),
    }  # fmt: skip

    def check(file: PosterFile) -> Picture | Rejected:
        try:
            return check_picture(file.read(settings.max_bytes), **limits)
        except DamagedMember as error:
            return Rejected(f"damaged: {error}")

    ahead: deque[tuple[str, PosterFile | None, Future[Picture | Rejected] | None]] = deque()
    with ThreadPoolExecutor() as pool, item_progress("checking pictures", len(keyed), "files") as bar:
        for key, file in keyed:
            ahead.append((key, file, pool.submit(check, file) if file else None))
            if len(ahead) >= 64:
                yield _next(ahead)
                bar.advance()
        while ahead:
            yield _next(ahead)
            bar.advance()


def _next(ahead: deque[Any]) -> tuple[str, PosterFile | None, Picture | Rejected | None]:
    key, file, future = ahead.popleft()
    return key, file, future.result() if future else None


class _ShardWriter:
    """Writes :class:`Picture` rows to ``images-00000.parquet`` … in the order they come."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self.count = self.total = self._in_shard = self._in_group = 0
        self._rows: list[tuple[str, Picture]] = []
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self._flush()
            if self.count == 0:
                self._open()  # a table without rows is still a table
        if self._writer is not None:
            self._writer.close()

    def add(self, key: str, picture: Picture) -> None:
        size = len(picture.data)
        if self._in_shard and self._in_shard + size > self.shard_bytes:
            self._flush()
            if self._writer is not None:
                self._writer.close()
            self._writer, self._in_shard = None, 0
        self._rows.append((key, picture))
        self._in_shard += size
        self._in_group += size
        self.total += size
        if self._in_group >= _GROUP_BYTES:
            self._flush()

    def _open(self) -> pq.ParquetWriter:
        path = self.folder / f"images-{self.count:05d}.parquet"
        options = PARQUET_OPTIONS | {"use_dictionary": ["format"], "write_statistics": ["key"]}
        self._writer = pq.ParquetWriter(path, schemas.IMAGES, **options)
        self.count += 1
        return self._writer

    def _flush(self) -> None:
        if not self._rows:
            return
        writer = self._writer or self._open()
        pictures = [picture for _, picture in self._rows]
        columns = [
            [key for key, _ in self._rows], [p.sha256 for p in pictures], [p.data for p in pictures],
            [p.width for p in pictures], [p.height for p in pictures], [p.format for p in pictures],
            [p.phash for p in pictures],
        ]  # fmt: skip
        writer.write_table(pa.table(columns, schema=schemas.IMAGES))
        self._rows, self._in_group = [], 0


def _collect_texts(
    titles: Mapping[str, str | None],
    item_of: Mapping[str, str],
    entities: pa.Table,
    folder: Path,
    settings: TextSettings,
    ledger: list[_LedgerRow],
) -> tuple[list[tuple[str, str, str]], dict[str, Any]]:
    sources, ignored = _read_sources(folder, settings.order)
    names: dict[str, str] = {}
    descriptions = TextSource("entity description")
    for entity, name, description in zip(*(entities[c].to_pylist() for c in entities.column_names), strict=True):
        if entity not in item_of:
            names[entity] = clean_text(name)
        elif clean_text(description):
            descriptions.add(0, item_of[entity], description)

    rows: list[tuple[str, str, str]] = []
    used: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for item, title in titles.items():
        key = f"item:{item}"
        source = next((s for s in [*sources, descriptions] if key in s.texts), None)
        plot, lang = source.texts[key] if source else ("", None)
        parts = {
            "title": clean_text(title) if settings.compose != "plot" else "",
            source.name if source else "": plot if settings.compose != "title" else "",
        }
        have = [name for name, part in parts.items() if part]
        if have:
            rows.append((key, settings.separator.join(parts[name] for name in have), lang or settings.lang))
            used[" + ".join(have)] += 1
            ledger.append((key, "text", "ok", "", " + ".join(have)))
        else:
            missing["items"] += 1
            ledger.append((key, "text", "missing", f"no {settings.compose.replace('_', ' or ')}", ""))
    for entity, name in names.items():
        key = f"entity:{entity}"
        source = next((s for s in sources if key in s.texts), None)
        text, lang = source.texts[key] if source else (name, None)
        if text:
            rows.append((key, text, lang or settings.lang))
            ledger.append((key, "text", "ok", "", source.name if source else "name"))
        else:
            missing["entities"] += 1
            ledger.append((key, "text", "missing", "no name", ""))

    known = {f"item:{item}" for item in titles} | {f"entity:{entity}" for entity in names}
    return rows, {
        "items": {"ok": len(titles) - missing["items"], "missing": missing["items"]},
        "entities": {"ok": len(names) - missing["entities"], "missing": missing["entities"]},
        "item_texts_from": dict(sorted(used.items())),
        "files": {
            source.name: {
                "texts": len(source.texts),
                "empty": source.empty,
                "of_no_item_or_entity": sum(key not in known for key in source.texts),
                "rejected": [{"line": line, "reason": reason} for line, reason in source.rejects[:_SHOWN]],
                "rejected_count": len(source.rejects),
            }
            for source in sources
        },
        "files_without_texts": ignored,
    }


def _read_sources(folder: Path, order: tuple[str, ...]) -> tuple[list[TextSource], list[str]]:
    """Text files of ``folder`` in order of preference, and names of the files that hold no texts."""
    if not folder.is_dir():
        raise DataError("no such folder of texts; run the fetch stage first", path=folder)

    def preference(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return next((i for i, pattern in enumerate(order) if fnmatch(name, pattern.lower())), len(order)), path.name

    sources, ignored = [], []
    for path in sorted((p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")), key=preference):
        source = read_text_source(path)
        if source is None:
            ignored.append(path.name)
            log.info("file holds no texts", file=path.name)
        else:
            sources.append(source)
    return sources, ignored
