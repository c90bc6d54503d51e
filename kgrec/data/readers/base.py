"""What all readers share: their settings, the table of rejected rows, and strict yet vectorised parsing of text rows.

A row is good, or it is rejected with file, line and reason. Good rows never meet a Python loop: blocks of text become
Arrow string columns, columns are cast whole, and only when a cast fails are the culprits looked up.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from pydantic import Field, field_validator

from kgrec.config import Settings
from kgrec.data.readers.files import SourceFile
from kgrec.data.schemas import INTERACTIONS, ITEMS, USERS
from kgrec.errors import DataError

#: rejected rows: 1-based line number in the (decompressed) file, why, and the row's text
REJECTS = pa.schema([("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])

#: interactions as read: the table's columns plus where each row stood
RAW_INTERACTIONS = pa.schema([*INTERACTIONS, ("file", pa.dictionary(pa.int32(), pa.string())), ("line", pa.int64())])

_BLOCK = 1 << 25
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SEPARATOR = "\x1f"

Strings = dict[str, pa.Array]


class TableColumns(Settings):
    """Which files and columns hold what, for ``format: table``. CSV by its delimiter, Parquet by its suffix."""

    interactions: str = "interactions.csv"
    """File name of the interactions, ``.gz`` left out."""
    items: str | None = None
    """File name of the items; null if there is none."""
    users: str | None = None
    """File name of the users; null if there is none."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """One character between the columns of a text file."""
    list_separator: str = "|"
    """What stands between the values of a list column such as genre."""
    header: list[str] | None = None
    """Column names of an interactions file that has no header line; null takes them from its first line."""
    user_id: str = "user_id"
    """Column of the user's id, in the interactions and the users file."""
    item_id: str = "item_id"
    """Column of the item's id, in the interactions and the items file."""
    rating: str | None = "rating"
    """Column of the rating; null for implicit feedback."""
    timestamp: str | None = "timestamp"
    """Column of the time in seconds since 1970 UTC; null if there is none."""
    title: str = "title"
    """Column of the title; a year in parentheses behind it is split off."""
    year: str = "year"
    """Column of the year; left out if the file has none, as all of the following."""
    genre: str = "genre"
    """Column of the genres."""
    director: str = "director"
    """Column of the directors."""
    writer: str = "author"
    """Column of the authors, or of a film's writers."""
    actor: str = "actor"
    """Column of the actors."""
    imdb_id: str = "imdb_id"
    """Column of the IMDb id, with or without ``tt``."""
    tmdb_id: str = "tmdb_id"
    """Column of the TMDB id."""
    isbn: str = "isbn"
    """Column of the ISBNs."""
    gender: str = "gender"
    """Column of the user's gender."""
    age: str = "age"
    """Column of the user's age."""
    occupation: str = "occupation"
    """Column of the user's occupation."""


