"""A text source is a file that says something about items by id: plots, abstracts, descriptions.

Read, by content and not by name alone, all optionally gzipped and in UTF-8:

* ``.dat``: ``id::title::year::rated::released::genre::director::writer::actors::plot::poster`` lines
* ``.json``: one object ``{id: text}``
* ``.jsonl``: one object per line with a key and a text field
* ``.csv``, ``.tsv``, ``.parquet``: with a key and a text column

A key field is the first of ``key, item_id, movie_id, movieId, id, asin``, a text field the first of ``text, plot,
overview, abstract, description, summary``, in any case. A key is an item id, or ``item:<id>`` or ``entity:<id>``.

Files are read once, from front to back; none is held in memory.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.errors import DataError
from kgrec.media.keys import media_key

KEY_FIELDS = ("key", "item_id", "movie_id", "movieid", "id", "asin")
TEXT_FIELDS = ("text", "plot", "overview", "abstract", "description", "summary")
LANG_FIELDS = ("lang", "language_code")
_EMPTY = frozenset({"", "n/a", "na", "null", "none", "nan", "\\n"})
_DAT_FIELDS, _DAT_PLOT = 11, 9
#: rejected rows of a file that are listed; the others are counted
SHOWN = 100
_SPACES = re.compile(r"[ \t\r\n]*")
#: what a number may go on with where a block ends in it
_REST_OF_NUMBER = re.compile(r"[-+.eE0-9]*")
#: characters read at once, and in one value of a JSON document at most
_BLOCK, _LONGEST_VALUE = 1 << 16, 1 << 26
#: rows of a Parquet file read at once
_ROWS = 8192


#: takes one text: its line or row (from 1), media key, text, and language or None
Take = Callable[[int, str, str, "str | None"], None]


@dataclass
class TextSource:
    """What one file says. Texts go to ``take`` in the file's order, keys as often as they come; without one, the first text
    of each key is kept in ``texts``: media key -> (text, language or None)."""

    name: str
    take: Take | None = None
    texts: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    #: (line, reason) of the first rows that cannot be used
    rejects: list[tuple[int, str]] = field(default_factory=list)
    #: how many cannot
    rejected: int = 0
    #: rows whose text is empty
    empty: int = 0

    def add(self, line: int, key: object, text: object, lang: object = None) -> None:
        """Take one row; an empty text is counted and left out."""
        if key is None or str(key).strip() == "":
            self.reject(line, "no key")
            return
        if text is not None and not isinstance(text, str):
            self.reject(line, f"text is {type(text).__name__}, not a string")
            return
        clean = clean_text(text)
        if not clean:
            self.empty += 1
            return
        name, language = media_key(_storable(str(key).strip())), _storable(str(lang).strip()) if lang else None
        if self.take is not None:
            self.take(line, name, clean, language)
        else:
            self.texts.setdefault(name, (clean, language))

    def reject(self, line: int, reason: str) -> None:
        """Count a row that cannot be used."""
        self.rejected += 1
        if len(self.rejects) < SHOWN:
            self.rejects.append((line, reason))


def clean_text(text: str | None) -> str:
    """One line, single spaces; the words for "nothing" (``N/A``, ``null`` …) become the empty string."""
    clean = " ".join(_storable(text or "").split())
    return "" if clean.lower() in _EMPTY else clean


def _storable(text: str) -> str:
    """Without what UTF-8 or a database cannot hold: halves of surrogate pairs become ``?``, NUL a space."""
    text = text.replace("\0", " ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def read_text_source(path: Path, take: Take | None = None, name: str | None = None) -> TextSource | None:
    """Read one file.

    :param take: is given every text; without it they are kept in memory
    :param name: what to call the source; the file's name if None
    :return: None if the file is of no known kind or has no key or no text column
    :raises DataError: if it is damaged: not UTF-8, a truncated gzip stream, or a container that is not what its suffix
        says
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    reader = _READERS.get(suffixes[-1]) if suffixes else None
    if reader is None:
        return None
    source = TextSource(name or path.name, take)
    try:
        return source if reader(path, source) else None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start}); save it as UTF-8", path=path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"is a damaged gzip file ({error}); fetch it again", path=path) from None
    except csv.Error as error:
        raise DataError(f"is not a readable table ({error})", path=path) from None


