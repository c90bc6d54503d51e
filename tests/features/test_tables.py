from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kgrec.data import schemas
from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.features.tables import (
    GROUP_ROWS,
    TokenWriter,
    VectorWriter,
    from_hex,
    iter_vectors,
    read_vectors,
    to_hex,
    vector_width,
)  # fmt: skip


def digests(count: int) -> np.ndarray:
    return np.array([sha256(str(i).encode()).digest() for i in range(count)], "S32")


def write(path: Path, count: int, width: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(count, width)).astype(np.float16)
    names = digests(count)
    with VectorWriter(path, width, "e@0") as writer:
        for start in range(0, count, GROUP_ROWS):
            rows = slice(start, start + GROUP_ROWS)
            keys = pa.array([f"item:{i:07d}" for i in range(count)[rows]])
            writer.write(keys, names[rows], vectors[rows])
    return vectors


@pytest.mark.parametrize("count", [0, 1, GROUP_ROWS, 2 * GROUP_ROWS + 5])
def test_what_is_written_is_read_as_one_tensor(tmp_path: Path, count: int) -> None:
    vectors = write(tmp_path / "a.parquet", count)
    keys, found = read_vectors(tmp_path / "a.parquet")
    assert keys.to_pylist() == [f"item:{i:07d}" for i in range(count)]
    assert found.dtype == torch.float16
    assert np.array_equal(found.numpy(), vectors)
    assert vector_width(tmp_path / "a.parquet") == 6
    parts = list(iter_vectors(tmp_path / "a.parquet"))
    assert [len(part) for part, _ in parts] == [min(GROUP_ROWS, count - i) for i in range(0, count, GROUP_ROWS)]
    assert [key for part, _ in parts for key in part.to_pylist()] == keys.to_pylist()
    assert torch.equal(torch.cat([values for _, values in parts] or [found]), found)


def test_the_file_is_the_published_table(tmp_path: Path) -> None:
    vectors = write(tmp_path / "a.parquet", 3)
    table = read_parquet(tmp_path / "a.parquet", schemas.features(6))
    assert table["content_sha256"].to_pylist() == [sha256(str(i).encode()).hexdigest() for i in range(3)]
    assert table["encoder"].to_pylist() == ["e@0"] * 3
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float16), vectors)
    columns = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    assert {columns.column(i).compression for i in range(columns.num_columns)} == {"ZSTD"}


def test_a_row_group_becomes_a_tensor_without_a_copy(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", GROUP_ROWS, 64)
    before = pa.total_allocated_bytes()
    _, values = next(iter_vectors(tmp_path / "a.parquet"))
    held = pa.total_allocated_bytes() - before
    assert held >= values.nbytes  # Arrow's memory, not torch's


def test_tokens_are_as_many_as_each_content_has(tmp_path: Path) -> None:
    counts, states = np.array([2, 0, 3], np.int32), np.arange(20, dtype=np.float16).reshape(5, 4)
    with TokenWriter(tmp_path / "t.parquet", 4, "e@0") as writer:
        writer.write(pa.array(["a", "b", "c"]), digests(3), counts, states)
    table = read_parquet(tmp_path / "t.parquet", schemas.feature_tokens(4))
    assert table["tokens"].to_pylist() == [states[:2].tolist(), [], states[2:].tolist()]


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), VectorWriter(tmp_path / "a.parquet", 4, "e@0"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"key": ["a"]}), "lacks column"),
        (pa.table({"key": ["a"], "vector": pa.array([[1.0]], pa.list_(pa.float16()))}), "not a fixed-size list of float16"),
        (pa.table({"key": ["a", "b"], "vector": pa.array([[1.0], None], pa.list_(pa.float16(), 1))}), "without a vector"),
    ],
)  # fmt: skip
def test_what_is_no_feature_table_is_told(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "a.parquet")


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 3000)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    start = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(3).data_page_offset + 100
    data[start : start + 1000] = bytes(1000)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        read_vectors(tmp_path / "a.parquet")


def test_hexadecimal_both_ways() -> None:
    names = digests(5)
    column = to_hex(names)
    assert column.to_pylist() == [sha256(str(i).encode()).hexdigest() for i in range(5)]
    assert np.array_equal(from_hex(column), names)
    assert np.array_equal(from_hex(pa.chunked_array([column.slice(1, 2), column.slice(4)])), names[[1, 2, 4]])
    assert len(from_hex(pa.chunked_array([], pa.string()))) == 0
    with pytest.raises(ValueError, match="64"):
        from_hex(pa.array(["ab"]))
    with pytest.raises(ValueError, match=r"hex|arg"):
        from_hex(pa.array(["xy" * 32]))