class ReadSettings(Settings):
    """How files are read."""

    format: Literal["auto", "movielens", "ml-100k", "movielens-csv", "recbole", "kgat", "table"] = "auto"
    """Format of the ratings folder; ``auto`` tells it by the file names."""
    encoding: str | None = None
    """Text encoding of the ratings, items and users. Null is the format's own: UTF-8, and latin-1 for MovieLens files
    that are not UTF-8."""
    rating_range: tuple[float, float] | None = None
    """Lowest and highest rating a row may have. Null is the format's own: 1 to 5 (.5 to 5 in the newer MovieLens sets),
    any finite number elsewhere."""
    on_bad_row: Literal["error", "ledger"] = "error"
    """What a malformed row does: stop with its file and line, or be set aside in the ledger."""
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    """With ``on_bad_row: ledger``, the share of a file's rows above which reading stops all the same."""
    table: TableColumns = TableColumns()
    """Names of files and columns for ``format: table``."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError("is not an encoding Python knows; try utf-8, latin-1 or cp1252") from None
        return value

    @field_validator("rating_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] <= value[1]:
            raise ValueError("must be [lowest, highest]")
        return value


@dataclass
class RatingsData:
    """What a reader gives.

    :param interactions: schema ``RAW_INTERACTIONS``, in file order
    :param items: schema ``ITEMS``; item ids are distinct
    :param users: schema ``USERS``; user ids are distinct
    """

    interactions: pa.Table
    items: pa.Table = field(default_factory=lambda: ITEMS.empty_table())
    users: pa.Table = field(default_factory=lambda: USERS.empty_table())


class Reading:
    """One run of a reader: its settings, and the rejects it collects.

    :raises DataError: from its methods, naming file and line of the first bad row, as ``on_bad_row`` says
    """

    def __init__(self, settings: ReadSettings) -> None:
        self.settings = settings
        self.encodings: dict[str, str] = {}
        self._rejects: list[pa.Table] = []

    def rejects(self) -> pa.Table:
        """All rejected rows so far, schema ``REJECTS``."""
        return pa.concat_tables([REJECTS.empty_table(), *self._rejects])

    def reject(self, file: SourceFile, lines: Sequence[int], reasons: Sequence[str], texts: Sequence[str]) -> None:
        """Set rows aside, or stop at the first of them."""
        if not len(lines):
            return
        if self.settings.on_bad_row == "error":
            first = int(np.argmin(np.asarray(lines)))
            text = texts[first] if len(texts[first]) <= 120 else texts[first][:117] + "..."
            raise DataError(
                f"{reasons[first]}: {text!r}; mend the line, or set interactions.on_bad_row: ledger",
                path=file, line=int(lines[first]),
            )  # fmt: skip
        columns = [[str(file)] * len(lines), [int(line) for line in lines], list(reasons), list(texts)]
        self._rejects.append(pa.table(columns, schema=REJECTS))

    def check_share(self, file: SourceFile, bad: int, rows: int) -> None:
        """Stop if more than ``max_bad_share`` of a file's ``rows`` rows were rejected."""
        if bad > self.settings.max_bad_share * rows:
            first = next(row for table in self._rejects for row in table.to_pylist() if row["file"] == str(file))
            raise DataError(
                f"{bad} of {rows} rows are malformed, more than interactions.max_bad_share "
                f"{self.settings.max_bad_share:g} allows; the first is line {first['line']}: {first['reason']}; "
                "is interactions.format or interactions.encoding right?",
                path=file,
            )  # fmt: skip

    def encoding_of(self, file: SourceFile, candidates: Sequence[str] = ("utf-8",)) -> str:
        """The encoding to read ``file`` with: the settings', else the first of ``candidates`` that fits the content."""
        chosen = self.settings.encoding or candidates[0]
        if self.settings.encoding is None and len(candidates) > 1:
            content = file.read()
            for chosen in candidates:
                try:
                    content.decode(chosen)
                    break
                except UnicodeDecodeError:
                    continue
        self.encodings[str(file)] = chosen
        return "utf-8-sig" if codecs.lookup(chosen).name == "utf-8" else chosen

    def lines(self, file: SourceFile, encodings: Sequence[str] = ("utf-8",)) -> Iterator[tuple[int, str]]:
        """Blocks of whole lines, each with the 1-based number of its first line. Line ends are ``\\n``.

        :raises DataError: at the first byte that is not in the encoding
        """
        encoding = self.encoding_of(file, encodings)
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        number, rest, last = 1, "", False
        with file.open() as stream:
            while not last:
                block = stream.read(_BLOCK)
                last = not block
                try:
                    text = rest + decoder.decode(block, final=last)
                except UnicodeDecodeError as error:
                    line = number + rest.count("\n") + error.object[: error.start].count(b"\n")
                    raise DataError(
                        f"is not {self.encodings[str(file)]} (byte 0x{error.object[error.start]:02x}); "
                        "set interactions.encoding, for example latin-1",
                        path=file, line=line,
                    ) from None  # fmt: skip
                if not last:
                    cut = text.rfind("\n") + 1
                    text, rest = text[:cut], text[cut:]
                if text:
                    yield number, text.replace("\r\n", "\n").replace("\r", " ")
                    number += text.count("\n")

    def rows(
        self,
        file: SourceFile,
        delimiter: str,
        columns: Sequence[str] | None = None,
        *,
        quoted: bool = False,
        encodings: Sequence[str] = ("utf-8",),
    ) -> Iterator[Rows]:
        """The rows of a delimited text file as string columns, in blocks.

        :param columns: names of the columns; None takes them from the first line
        :param quoted: whether ``"`` quotes a value (a quoted value stays on one line)
        :param encodings: candidates where the settings name none
        """
        bad, total = 0, 0
        for number, text in self.lines(file, encodings):
            if columns is None:
                head, _, text = text.partition("\n")
                columns = next(csv.reader([head], delimiter=delimiter)) if quoted else head.split(delimiter)
                number += 1
            if len(set(columns)) < len(columns):
                raise DataError(f"the header names a column twice: {', '.join(columns)}", path=file, line=1)
            arrays, line, malformed = _parse(text, number, delimiter, columns, quoted)
            rows = Rows(arrays, line, delimiter, self, file)
            lines, texts = zip(*malformed, strict=True) if malformed else ((), ())
            reasons = [
                f"malformed row, expected {len(columns)} values separated by {delimiter!r}"
                if not (quoted and one.count('"') % 2)
                else "malformed row, a quote is not closed on its line"
                for one in texts
            ]
            self.reject(file, lines, reasons, texts)
            before = len(malformed) + len(rows.line)
            yield rows
            bad, total = bad + before - len(rows.line), total + before
        if total == 0:
            raise DataError("holds no rows", path=file)
        if bad:
            self.check_share(file, bad, total)


