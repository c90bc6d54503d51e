"""A table of addresses says for a key where its picture or clip is published.

CSV, TSV, JSONL (all optionally gzipped, UTF-8) or Parquet. The key is in the first of the columns that texts use too
(:data:`kgrec.media.texts.KEY_FIELDS`), the address in the first of :data:`URL_FIELDS`; ``modality``, ``licence`` and
``license`` columns are optional. A key may have several rows; they are tried in order. A row that cannot be used is kept
with its line and its reason: it is why the key has nothing.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.data.io import check_parquet
from kgrec.errors import DataError
from kgrec.media.keys import media_key
from kgrec.media.sources.answers import ACCEPT, Miss, ask_file, host_of, one_line, plain, shown, web_address, worst
from kgrec.media.sources.base import Found, Modality, Nothing, Reply, Request, Search, Source, Subject
from kgrec.media.sources.records import WebSettings
from kgrec.media.texts import KEY_FIELDS

URL_FIELDS = ("url", "poster", "poster_url", "image", "image_url", "picture", "audio_url", "video_url", "href", "link")
_FIELDS = (KEY_FIELDS, URL_FIELDS, ("modality",), ("licence", "license"))
_BATCH = 65_536
_words = pa.dictionary(pa.int32(), pa.string())
#: rows with a key; ``url`` is empty where ``reason`` says why
_ROWS = pa.schema(
    [
        ("key", pa.large_string()), ("line", pa.int64()), ("modality", _words), ("url", pa.large_string()),
        ("licence", _words), ("reason", _words),
    ]
)  # fmt: skip


class UrlsSettings(WebSettings):
    """A table of addresses by key."""

    kind: Literal["urls"]
    """``urls``"""
    table: Path
    """The table: a path, or the name of a file in one of the folders of posters, texts, audio files or videos."""
    modality: Modality = "image"
    """What the addresses are of, where the table has no column ``modality``."""
    modalities: tuple[Modality, ...] | None = None  # type: ignore[assignment]
    """What to take from it; null: all that it has."""
    hosts: tuple[str, ...] = ()
    """Hosts that may be asked, and redirected to: ``host``, ``host:port``, ``*.example.org``. Empty: those the table names."""
    licence: str = "not stated"
    """Written into the tables where the table has no column ``licence``."""


class UrlTable:
    """Addresses by key, in Arrow memory: the text itself and some 40 bytes a row.

    :param modality: of rows that name none
    :param licence: of rows that name none
    :raises DataError: if the file cannot be read, or has no key or no address column
    """

    def __init__(self, path: Path, modality: str = "image", licence: str = "not stated") -> None:
        self.path = path
        #: (line, reason) of rows that cannot be used; lines count from 1, rows of Parquet too
        self.rejects: list[tuple[int, str]] = []
        self.hosts: set[str] = set()
        batches = list(self._batches(modality, licence))
        rows = pa.Table.from_batches(batches, schema=_ROWS).unify_dictionaries()
        self._rows = rows.sort_by([("key", "ascending"), ("line", "ascending")]).combine_chunks()
        self._keys = self._rows["key"].chunk(0) if rows.num_rows else pa.array([], pa.large_string())
        self.modalities = frozenset(cast(list[Modality], self._rows["modality"].unique().to_pylist()))

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def lookup(self, key: str) -> list[dict[str, Any]]:
        """Rows of a key in the order of the table: ``line``, ``modality``, ``url``, ``licence``, ``reason``."""
        start = bisect_left(range(len(self)), key, key=self._key)
        stop = start
        while stop < len(self) and self._key(stop) == key:
            stop += 1
        return cast(list[dict[str, Any]], self._rows.slice(start, stop - start).to_pylist()) if stop > start else []

    def _key(self, row: int) -> str:
        return cast(str, self._keys[row].as_py())

    def _batches(self, modality: str, licence: str) -> Iterator[pa.RecordBatch]:
        rows: list[tuple[Any, ...]] = []
        for line, values in read_rows(self.path):
            if isinstance(values, str):
                self.rejects.append((line, values))
                continue
            key, address, kind, terms = map(_cell, values)
            if not key:
                self.rejects.append((line, "no key"))
                continue
            url, reason = self._checked(address, kind)
            if reason:
                self.rejects.append((line, reason))
            kind = kind.lower() if kind.lower() in ACCEPT else modality
            rows.append((media_key(key), line, kind, url, terms or licence, reason))
            if len(rows) == _BATCH:
                yield _batch(rows)
                rows = []
        yield _batch(rows)

    def _checked(self, address: str, modality: str) -> tuple[str, str]:
        """The address to ask, or why there is none."""
        url = web_address(address)
        if modality and modality.lower() not in ACCEPT:
            return "", f"unknown modality: {shown(modality)}"
        if not plain(address):
            return "", "no address"
        if not url and "@" in address:
            return "", "no web address, or one with a user or password"  # not shown: it may be a secret
        if not url:
            return "", f"no web address: {shown(address)}"
        self.hosts.add(host_of(url))
        return url, ""


class UrlsSource(Source):
    """Pictures and clips by a table of addresses."""

    def __init__(self, settings: UrlsSettings, table: UrlTable, name: str = "urls") -> None:
        self.name, self.settings, self.table, self.licence = name, settings, table, settings.licence
        self.modalities = table.modalities if settings.modalities is None else frozenset(settings.modalities)
        self.max_age_days = settings.max_age_days
        self.hosts = frozenset(settings.hosts or table.hosts)

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """Ask for the addresses of the key, one after the other until one answers."""
        rows = self.table.lookup(subject.key)
        found: list[Found | Nothing] = []
        for modality in sorted(modalities):
            try:
                found.append((yield from self._first([row for row in rows if row["modality"] == modality], modality)))
            except Miss as miss:
                found.append(miss.nothing(modality))
        return found

    def _first(self, rows: list[dict[str, Any]], modality: Modality) -> Generator[Request, Reply, Found]:
        misses: dict[str, Miss] = {}
        for row in rows:
            if row["url"] not in misses:
                try:
                    return (yield from self._ask(row, modality))
                except Miss as miss:
                    misses[row["url"]] = miss
        raise worst(list(misses.values())) or Miss("not in the table")

    def _ask(self, row: dict[str, Any], modality: Modality) -> Generator[Request, Reply, Found]:
        if row["reason"]:
            raise Miss(f"bad row: {row['reason']}", "refused", f"{self.table.path.name}, line {row['line']}")
        return (yield from ask_file(modality, row["url"], row["licence"], self.max_age_days))


def read_rows(path: Path) -> Iterator[tuple[int, Sequence[Any] | str]]:
    """Line, and its values (key, address, modality, licence), or why it has none.

    :raises DataError: if the file cannot be read, or has no key or no address column
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    reader = _READERS.get(suffixes[-1]) if suffixes else None
    if reader is None:
        raise DataError(f"is no table of addresses; its name must end in {', '.join(_READERS)}", path=path)
    if not path.exists():
        raise DataError("no such table of addresses", path=path)
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start}); save it as UTF-8", path=path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"is a damaged gzip file ({error}); fetch it again", path=path) from None


