"""Collecting texts decides what is said of each item and entity, by whom, and in which language.

An item's text is its title and the plot of the first source that has one, in the order of the settings; an entity's is its
bare name unless a source says more. Sources are read once, their texts laid down in a file and where each stands in a
database on disk, so no catalogue is too large for memory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.config import Settings
from kgrec.data import schemas
from kgrec.data.database import database_on_disk, statement
from kgrec.data.io import check_parquet, write_batches
from kgrec.errors import DataError
from kgrec.media.keys import media_key
from kgrec.media.languages import certain_language, contradicts
from kgrec.media.texts import Take, TextSource, clean_text, read_text_source
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: texts that web sources gave: ``source`` names the source, ``rank`` orders the sources among each other; ``lang`` may be
#: empty. Columns ``origin`` (an address), ``licence`` and ``expires`` may follow and go to the ledger
FOUND_TEXTS = pa.schema(
    [("key", pa.string()), ("text", pa.string()), ("lang", pa.string()), ("source", pa.string()), ("rank", pa.int32())]
)
_FOUND_MORE = ("origin", "licence", "expires")
_SAID = pa.schema(
    [
        ("place", pa.int64()), ("source", pa.int32()), ("key", pa.string()), ("begin", pa.int64()), ("size", pa.int64()),
        ("lang", pa.string()), ("origin", pa.string()), ("licence", pa.string()), ("expires", pa.string()),
    ]
)  # fmt: skip
_OWN = pa.schema([("key", pa.string()), ("of_item", pa.bool_()), ("own", pa.string())])
#: rows of a batch, and of a row group of texts
_ROWS, _ROW_GROUP = 8192, 16_384
#: a row's place is this times its source's, and its number
_PER_SOURCE = 1 << 40
_MEMORY_GB = 0.4
#: contradictions that are listed; all are counted
_SHOWN = 20
#: descriptions of entities, the source behind all others
_LAST, _DESCRIPTION = 1 << 20, "entity description"


class TextSettings(Settings):
    """How an item's text is composed."""

    compose: Literal["title_plot", "title", "plot"] = "title_plot"
    """What an item's text is made of. With ``title_plot`` an item that has only one of the two gets that one."""
    separator: str = ". "
    """Between title and plot."""
    order: tuple[str, ...] = ("*override*", "*plot*", "*extrainfos*", "*omdb*", "*abstract*")
    """Patterns of names of files and web sources; the first in this order that has a text for an item gives it. Within a
    pattern, files come first, by name, then web sources in their own order; those that match none come after, in the same
    way; the description of the item's linked entity comes last."""
    lang: str = "en"
    """Language (ISO 639-1) of texts whose source does not state it and which are too short to tell it by."""
    detect: bool = True
    """Tell the language of a plot that its source does not state, see :mod:`kgrec.media.languages`."""


def collect_texts(
    items: Path, links: Path, entities: Path, folder: Path | None, found: Path | None, out: Path, ledger: Path,
    settings: TextSettings,
) -> dict[str, Any]:  # fmt: skip
    """Compose the text of every item and of every entity that is not linked to one.

    Writes ``out`` (:data:`~kgrec.data.schemas.TEXTS`) and ``ledger`` (:data:`~kgrec.data.schemas.LEDGER`, modality ``text``,
    one row per key), both sorted by key.

    :param items: ``items.parquet``
    :param links: ``links.parquet``; its entities are items and get no text of their own
    :param entities: ``entities.parquet``
    :param folder: text files, see :mod:`kgrec.media.texts`; None: there are none
    :param found: texts that web sources gave (:data:`FOUND_TEXTS`); None: there are none
    :return: counts by origin and language; per file what it says and the first rows that cannot be used
    :raises DataError: if an input is missing or damaged as a whole; a single bad row is counted
    """
    with database_on_disk(out, _MEMORY_GB) as (connection, work), (work / "texts").open("w+b") as spool:
        said = _Said(connection, spool)
        _load_own(connection, said, items, links, entities)
        read, ignored = _load_said(said, folder, found, settings.order)
        said.finish([reader.name for reader, _ in read])
        connection.execute(_sql("text_composed"), {"compose": settings.compose})

        languages = _Languages(settings)
        rows = connection.sql(_sql("text_rows")).to_arrow_reader(_ROWS)
        texts = write_batches(_composed(rows, said, languages, settings), schemas.TEXTS, out, _ROW_GROUP)
        rows = connection.sql(_sql("text_ledger"), params={"compose": settings.compose})
        write_batches(rows.to_arrow_reader(_ROWS), schemas.LEDGER, ledger)
        report = _made_of(connection) | _said(connection, read) | {"files_without_texts": ignored} | languages.report()
    log.info("collected texts", texts=texts)
    return report


def _sql(name: str) -> str:
    return statement("kgrec.media.sql", name)


