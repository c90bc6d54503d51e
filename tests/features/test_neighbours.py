"""Exact neighbours, streamed: against a dense product, whatever the cut into blocks and row groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.errors import DataError
from kgrec.features import neighbours
from kgrec.features.neighbours import nearest, nearest_to_keys, vector_blocks


def write(path: Path, vectors: np.ndarray, keys: list[str] | None = None, row_group_size: int = 64) -> list[str]:
    keys = keys or [f"item:{row:05d}" for row in range(len(vectors))]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float16()), vectors.shape[1])
    columns = [keys, [f"{row:064x}" for row in range(len(keys))], ["e@1"] * len(keys), column]
    write_parquet(pa.table(columns, schema=schemas.features(vectors.shape[1])), path, row_group_size=row_group_size)
    return keys


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_equals_the_dense_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(300, 12)).astype(np.float16)
    vectors[100:110] = vectors[50]  # ties
    keys = write(tmp_path / "v.parquet", vectors)
    monkeypatch.setattr(vector_blocks, "__defaults__", (block,))
    queries = np.concatenate([3 * vectors[[50, 7]].astype(np.float64), random.normal(size=(3, 12))])
    found = nearest(tmp_path / "v.parquet", queries, 15)

    exact = vectors.astype(np.float64)
    scores = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        exact / np.linalg.norm(exact, axis=1, keepdims=True)
    ).T
    for row, one in zip(scores.round(9), found, strict=True):
        order = np.lexsort((np.arange(300), -row))[:15]
        assert [n.key for n in one.neighbours] == [keys[i] for i in order]
        assert [n.similarity for n in one.neighbours] == row[order].tolist()
        assert (one.compared, one.mean, one.std) == (300, pytest.approx(row.mean()), pytest.approx(row.std()))
    assert [n.key for n in found[0].neighbours[:11]] == [keys[50], *keys[100:110]]


def test_fewer_rows_than_asked_for_and_prefix(tmp_path: Path) -> None:
    vectors = np.eye(4, dtype=np.float16)
    write(tmp_path / "v.parquet", vectors, ["entity:a", "entity:b", "item:a", "item:b"])
    found = nearest(tmp_path / "v.parquet", np.array([[4.0, 3, 2, 1]]), 10, "item:")
    assert found[0].compared == 2
    assert [(n.key, n.similarity) for n in found[0].neighbours] == [
        ("item:a", pytest.approx(2 / 30**0.5, abs=1e-9)), ("item:b", pytest.approx(1 / 30**0.5, abs=1e-9)),
    ]  # fmt: skip


def test_a_key_is_not_its_own_neighbour_even_among_many_equal(tmp_path: Path) -> None:
    keys = write(tmp_path / "v.parquet", np.ones((20, 3), np.float16))
    found = nearest_to_keys(tmp_path / "v.parquet", [keys[2], keys[15]], np.ones((2, 3)), 4)
    assert [[n.key for n in row] for row in found] == [[keys[i] for i in (0, 1, 3, 4)], [keys[i] for i in (0, 1, 2, 3)]]


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write(path, np.ones((3, 2), np.float16))
    with pytest.raises(DataError, match=r"v\.parquet: holds vectors of 2 numbers, the query has 3"):
        nearest(path, np.ones((1, 3)), 1)
    vectors = np.ones((3, 2), np.float16)
    vectors[1, 0] = np.inf
    write(path, vectors)
    with pytest.raises(DataError, match=r"item:00001 is not finite"):
        nearest(path, np.ones((1, 2)), 1)
    pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(DataError, match="lacks column"):
        nearest(path, np.ones((1, 2)), 1)


def test_no_block_holds_more_than_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", np.ones((1000, 2), np.float16), row_group_size=300)
    blocks = list(vector_blocks(tmp_path / "v.parquet", 128))
    assert max(len(block.vectors) for block in blocks) <= 128
    assert [block.start for block in blocks] == np.cumsum([0, *(len(b.vectors) for b in blocks)])[:-1].tolist()
    assert neighbours.BLOCK * 1280 * 8 < 100e6