def _open(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _columns(path: Path, names: Iterable[str]) -> list[str | None]:
    """The columns for key, address, modality and licence; the last two may be None."""
    by_lower = {name.lower(): name for name in reversed(list(names))}
    columns = [next((by_lower[field] for field in fields if field in by_lower), None) for fields in _FIELDS]
    for column, fields in zip(columns[:2], _FIELDS, strict=False):
        if column is None:
            raise DataError(f"has none of the columns {', '.join(fields)}", path=path)
    return columns


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[int, Sequence[Any] | str]]:
    with _open(path) as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        places: list[int | None] = []
        while True:
            before = rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                break
            except csv.Error as error:
                if "end of data" in str(error):
                    raise DataError("opens a quote that is never closed", path=path, line=before + 1) from None
                yield rows.line_num, f"not a row: {error}"
                continue
            if header is None:
                header = row
                places = [None if name is None else header.index(name) for name in _columns(path, header)]
            elif row and len(row) != len(header):
                yield rows.line_num, f"{len(row)} fields of {len(header)}"
            elif row:
                yield rows.line_num, [None if place is None else row[place] for place in places]
        if header is None:
            _columns(path, [])


def _read_jsonl(path: Path) -> Iterator[tuple[int, Sequence[Any] | str]]:
    names: list[str | None] = []
    with _open(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield number, "not valid JSON"
                continue
            if not isinstance(row, dict):
                yield number, "not an object"
                continue
            names = names or _columns(path, row)
            yield number, [None if name is None else row.get(name) for name in names]
    if not names:
        _columns(path, [])


def _read_parquet(path: Path) -> Iterator[tuple[int, Sequence[Any] | str]]:
    check_parquet(path, pa.schema([]))
    with pq.ParquetFile(path) as file:
        names = _columns(path, file.schema_arrow.names)
        line = 0
        for batch in file.iter_batches(_BATCH, columns=[name for name in names if name is not None]):
            empty = [None] * batch.num_rows
            for values in zip(*(batch[name].to_pylist() if name else empty for name in names), strict=True):
                line += 1
                yield line, values


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers of a column that has gaps
    return one_line(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(_ROWS)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, _ROWS.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_ROWS)


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, Sequence[Any] | str]]]] = {
    ".csv": lambda path: _read_csv(path, ","),
    ".tsv": lambda path: _read_csv(path, "\t"),
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