def _rows(path: Path, columns: Sequence[str], more: Sequence[str] = ()) -> Iterator[pa.Table]:
    """A Parquet file, some rows at a time. Columns of ``more`` that it lacks are null."""
    check_parquet(path, pa.schema([(name, pa.string()) for name in columns]))
    try:
        with pq.ParquetFile(path) as file:
            present = [*columns, *(name for name in more if name in file.schema_arrow.names)]
            for batch in file.iter_batches(_ROWS, columns=present):
                table = pa.Table.from_batches([batch])
                for name in set(more) - set(present):
                    table = table.append_column(name, pa.nulls(len(table), pa.string()))
                yield table.select([*columns, *more])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as the Parquet table it should be ({error})", path=path) from error


def _load_own(connection: duckdb.DuckDBPyConnection, said: _Said, items: Path, links: Path, entities: Path) -> None:
    """Fill ``own`` with titles of items and names of entities, and ``said`` with what linked entities say of their item."""
    connection.execute("CREATE TABLE own (key VARCHAR, of_item BOOLEAN, own VARCHAR)")
    connection.execute("CREATE TABLE links (item_id VARCHAR, entity_id VARCHAR)")
    for table in _rows(items, ["item_id", "title"]):
        _insert_own(connection, "item", table)
    for table in _rows(links, ["item_id", "entity_id"]):
        connection.from_arrow(table).insert_into("links")
    row = 0
    for table in _rows(entities, ["entity_id", "name", "description"]):
        connection.register("batch", table)
        _insert_own(connection, "entity", connection.sql(_sql("text_names")).to_arrow_table())
        for item, description in connection.execute(_sql("text_descriptions")).fetchall():
            row += 1
            if text := clean_text(description):
                said.add(_LAST, row, f"item:{item}", text, None)
        connection.unregister("batch")


def _insert_own(connection: duckdb.DuckDBPyConnection, kind: str, table: pa.Table) -> None:
    ids, names = (column.to_pylist() for column in table.columns)
    keys = [f"{kind}:{name}" for name in ids]
    columns = [keys, [kind == "item"] * len(keys), [clean_text(name) for name in names]]
    connection.from_arrow(pa.table(columns, schema=_OWN)).insert_into("own")


@dataclass
class _Reader:
    """A source before it is read. ``path`` is None for a web source."""

    name: str
    path: Path | None = None
    rank: int = 0

    def preference(self, order: Sequence[str]) -> tuple[int, bool, int, str]:
        name = (self.path.name if self.path else self.name).lower()
        pattern = next((i for i, pattern in enumerate(order) if fnmatch(name, pattern.lower())), len(order))
        return pattern, self.path is None, self.rank, self.name


class _Said:
    """Lays texts down in ``spool`` and where they stand in the table ``said``. The smaller a row's place, the sooner it is
    chosen: by its source, then by its number."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, spool: BinaryIO) -> None:
        self._connection, self._spool, self._end = connection, spool, 0
        self._waiting: list[tuple[Any, ...]] = []
        connection.from_arrow(_SAID.empty_table()).create("said")

    def taker(self, source: int) -> Take:
        return lambda row, key, text, lang: self.add(source, row, key, text, lang)

    def add(self, source: int, row: int, key: str, text: str, lang: str | None, *more: str | None) -> None:
        size = self._spool.write(text.encode())
        place = source * _PER_SOURCE + row
        self._waiting.append((place, source, key, self._end, size, lang, *(more or (None, None, None))))
        self._end += size
        if len(self._waiting) >= _ROWS:
            self._flush()

    def read(self, begin: int, size: int) -> str:
        """A text that was laid down, once :meth:`finish` has run."""
        return os.pread(self._spool.fileno(), size, begin).decode()

    def _flush(self) -> None:
        if self._waiting:
            columns = [list(column) for column in zip(*self._waiting, strict=True)]
            self._connection.from_arrow(pa.table(columns, schema=_SAID)).insert_into("said")
        self._waiting = []

    def finish(self, names: Sequence[str]) -> None:
        """Fill ``sources`` with their names, in order of preference."""
        self._flush()
        self._spool.flush()
        columns = [pa.array([*range(len(names)), _LAST], pa.int32()), [*names, _DESCRIPTION]]
        self._connection.from_arrow(pa.table(columns, names=["source", "name"])).create("sources")


def _load_said(
    said: _Said, folder: Path | None, found: Path | None, order: Sequence[str]
) -> tuple[list[tuple[_Reader, TextSource]], list[str]]:
    """Read all texts. Returns the sources, in order of preference, and names of files that hold no texts."""
    readers = sorted([*_files(folder), *_web(found)], key=lambda reader: reader.preference(order))
    read: list[tuple[_Reader, TextSource]] = []
    ignored: list[str] = []
    places: dict[str, tuple[int, TextSource]] = {}
    with item_progress("reading texts", len(readers), "sources") as bar:
        for reader in readers:
            source: TextSource | None = TextSource(reader.name)
            if reader.path is not None:
                source = read_text_source(reader.path, said.taker(len(read)), reader.name)
            if source is None:
                ignored.append(reader.name)
                log.info("file holds no texts", file=reader.name)
            else:
                if reader.path is None:
                    places[reader.name] = len(read), source
                read.append((reader, source))
            bar.advance()
        if found is not None:
            _load_found(found, said, places)
    return read, ignored


def _files(folder: Path | None) -> list[_Reader]:
    """Text files by their name; by their path inside the folder where two have one name."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise DataError("no such folder of texts; run the fetch stage first", path=folder)
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    names = Counter(path.name for path in paths)
    return [_Reader(p.name if names[p.name] == 1 else p.relative_to(folder).as_posix(), p) for p in paths]


