"""Tab-separated text, as pandas reads it: a field that holds a tab, a line end or a quote stands in quotes, doubled inside.

RecBole and PyKEEN both read their files through pandas, so what is written here comes back from theirs unchanged, and what
they can read is read here. Files may be gzipped, or the one file of a zip archive.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.io import atomic_file
from kgrec.data.readers.files import SourceFile
from kgrec.errors import DataError

#: characters of a field, a description for one; more than Python's csv allows by itself
FIELD_LIMIT = 1 << 24
csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))

_SPECIAL = '[\t\n\r"\ufeff]'
_BATCH = 100_000


def text_file(path: Path) -> SourceFile:
    """The text in ``path``: the file itself, or the one file in a zip archive (``kg_final.txt`` of ``kg_final.txt.zip``).

    :raises DataError: if there is no such file, the archive is damaged, or it holds several files and none of that name
    """
    if not path.is_file():
        raise DataError("no such file", path=path)
    if path.suffix.lower() != ".zip":
        return SourceFile(path.name, path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise DataError(f"is truncated or not a zip archive ({error}); fetch it again", path=path) from None
    members = [name for name in members if not name.startswith("__MACOSX/") and not name.split("/")[-1].startswith(".")]
    named = [name for name in members if name.split("/")[-1] == path.stem]
    if len(named) != 1 and len(members) != 1:
        raise DataError(f"holds {len(members)} files, expected one called {path.stem}", path=path)
    return SourceFile(path.name, path, (named if len(named) == 1 else members)[0])


def plain_name(path: Path) -> str:
    """The name of a file as it would be unpacked, by which formats know theirs."""
    return re.sub(r"\.(gz|zip)$", "", path.name)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """``(1-based line, text with its line end)`` of a UTF-8 file, a byte order mark left out.

    :raises DataError: if the file is missing, damaged, or not UTF-8; with the line
    """
    with text_file(path).open() as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"is not UTF-8 text ({error.reason})", path=path, line=number) from None
            yield number, line.removeprefix("\ufeff") if number == 1 else line


def read_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """``(1-based line a row begins at, its fields)``; empty lines are passed over.

    :param names: what the fields are called, for errors; a row must have as many
    :raises DataError: with the line of the row at fault
    """
    reader = csv.reader((line for _, line in numbered_lines(path)), delimiter="\t", strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"is not a tab-separated row ({error}); a field that holds a quote is written in quotes",
                path=path, line=start,
            ) from None  # fmt: skip
        if len(fields) == len(names):
            yield start, fields
        elif fields:
            raise DataError(
                f"has {len(fields)} tab-separated fields, expected {len(names)}: {', '.join(names)}",
                path=path, line=start,
            )  # fmt: skip


def write_rows(table: pa.Table, path: Path, header: Sequence[str] | None = None) -> None:
    """Write the string columns of ``table`` atomically, a null as an empty field."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        if header:
            stream.write("\t".join(header) + "\n")
        for batch in table.to_batches(max_chunksize=_BATCH):
            lines = pc.binary_join_element_wise(*(_quoted(column) for column in batch.columns), "\t")
            stream.write("".join(f"{line}\n" for line in lines.to_pylist()))


def _quoted(column: pa.Array) -> pa.Array:
    """Fields in quotes where they need them."""
    column = column.fill_null("")
    doubled = pc.replace_substring(column, '"', '""')
    return pc.if_else(
        pc.match_substring_regex(column, _SPECIAL), pc.binary_join_element_wise('"', doubled, '"', ""), column
    )