@dataclass
class Rows:
    """A block of text rows.

    :param columns: string arrays of one length, by column name
    :param line: shape (rows,): 1-based line number of each row
    """

    columns: Strings
    line: npt.NDArray[np.int64]
    delimiter: str
    reading: Reading
    file: SourceFile

    def keep_good(self, bad: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """Reject the rows of ``bad`` and keep the others.

        :param bad: boolean mask of shape (rows,) by reason; a row's first reason counts
        :returns: the mask of the kept rows
        """
        worst = np.zeros(len(self.line), dtype=bool)
        reasons: list[tuple[int, str]] = []
        for reason, mask in bad.items():
            mask = np.asarray(mask, dtype=bool) & ~worst
            reasons += [(int(index), reason) for index in np.flatnonzero(mask)]
            worst |= mask
        good = ~worst
        if reasons:
            reasons.sort()
            at = pa.array([index for index, _ in reasons])
            parts = [column.take(at).to_pylist() for column in self.columns.values()]
            texts = [self.delimiter.join(values) for values in zip(*parts, strict=True)]
            self.reading.reject(self.file, self.line[at.to_numpy()].tolist(), [reason for _, reason in reasons], texts)
            keep = pa.array(good)
            self.columns = {name: column.filter(keep) for name, column in self.columns.items()}
            self.line = self.line[good]
        return good

    def need(self, names: Sequence[str]) -> None:
        """:raises DataError: if a column of ``names`` is not there"""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DataError(
                f"lacks column(s) {', '.join(missing)}; it has {', '.join(self.columns)}", path=self.file, line=1
            )

    def interactions(
        self,
        user: str = "user_id",
        item: str = "item_id",
        rating: str | None = "rating",
        timestamp: str | None = "timestamp",
        rating_range: tuple[float, float] | None = None,
    ) -> pa.Table:
        """The rows as interactions (schema ``RAW_INTERACTIONS``); rows that are none are rejected.

        :param rating_range: lowest and highest rating, inclusive, where the settings name none
        """
        self.need([name for name in (user, item, rating, timestamp) if name is not None])
        low, high = self.reading.settings.rating_range or rating_range or (-np.inf, np.inf)
        bad = {"empty user id": pc.equal(self.columns[user], ""), "empty item id": pc.equal(self.columns[item], "")}
        if rating is not None:
            stars, not_number = _cast(self.columns[rating])
            bad["rating is not a number"] = not_number
            outside = ~not_number & ~((stars >= low) & (stars <= high) & np.isfinite(stars))
            bad[f"rating out of range {low:g} to {high:g}"] = outside
        if timestamp is not None:
            seconds, not_time = _cast_seconds(self.columns[timestamp])
            bad["timestamp is not a number of seconds"] = not_time
        good = self.keep_good(bad)
        rows = len(self.line)
        return pa.table(
            {
                "user_id": self.columns[user],
                "item_id": self.columns[item],
                "rating": pa.nulls(rows, pa.float32()) if rating is None else pa.array(stars[good].astype(np.float32)),
                "timestamp": pa.nulls(rows, pa.int64()) if timestamp is None else pa.array(seconds[good]),
                "file": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [str(self.file)]),
                "line": pa.array(self.line),
            },
            schema=RAW_INTERACTIONS,
        )


