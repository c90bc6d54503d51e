"""Equal content is equal bytes, and nothing is ever half-written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from kgrec.data.io import (
    atomic_file,
    atomic_folder,
    read_json,
    read_parquet,
    sha256_file,
    write_batches,
    write_json,
    write_parquet,
)
from kgrec.errors import DataError

SCHEMA = pa.schema([("key", pa.string()), ("n", pa.int32())])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_after(written: int) -> None:
    """The process dies when something was written already."""
    raise ZeroDivisionError(written)


def test_atomic_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_file(target) as path:
        path.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(ZeroDivisionError), atomic_file(target) as path:
        fail_after(path.write_text("half"))
    assert target.read_text() == "one"
    assert names(target.parent) == ["a.txt"]


def test_atomic_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for text in ("one", "two"):
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)
        assert names(target) == [text]
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as folder:
        fail_after((folder / "three").write_text("half"))
    assert names(target) == ["two"]
    assert names(tmp_path) == ["out"]


def test_write_parquet_sorts_and_repeats_to_the_byte(tmp_path: Path) -> None:
    one = pa.table([["b", "a", "c"], [2, 1, 3]], schema=SCHEMA)
    other = pa.concat_tables([one.slice(2), one.slice(0, 2)])
    write_parquet(one, tmp_path / "one.parquet", sort_by=["key"])
    write_parquet(other, tmp_path / "other.parquet", sort_by=["key"])
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()
    assert read_parquet(tmp_path / "one.parquet", SCHEMA)["key"].to_pylist() == ["a", "b", "c"]


def test_read_parquet_checks(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(DataError, match=r"x\.parquet: no such file; run the stage"):
        read_parquet(path)
    write_parquet(pa.table({"key": ["a"], "other": [1]}), path)
    with pytest.raises(DataError, match=r"lacks column\(s\) n; it has key, other"):
        read_parquet(path, SCHEMA)
    assert read_parquet(path, columns=["other"]).column_names == ["other"]
    write_parquet(pa.table({"key": ["a"], "n": ["word"]}), path)
    with pytest.raises(DataError, match="cannot be read as the Parquet table"):
        read_parquet(path, SCHEMA)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError, match="cannot be read as the Parquet table"):
        read_parquet(path)


@pytest.mark.parametrize("sizes", [[10], [3, 3, 4], [1] * 10, [0, 7, 0, 3], []])
def test_batches_give_the_bytes_of_the_whole_table(tmp_path: Path, sizes: list[int]) -> None:
    table = pa.table({"key": [f"k{i}" for i in range(sum(sizes))], "n": list(range(sum(sizes)))}, schema=SCHEMA)
    batches, start = [], 0
    for size in sizes:
        batches += table.slice(start, size).to_batches() or [pa.RecordBatch.from_pylist([], schema=SCHEMA)]
        start += size
    assert write_batches(batches, SCHEMA, tmp_path / "batches", row_group_size=4) == sum(sizes)
    write_parquet(table, tmp_path / "table", row_group_size=4)
    assert (tmp_path / "batches").read_bytes() == (tmp_path / "table").read_bytes()


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json({"b": 1, "a": "é"}, path)
    assert path.read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert read_json(path) == {"a": "é", "b": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": float("nan")}, path)
    assert read_json(path) == {"a": "é", "b": 1}
    path.write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        read_json(path)
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "y.json")


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()