def _open(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _pick(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _read_dat(path: Path, source: TextSource) -> bool:
    with _open(path) as stream:
        for number, line in enumerate(_lines(stream), start=1):
            fields = line.split("::")
            if len(fields) < _DAT_FIELDS:
                if number == 1:
                    return False  # another kind of .dat file
                source.reject(number, f"{len(fields)} fields of {_DAT_FIELDS}")
            else:
                source.add(number, fields[0], "::".join(fields[_DAT_PLOT:-1]))
    return True


def _read_json(path: Path, source: TextSource) -> bool:
    with _open(path) as stream:
        document = _Json(stream, path)
        kind = document.next()
        if kind == "[":
            return _read_objects(enumerate((value for _, value in document.members("]")), start=1), source)
        if kind != "{":
            document.skip()
            return False
        strings = False
        for number, (key, text) in enumerate(document.members("}"), start=1):
            strings = strings or isinstance(text, str)
            source.add(number, key, text)
        return strings


class _Json:
    """A JSON document read member by member: ``json.load`` would hold all of it."""

    def __init__(self, stream: IO[str], path: Path) -> None:
        self._stream, self._path = stream, path
        self._decoder = json.JSONDecoder()
        #: what was read and not used yet begins at ``_at``; ``_lines`` were used before it
        self._text, self._at, self._lines = "", 0, 0

    def members(self, end: str) -> Iterator[tuple[Any, Any]]:
        """(name, value) of each member of the object, or (None, value) of the array, that ``next`` has opened."""
        mark = self.next()
        while mark != end:
            self._at -= 1
            name = None
            if end == "}":
                if mark != '"':
                    raise self._error("Expecting property name enclosed in double quotes")
                name = self._value()
                if self.next() != ":":
                    raise self._error("Expecting ':' delimiter")
            yield name, self._value()
            if (mark := self.next()) == ",":
                if (mark := self.next()) == end:
                    raise self._error("Illegal trailing comma")
            elif mark != end:
                raise self._error("Expecting ',' delimiter")
        if self.next():
            raise self._error("Extra data")

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            rest = _SPACES.match(self._text, self._at)
            self._at = rest.end() if rest else self._at
            if self._at < len(self._text):
                self._at += 1
                return self._text[self._at - 1]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Read the number, string or word whose first character ``next`` has given, which must be the whole document."""
        self._at = max(self._at - 1, 0)
        self._value()
        if self.next():
            raise self._error("Extra data")

    def _value(self) -> Any:
        if self.next():
            self._at -= 1
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _LONGEST_VALUE or not self._more():
                    raise self._error(error.msg, error.lineno) from None
                continue
            rest = _REST_OF_NUMBER.match(self._text, end)
            if (rest and rest.end() < len(self._text)) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        unused = self._text[self._at :]
        block = self._stream.read(max(_BLOCK, len(unused)))  # a long value is tried again at twice its length
        if block:
            self._lines += self._text.count("\n", 0, self._at)
            self._text, self._at = unused + block, 0
        return bool(block)

    def _error(self, message: str, line: int | None = None) -> DataError:
        line = self._text.count("\n", 0, self._at) + 1 if line is None else line
        return DataError(f"is not valid JSON ({message})", path=self._path, line=self._lines + line)


def _read_jsonl(path: Path, source: TextSource) -> bool:
    def objects() -> Iterator[tuple[int, object]]:
        with _open(path) as stream:
            for number, line in enumerate(_lines(stream), start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        source.reject(number, f"not valid JSON ({error.msg})")

    return _read_objects(objects(), source)


def _read_objects(objects: Iterable[tuple[int, object]], source: TextSource) -> bool:
    names: tuple[str, str, str | None] | None = None
    for number, row in objects:
        if not isinstance(row, dict):
            source.reject(number, "not an object")
            continue
        if names is None:
            key, text = _pick(row, KEY_FIELDS), _pick(row, TEXT_FIELDS)
            if key is None or text is None:
                return False
            names = key, text, _pick(row, LANG_FIELDS)
        source.add(number, row.get(names[0]), row.get(names[1]), row.get(names[2]) if names[2] else None)
    return names is not None


def _read_table(path: Path, source: TextSource, delimiter: str) -> bool:
    with _open(path) as stream:
        rows = csv.reader(stream, delimiter=delimiter)
        header = next(rows, [])
        key, text, lang = (_pick(header, wanted) for wanted in (KEY_FIELDS, TEXT_FIELDS, LANG_FIELDS))
        if key is None or text is None:
            return False
        columns = [header.index(key), header.index(text), header.index(lang) if lang else None]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                source.reject(rows.line_num, f"{len(row)} fields of {len(header)}")
                continue
            source.add(rows.line_num, *(None if c is None else row[c] for c in columns))
    return True


def _read_parquet(path: Path, source: TextSource) -> bool:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            key, text, lang = (_pick(names, wanted) for wanted in (KEY_FIELDS, TEXT_FIELDS, LANG_FIELDS))
            if key is None or text is None:
                return False
            number = 0
            for batch in file.iter_batches(_ROWS, columns=[name for name in (key, text, lang) if name]):
                columns = [batch[name].to_pylist() if name else [None] * batch.num_rows for name in (key, text, lang)]
                for row in zip(*columns, strict=True):
                    number += 1
                    source.add(number, *row)
            return True
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as the Parquet table it should be ({error})", path=path) from error


def _lines(stream: IO[str]) -> Iterator[str]:
    for line in stream:
        yield line.rstrip("\r\n")


_READERS: dict[str, Callable[[Path, TextSource], bool]] = {
    ".dat": _read_dat,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": lambda path, source: _read_table(path, source, ","),
    ".tsv": lambda path, source: _read_table(path, source, "\t"),
    ".parquet": _read_parquet,
}
