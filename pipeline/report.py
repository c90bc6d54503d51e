"""A report says what a stage wrote, small enough for git: schema, rows and nulls of each table, and its own counts.

Reports hold nothing that differs between two equal runs (no paths of the machine, no times but how long training took),
so a change in one of them is a change in the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kgrec.data.io import write_json
from pipeline.layout import STAGES

#: the name of a part of a table ends in its number
_SHARD = re.compile(r"\d+$")


def table_report(files: Iterable[Path]) -> dict[str, Any]:
    """Schema, row count and null count of one Parquet table, which may lie in several shards.

    :returns: ``{"rows": int, "columns": {name: {"type": str, "nulls": int}}}``
    """
    rows = 0
    columns: dict[str, dict[str, Any]] = {}
    for file in files:
        table = pq.ParquetFile(file)
        rows += table.metadata.num_rows
        for field in table.schema_arrow:
            column = columns.setdefault(field.name, {"type": str(field.type), "nulls": 0})
            column["nulls"] += _nulls(table, field.name) if field.nullable else 0
    return {"rows": rows, "columns": columns}


def _nulls(table: pq.ParquetFile, column: str) -> int:
    """Null values of a column: from the file's statistics where they say it, else counted."""
    metadata, leaf = table.metadata, None
    for index in range(metadata.num_columns):
        if metadata.schema.column(index).path == column:
            leaf = index
    if leaf is not None:
        groups = [metadata.row_group(group).column(leaf).statistics for group in range(metadata.num_row_groups)]
        if all(statistics is not None and statistics.has_null_count for statistics in groups):
            return sum(statistics.null_count for statistics in groups)
    return sum(batch.column(0).null_count for batch in table.iter_batches(columns=[column]))


def _tables(folder: Path, output: str) -> Iterator[tuple[str, list[Path]]]:
    """``(name, shards)`` of the tables in an output: a file, a folder of shards, or a folder of tables and such folders."""
    path = folder / output
    if path.is_file():
        if path.suffix == ".parquet":
            yield output, [path]
        return
    files = sorted(path.glob("*.parquet"))
    if files and all(_SHARD.search(file.stem) for file in files):
        yield output, files
    else:
        yield from ((f"{output}/{file.name}", [file]) for file in files)
    for inner in sorted(one for one in path.glob("*") if one.is_dir()):
        yield from _tables(folder, f"{output}/{inner.name}")


def stage_report(word: str, folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a stage that wrote its outputs to ``folder``."""
    tables = {name: table_report(shards) for output in STAGES[word].outputs for name, shards in _tables(folder, output)}
    return {"stage": word, "metrics": dict(metrics), "tables": tables}


def write_report(word: str, folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write ``report.json`` of a stage into its folder."""
    write_json(stage_report(word, folder, metrics), folder / "report.json")
