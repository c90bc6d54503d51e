from __future__ import annotations

import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.data import schemas
from kgrec.errors import DataError
from kgrec.features.contents import Contents, open_contents


def clips(folder: Path, rows: list[tuple[str, bytes]], shard: int = 0, group: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = [dict(zip(schemas.CLIPS.names, (k, sha256(b).hexdigest(), b, 1.0, "wav"), strict=True)) for k, b in rows]
    pq.write_table(
        pa.Table.from_pylist(table, schema=schemas.CLIPS),
        folder / f"{folder.name}-{shard:05d}.parquet",
        row_group_size=group,
    )


def texts(media: Path, rows: list[tuple[str, str | None]], group: int = 4) -> Contents:
    media.mkdir(exist_ok=True)
    table = pa.table([[k for k, _ in rows], [t for _, t in rows], ["en"] * len(rows)], schema=schemas.TEXTS)
    pq.write_table(table, media / "texts.parquet", row_group_size=group)
    return open_contents(media, "text")


ROWS = [(f"item:{i:02d}", bytes([i]) * (i + 1)) for i in range(20)]


@pytest.fixture
def audio(tmp_path: Path) -> Contents:
    clips(tmp_path / "audio", ROWS[:11])
    clips(tmp_path / "audio", [], shard=1)
    clips(tmp_path / "audio", ROWS[11:], shard=2)
    return open_contents(tmp_path, "audio")


def test_positions_count_over_all_shards(audio: Contents) -> None:
    assert len(audio) == 20
    assert audio.digests().tolist() == [sha256(data).digest() for _, data in ROWS]
    assert [audio.key(i) for i in (0, 10, 11, 19)] == ["item:00", "item:10", "item:11", "item:19"]
    for wanted in ([], [0], [4, 5, 10, 11, 19], range(20)):
        found = list(audio.read(np.array(wanted, np.int64)))
        assert found == [(i, ROWS[i][1]) for i in wanted]


@pytest.mark.parametrize("rows", [1, 7, 20, 100])
def test_keys_come_in_even_blocks(audio: Contents, rows: int) -> None:
    blocks = [block.to_pylist() for block in audio.keys(rows)]
    assert [key for block in blocks for key in block] == [key for key, _ in ROWS]
    assert {len(block) for block in blocks[:-1]} <= {rows}


def test_contents_travel_to_other_processes(audio: Contents) -> None:
    assert list(pickle.loads(pickle.dumps(audio)).read(np.array([3]))) == [(3, ROWS[3][1])]


def test_texts_are_hashed_as_utf8(tmp_path: Path) -> None:
    rows: list[tuple[str, str | None]] = [("a", "Amélie"), ("b", ""), ("c", "Amélie"), ("d", "七人の侍"), ("e", "x")]
    found = texts(tmp_path, rows, group=2)
    assert found.digests().tolist() == [sha256((text or "").encode()).digest() for _, text in rows]
    assert list(found.read(np.array([1, 3]))) == [(1, ""), (3, "七人の侍")]


def test_no_rows_are_no_contents(tmp_path: Path) -> None:
    clips(tmp_path / "video", [])
    found = open_contents(tmp_path, "video")
    assert len(found) == len(found.digests()) == len(list(found.keys(5))) == len(list(found.read(np.array([0])))) == 0


@pytest.mark.parametrize("modality", ["image", "audio", "video", "text"])
def test_absent_media_are_an_error_that_names_the_stage(tmp_path: Path, modality: str) -> None:
    with pytest.raises(DataError, match=r"run the (media stage|stage that writes it) first"):
        open_contents(tmp_path, modality)


@pytest.mark.parametrize(
    "rows", [[("b", b"1"), ("a", b"2")], [("a", b"1"), ("a", b"2")], [(f"k{9 - i}", b"") for i in range(7)]]
)
def test_keys_out_of_order_are_an_error(tmp_path: Path, rows: list[tuple[str, bytes]]) -> None:
    clips(tmp_path / "audio", rows[:1])
    clips(tmp_path / "audio", rows[1:], shard=1)
    with pytest.raises(DataError, match="not rising"):
        open_contents(tmp_path, "audio").digests()


def test_a_null_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a text is null"):
        texts(tmp_path, [("a", "x"), ("b", None)]).digests()


def test_a_hash_that_is_none_is_an_error(tmp_path: Path) -> None:
    clips(tmp_path / "audio", ROWS[:2])
    path = tmp_path / "audio" / "audio-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "sha256", pa.array(["ab", "cd"])), path)
    with pytest.raises(DataError, match="64 hexadecimal"):
        open_contents(tmp_path, "audio").digests()


def test_only_row_groups_that_are_wanted_are_read(audio: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    batches = pq.ParquetFile.iter_batches

    def count(self: Any, rows: int, groups: list[int], *args: Any, **kwargs: Any) -> Any:
        read.extend(groups)
        return batches(self, rows, groups, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", count)
    assert len(list(audio.read(np.array([4, 12])))) == 2
    assert read == [1, 0]