def _parse(
    text: str, number: int, delimiter: str, columns: Sequence[str], quoted: bool
) -> tuple[Strings, npt.NDArray[np.int64], list[tuple[int, str]]]:
    """Split a block of lines into string columns.

    :param number: 1-based number of the first line
    :returns: the columns, the line number of each row, and the (line, text) pairs with another number of values
    """
    malformed: list[tuple[int, str]] = []
    count = text.count("\n") + (not text.endswith("\n"))
    line = np.arange(number, number + count, dtype=np.int64)
    has_quotes = quoted and '"' in text
    if has_quotes or "\n\n" in text or text.startswith("\n"):
        array = pc.split_pattern(pa.array([text.removesuffix("\n")], pa.large_string()), "\n").values
        keep = pc.not_equal(array, "").to_numpy(zero_copy_only=False)
        if has_quotes:
            odd = pc.count_substring(array, '"').to_numpy() % 2 == 1
            malformed += [(int(line[at]), str(array[int(at)])) for at in np.flatnonzero(odd)]
            keep &= ~odd
        if not keep.all():
            text, line = "\n".join(array.filter(pa.array(keep)).to_pylist()), line[keep]
    if not len(line):
        return {name: pa.array([], pa.string()) for name in columns}, line, malformed
    if len(delimiter) > 1:
        text = text.replace(delimiter, _SEPARATOR)

    wrong: list[int] = []

    def set_aside(row: Any) -> str:
        wrong.append(row.number - 1)
        malformed.append((int(line[row.number - 1]), str(row.text).replace(_SEPARATOR, delimiter)))
        return "skip"

    data = text.encode()
    table = pacsv.read_csv(
        io.BytesIO(data),
        pacsv.ReadOptions(column_names=list(columns), use_threads=False, block_size=len(data) + 1),
        pacsv.ParseOptions(
            delimiter=delimiter if len(delimiter) == 1 else _SEPARATOR, quote_char='"' if quoted else False,
            ignore_empty_lines=False, invalid_row_handler=set_aside,
        ),
        pacsv.ConvertOptions(
            column_types={name: pa.string() for name in columns}, null_values=[], strings_can_be_null=False
        ),
    )  # fmt: skip
    line = np.delete(line, wrong)
    arrays = {name: pa.concat_arrays(table[name].chunks or [pa.array([], pa.string())]) for name in table.column_names}
    return arrays, line, sorted(malformed)