def _web(found: Path | None) -> list[_Reader]:
    if found is None:
        return []
    ranks: dict[str, int] = {}
    check_parquet(found, FOUND_TEXTS)
    for table in _rows(found, ["source", "rank"]):
        for name, rank in set(zip(table["source"].to_pylist(), table["rank"].to_pylist(), strict=True)):
            ranks[name] = min(rank, ranks.get(name, rank))
    return [_Reader(name, rank=rank) for name, rank in ranks.items()]


def _load_found(found: Path, said: _Said, places: dict[str, tuple[int, TextSource]]) -> None:
    row = 0
    for table in _rows(found, ["source", "key", "text", "lang"], _FOUND_MORE):
        for name, key, text, lang, *more in zip(*(column.to_pylist() for column in table.columns), strict=True):
            row += 1
            place, source = places[name]
            if clean := clean_text(text):
                said.add(place, row, media_key(key), clean, lang or None, *more)
            else:
                source.empty += 1


def _composed(
    batches: Iterable[pa.RecordBatch], said: _Said, languages: _Languages, settings: TextSettings
) -> Iterator[pa.RecordBatch]:
    """Texts and their languages, from the parts of them."""
    for batch in batches:
        keys, texts, langs = batch["key"].to_pylist(), [], []
        rows = zip(keys, *(batch[name].to_pylist() for name in ("own", "begin", "size", "lang")), strict=True)
        for key, own, begin, size, stated in rows:
            plot = "" if begin is None else said.read(begin, size)
            texts.append(settings.separator.join(filter(None, (own, plot))))
            langs.append(languages.tell(key, plot, stated))
        yield pa.RecordBatch.from_pydict({"key": keys, "text": texts, "lang": langs}, schema=schemas.TEXTS)


class _Languages:
    """Says which language each text is in, and counts how it was told."""

    def __init__(self, settings: TextSettings) -> None:
        self._settings = settings
        self._languages: Counter[str] = Counter()
        self._undetermined = self._contradicted = 0
        self._contradictions: list[dict[str, str]] = []

    def tell(self, key: str, said: str, stated: str | None) -> str:
        """The language stated, else the one told from what is said, else the one of the settings."""
        told = certain_language(said) if said and self._settings.detect else None
        if stated and told and contradicts(stated, told):
            self._contradicted += 1
            if len(self._contradictions) < _SHOWN:
                self._contradictions.append({"key": key, "stated": stated, "detected": told})
        self._undetermined += bool(said and not stated and not told)
        lang = stated or told or self._settings.lang
        self._languages[lang] += 1
        return lang

    def report(self) -> dict[str, Any]:
        return {
            "languages": dict(sorted(self._languages.items())),
            "undetermined": self._undetermined,
            "contradictions": {"count": self._contradicted, "first": self._contradictions},
        }


def _made_of(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for of_item, parts, n in connection.execute(_sql("text_made_of")).fetchall():
        counts[of_item][parts] += n
    missing = {of_item: counter.pop("", 0) for of_item, counter in counts.items()}
    return {
        "items": {"ok": counts[True].total(), "missing": missing[True]},
        "entities": {"ok": counts[False].total(), "missing": missing[False]},
        "item_texts_from": dict(counts[True]),
    }


def _said(connection: duckdb.DuckDBPyConnection, read: list[tuple[_Reader, TextSource]]) -> dict[str, Any]:
    """``files`` and ``web``: what each source says."""
    report: dict[str, dict[str, Any]] = {"files": {}, "web": {}}
    counts = connection.execute(_sql("text_sources")).fetchall()
    for (reader, source), (_, texts, repeated, unknown) in zip(read, counts, strict=False):  # descriptions come last
        row = {"texts": texts, "repeated": int(repeated), "empty": source.empty, "of_no_item_or_entity": unknown}
        if reader.path is not None:
            row["rejected"] = [{"line": line, "reason": reason} for line, reason in source.rejects]
            row["rejected_count"] = source.rejected
        report["web" if reader.path is None else "files"][reader.name] = row
    return report
