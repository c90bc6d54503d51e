"""A text source is a file that says something about items by id: plots, abstracts, descriptions.

Read, by content and not by name alone, all optionally gzipped and in UTF-8:

* ``.dat``: ``id::title::year::rated::released::genre::director::writer::actors::plot::poster`` lines
* ``.json``: one object ``{id: text}``
* ``.jsonl``: one object per line with a key and a text field
* ``.csv``, ``.tsv``, ``.parquet``: with a key and a text column

A key field is the first of ``key, item_id, movie_id, movieId, id, asin``, a text field the first of ``text, plot,
overview, abstract, description, summary``, in any case. A key is an item id, or ``item:<id>`` or ``entity:<id>``.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kgrec.data.io import read_parquet
from kgrec.errors import DataError

KEY_FIELDS = ("key", "item_id", "movie_id", "movieid", "id", "asin")
TEXT_FIELDS = ("text", "plot", "overview", "abstract", "description", "summary")
LANG_FIELDS = ("lang", "language_code")
_EMPTY = frozenset({"", "n/a", "na", "null", "none", "nan", "\\n"})
_DAT_FIELDS, _DAT_PLOT = 11, 9


@dataclass
class TextSource:
    """What one file says. ``texts`` maps a media key to (text, language or None); ``rejects`` are (line, reason)."""

    name: str
    texts: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    empty: int = 0

    def add(self, line: int, key: object, text: object, lang: object = None) -> None:
        """Take one row: the first text of a key counts; an empty one is counted and left out."""
        if key is None or str(key).strip() == "":
            self.rejects.append((line, "no key"))
            return
        name = str(key).strip()
        name = name if name.startswith(("item:", "entity:")) else f"item:{name}"
        if text is not None and not isinstance(text, str):
            self.rejects.append((line, f"text is {type(text).__name__}, not a string"))
            return
        clean = clean_text(text)
        if not clean:
            self.empty += 1
        elif name not in self.texts:
            self.texts[name] = (clean, str(lang) if lang else None)


def clean_text(text: str | None) -> str:
    """One line, single spaces; the words for "nothing" (``N/A``, ``null`` …) become the empty string."""
    clean = " ".join((text or "").split())
    return "" if clean.lower() in _EMPTY else clean


def read_text_source(path: Path) -> TextSource | None:
    """Read one file.

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
    source = TextSource(path.name)
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
                source.rejects.append((number, f"{len(fields)} fields of {_DAT_FIELDS}"))
            else:
                source.add(number, fields[0], "::".join(fields[_DAT_PLOT:-1]))
    return True


def _read_json(path: Path, source: TextSource) -> bool:
    with _open(path) as stream:
        try:
            value = json.load(stream)
        except json.JSONDecodeError as error:
            raise DataError(f"is not valid JSON ({error.msg})", path=path, line=error.lineno) from None
    if isinstance(value, list):
        return _read_objects(enumerate(value, start=1), source)
    if not isinstance(value, dict):
        return False
    if not any(isinstance(text, str) for text in value.values()):
        return False
    for number, (key, text) in enumerate(value.items(), start=1):
        source.add(number, key, text)
    return True


def _read_jsonl(path: Path, source: TextSource) -> bool:
    def objects() -> Iterator[tuple[int, object]]:
        with _open(path) as stream:
            for number, line in enumerate(_lines(stream), start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        source.rejects.append((number, f"not valid JSON ({error.msg})"))

    return _read_objects(objects(), source)


def _read_objects(objects: Iterable[tuple[int, object]], source: TextSource) -> bool:
    names: tuple[str, str, str | None] | None = None
    for number, row in objects:
        if not isinstance(row, dict):
            source.rejects.append((number, "not an object"))
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
                source.rejects.append((rows.line_num, f"{len(row)} fields of {len(header)}"))
                continue
            source.add(rows.line_num, *(None if c is None else row[c] for c in columns))
    return True


def _read_parquet(path: Path, source: TextSource) -> bool:
    table = read_parquet(path)
    key, text, lang = (_pick(table.column_names, wanted) for wanted in (KEY_FIELDS, TEXT_FIELDS, LANG_FIELDS))
    if key is None or text is None:
        return False
    languages = table[lang].to_pylist() if lang else [None] * table.num_rows
    rows = zip(table[key].to_pylist(), table[text].to_pylist(), languages, strict=True)
    for number, row in enumerate(rows, start=1):
        source.add(number, *row)
    return True


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