def _cast(column: pa.Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Numbers of a string column as float64, and the mask of strings that are none (their number is NaN)."""
    try:
        return pc.cast(column, pa.float64()).to_numpy(), np.zeros(len(column), dtype=bool)
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(column, _NUMBER)
        numbers = pc.cast(pc.if_else(good, column, "nan"), pa.float64()).to_numpy()
        return numbers, ~good.to_numpy(zero_copy_only=False)


def _cast_seconds(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Seconds of a string column as int64 (fractions cut off), and the mask of strings that are none."""
    try:
        return pc.cast(column, pa.int64()).to_numpy(), np.zeros(len(column), dtype=bool)
    except pa.ArrowInvalid:
        seconds, bad = _cast(column)
        bad = bad | ~(np.abs(seconds) < 2.0**53)
        return np.where(bad, 0, seconds).astype(np.int64), bad


def items_table(columns: dict[str, Any]) -> pa.Table:
    """Items (schema ``ITEMS``) from what is known of them.

    :param columns: arrays by column of ``ITEMS``; missing list columns become empty lists, other columns null. A
        title that ends in a year ("Toy Story (1995)") is split into title and ``year``; a given year goes before.
    """
    rows = len(columns["item_id"])
    columns = dict(columns)
    if "title" in columns:
        parts = pc.extract_regex(columns["title"], r"^(?P<title>.*?)\s*\((?P<year>\d{4})[^()]*\)(?:\s*\([A-Z]+\))?\s*$")
        columns["title"] = pc.coalesce(pc.struct_field(parts, "title"), columns["title"])
        found = pc.cast(pc.struct_field(parts, "year"), pa.int16())
        columns["year"] = pc.coalesce(columns["year"], found) if "year" in columns else found
        columns["title"] = pc.if_else(pc.equal(columns["title"], ""), None, columns["title"])
    empty = pa.ListArray.from_arrays(np.zeros(rows + 1, np.int32), pa.array([], pa.string()))
    arrays = []
    for one in ITEMS:
        if one.name in columns:
            arrays.append(pc.cast(columns[one.name], one.type))
        else:
            arrays.append(empty if pa.types.is_list(one.type) else pa.nulls(rows, one.type))
    return pa.table(arrays, schema=ITEMS)


def users_table(columns: Strings) -> pa.Table:
    """Users (schema ``USERS``) from what is known of them; missing columns and empty strings become null."""
    rows = len(columns["user_id"])
    arrays = [columns.get(name, pa.nulls(rows, pa.string())) for name in USERS.names]
    return pa.table([pc.if_else(pc.equal(array, ""), None, array) for array in arrays], schema=USERS)


def split_list(column: pa.Array, separator: str) -> pa.Array:
    """Lists of the trimmed, non-empty values between ``separator``."""
    return keep_values(pc.split_pattern(column, separator), drop=("", "(no genres listed)"))


def keep_values(lists: pa.Array, *, drop: Sequence[str] = ("",)) -> pa.Array:
    """The lists with their values trimmed, without nulls and without the values ``drop``; a null list is empty."""
    values, parents = pc.utf8_trim_whitespace(pc.list_flatten(lists)), pc.list_parent_indices(lists).to_numpy()
    keep = pc.fill_null(pc.invert(pc.is_in(values, pa.array(list(drop), pa.string()))), False)
    keep = pc.and_(keep, pc.is_valid(values))
    counts = np.bincount(parents[keep.to_numpy(zero_copy_only=False)], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values.filter(keep))


def years(column: pa.Array) -> pa.Array:
    """The first four digits of each string as int16; null where there are none."""
    return pc.cast(pc.struct_field(pc.extract_regex(column, r"(?P<year>\d{4})"), "year"), pa.int16())


def imdb_ids(column: pa.Array) -> pa.Array:
    """IMDb ids as ``tt`` and at least seven digits, from either form; null where there is none."""
    digits = pc.struct_field(pc.extract_regex(column, r"^(?:tt)?0*(?P<n>\d+)$"), "n")
    return pc.binary_join_element_wise("tt", pc.utf8_lpad(digits, 7, "0"), "")


def read_distinct(blocks: Iterator[Rows], key: str, make: Callable[[Strings], pa.Table], schema: pa.Schema) -> pa.Table:
    """Make one table of all blocks; rows with an empty ``key`` or one that was there before are rejected.

    :param key: column of the id
    :param make: the table of a block's columns, row by row
    """
    seen: set[str] = set()
    tables = [schema.empty_table()]
    for rows in blocks:
        rows.need([key])
        ids = rows.columns[key].to_pylist()
        again = np.zeros(len(ids), dtype=bool)
        for at, one in enumerate(ids):
            again[at] = one in seen
            seen.add(one)
        rows.keep_good({f"empty {key}": pc.equal(rows.columns[key], ""), f"{key} is listed twice": again})
        tables.append(make(rows.columns))
    return pa.concat_tables(tables).combine_chunks()
