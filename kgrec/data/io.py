"""Reading and writing files so that equal content means equal bytes and a killed process leaves nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.errors import DataError

#: stands in an output folder without files, since tools that keep folders overlook empty ones
EMPTY = ".empty"

#: Writer options are part of the contract: two writes of one table give equal bytes.
PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "zstd", "compression_level": 3, "version": "2.6", "store_schema": True, "write_statistics": True,
}  # fmt: skip


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on error removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o644)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it takes the place of ``path``, on error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    temporary.chmod(0o755)
    try:
        yield temporary
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            os.replace(path, old / "old")
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_parquet(
    table: pa.Table, path: Path | str, *, sort_by: Sequence[str] = (), row_group_size: int = 131_072, **options: Any
) -> None:
    """Write ``table`` atomically with fixed options, sorted ascending by ``sort_by`` (nulls last).

    :param options: more ``pyarrow.parquet.write_table`` options, for columns that gain from another encoding
    """
    if sort_by:
        table = table.sort_by([(name, "ascending") for name in sort_by])
    table = table.combine_chunks()
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, row_group_size=row_group_size, **{**PARQUET_OPTIONS, **options})


def read_parquet(path: Path | str, schema: pa.Schema | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file.

    :param schema: columns that must be there with these types; they are selected in this order
    :raises DataError: if the file is missing, not Parquet, or lacks a column of ``schema``
    """
    if schema is not None:
        columns = schema.names
    wanted = None if columns is None else list(columns)
    _check_columns(path, wanted or ())
    try:
        # read_table would import Arrow's datasets, 50 MB
        with pq.ParquetFile(path) as file:
            table = file.read(columns=wanted)
        return table.cast(schema) if schema is not None else table
    except _UNREADABLE as error:
        raise DataError(f"cannot be read as the Parquet table it should be ({error})", path=path) from error


def check_parquet(path: Path | str, schema: pa.Schema) -> None:
    """Look at the columns of a Parquet file without reading it. :raises DataError: as ``read_parquet``"""
    _check_columns(path, schema.names)


_UNREADABLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError)


def _check_columns(path: Path | str, wanted: Sequence[str]) -> None:
    if not Path(path).exists():
        raise DataError("no such file; run the stage that writes it first", path=path)
    try:
        present = pq.read_schema(path).names
    except _UNREADABLE as error:
        raise DataError(f"cannot be read as the Parquet table it should be ({error})", path=path) from error
    if missing := [name for name in wanted if name not in present]:
        raise DataError(f"lacks column(s) {', '.join(missing)}; it has {', '.join(present)}", path=path)


def write_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path | str, row_group_size: int = 131_072
) -> int:
    """``write_parquet`` of a table that need not fit into memory; returns its rows. How it is cut changes no byte."""
    waiting: list[pa.Table] = []
    rows = total = 0

    def put(writer: pq.ParquetWriter, last: bool) -> None:
        nonlocal waiting, rows
        table = pa.concat_tables(waiting).combine_chunks() if waiting else schema.empty_table()
        whole = rows if last else rows - rows % row_group_size
        for start in range(0, whole or int(last and not total), row_group_size):
            writer.write_table(table.slice(start, min(row_group_size, whole - start)).combine_chunks())
        rows -= whole
        waiting = [table.slice(whole)] if rows else []

    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema, **PARQUET_OPTIONS) as writer:
        for batch in batches:
            waiting.append(pa.Table.from_batches([batch]).cast(schema))
            rows += batch.num_rows
            total += batch.num_rows
            if rows >= row_group_size:
                put(writer, last=False)
        put(writer, last=True)
    return total


def write_json(value: Any, path: Path | str) -> None:
    """Write ``value`` atomically as indented JSON with sorted keys and a final newline; NaN is an error."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON. :raises DataError: if the file is missing or not JSON"""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file; run the stage that writes it first", path=path) from None
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error})", path=path) from None


def sha256_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: Any) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
