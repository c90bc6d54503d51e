from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kgrec.errors import DataError
from kgrec.features.cache import CacheDamaged, FeatureCache, cache_path, cached_encoders, prune_cache
from kgrec.features.tables import TokenWriter, VectorWriter


def names(count: int) -> np.ndarray:
    return np.array([sha256(str(i).encode()).digest() for i in range(count)], "S32")


def values(count: int, width: int = 5) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float16)


def fill(path: Path, count: int, width: int = 5, chunk: int = 256) -> np.ndarray:
    vectors = values(count, width)
    with FeatureCache(path, width, {"encoder": "x"}) as cache:
        for start in range(0, count, chunk):
            rows = slice(start, start + chunk)
            cache.put(names(count)[rows], vectors[rows], np.arange(count, dtype=np.int32)[rows])
    return vectors


def test_what_is_put_is_got_back_to_the_bit_in_any_order(tmp_path: Path) -> None:
    vectors = fill(tmp_path / "f", 1200)
    order = np.random.default_rng(0).permutation(1200)
    order = np.concatenate([order, order[:50]])
    with FeatureCache(tmp_path / "f", 5, {"encoder": "x"}) as cache:
        assert len(cache) == 1200
        entries = cache.find(names(1200)[order])
        assert np.array_equal(cache.read(entries)[0], vectors[order])
        assert np.array_equal(cache.cut(entries), order)
        assert cache.find(np.array([bytes(32), sha256(b"1201").digest()], "S32")).tolist() == [-1, -1]


def test_an_empty_cache_knows_nothing(tmp_path: Path) -> None:
    with FeatureCache(tmp_path / "f", 5, {}) as cache:
        assert cache.find(names(3)).tolist() == [-1, -1, -1]
        assert cache.read(cache.find(names(0)))[0].shape == (0, 5)


def test_tokens_are_kept_beside_their_vector(tmp_path: Path) -> None:
    vectors, tokens = values(3), [values(n, 2) for n in (4, 0, 2)]
    with FeatureCache(tmp_path / "f", 5, {}, token_width=2) as cache:
        cache.put(names(3), vectors, tokens=tokens)
        cache.refresh()
        entries = cache.find(names(3)[[2, 0, 1]])
        found, states = cache.read(entries)
        assert cache.tokens(entries).tolist() == [2, 4, 0]
    assert np.array_equal(found, vectors[[2, 0, 1]])
    assert np.array_equal(states, np.concatenate([tokens[2], tokens[0]]))


def test_the_first_of_two_equal_contents_counts(tmp_path: Path) -> None:
    with FeatureCache(tmp_path / "f", 2, {}) as one, FeatureCache(tmp_path / "f", 2, {}) as two:
        one.put(names(2), np.ones((2, 2), np.float16))
        two.put(names(3)[1:], np.full((2, 2), 2, np.float16))
        one.refresh()
        assert one.read(one.find(names(3)))[0][:, 0].tolist() == [1, 1, 2]


def test_a_vector_of_another_width_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "f", 3, width=4)
    with FeatureCache(tmp_path / "f", 5, {}) as cache:
        assert cache.find(names(3)).tolist() == [-1] * 3
    assert "begun anew" in capsys.readouterr().err


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with FeatureCache(tmp_path / "f", 5, {}) as cache, pytest.raises(ValueError, match="do not fit"):
        cache.put(names(3), values(3, 4))


@pytest.mark.parametrize("damage", ["index", "records", "gone"])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "f", 300)
    if damage == "index":
        (tmp_path / "f" / "index.sqlite").write_bytes(b"no database" * 1000)
    elif damage == "records":
        os.truncate(tmp_path / "f" / "records.bin", 2000)
    else:
        (tmp_path / "f" / "records.bin").unlink()
    with FeatureCache(tmp_path / "f", 5, {}) as cache:
        assert len(cache) == 0
        cache.put(names(2), values(2))
        cache.refresh()
        assert np.array_equal(cache.read(cache.find(names(2)))[0], values(2))
    assert "begun anew" in capsys.readouterr().err


def test_a_changed_bit_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path / "f", 300)
    data = bytearray((tmp_path / "f" / "records.bin").read_bytes())
    data[1234] ^= 1
    (tmp_path / "f" / "records.bin").write_bytes(data)
    with FeatureCache(tmp_path / "f", 5, {}) as cache:
        with pytest.raises(CacheDamaged, match="checksum"):
            cache.read(cache.find(names(300)))
        cache.clear("checksum")
        assert len(cache) == 0


def test_a_folder_that_cannot_be_used_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "f" / "index.sqlite").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be used"):
        FeatureCache(tmp_path / "f", 5, {})
    assert (tmp_path / "f" / "index.sqlite").is_dir()


def test_a_killed_process_loses_at_most_its_last_put(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from kgrec.features.cache import FeatureCache\n"
        "from hashlib import sha256\n"
        "cache = FeatureCache(Path(sys.argv[1]), 600, {})\n"
        "for i in range(10**9):\n"
        "    cache.put(np.array([sha256(str(i).encode()).digest()], 'S32'), np.full((1, 600), i % 999, np.float16))\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > 200:
            break
    process.send_signal(signal.SIGKILL)
    said = max([int(line) for line in process.stdout.read().split("\n")[:-1]], default=201)
    process.wait()
    process.stdout.close()
    with (tmp_path / "f" / "records.bin").open("ab") as stream:
        stream.write(b"the half of a record")  # as if killed between the record and its row
    with FeatureCache(tmp_path / "f", 600, {}) as cache:
        entries = cache.find(names(said + 1))
        assert (entries >= 0).all()
        assert cache.read(entries)[0][:, 7].tolist() == [i % 999 for i in range(said + 1)]
        fresh = np.array([sha256(b"fresh").digest()], "S32")
        cache.put(fresh, np.full((1, 600), -1, np.float16))
        cache.refresh()
        assert cache.read(cache.find(fresh))[0].max() == -1


def test_pruning_keeps_what_the_tables_use(tmp_path: Path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    used, other, with_tokens = (
        cache_path(cache, "image", fingerprint, tokens)
        for fingerprint, tokens in (("a" * 64, False), ("b" * 64, False), ("a" * 64, True))
    )
    vectors = fill(used, 1000)
    fill(other, 10)
    with FeatureCache(with_tokens, 5, {}, 3) as store:
        store.put(names(2), values(2), tokens=[values(1, 3)] * 2)
    (cache / "image" / f"{'c' * 64}.sqlite").write_bytes(b"the former layout")
    with VectorWriter(out / "vectors" / "image.parquet", 5, f"x@{'a' * 12}") as writer:
        writer.write(pa.array([f"item:{i}" for i in range(3)]), names(1000)[[5, 700, 5]], vectors[[5, 700, 5]])
    before = sum(held.bytes for held in cached_encoders(cache))
    assert [(held.encoder, held.entries) for held in cached_encoders(cache)] == [
        ("x", 1000), ("", 2), ("x", 10), ("", None),
    ]  # fmt: skip
    counts = prune_cache(cache, out)
    assert (counts["kept"], counts["removed"]) == (2, 998 + 10 + 2)
    left = cached_encoders(cache)
    assert [(held.path, held.encoder, held.entries) for held in left] == [(used, "x", 2)]
    assert counts["freed"] == before - left[0].bytes
    with FeatureCache(used, 5, {}) as store:
        entries = store.find(names(1000)[[5, 700, 6]])
        assert entries[2] == -1
        assert np.array_equal(store.read(entries[:2])[0], vectors[[5, 700]])
        assert store.cut(entries[:2]).tolist() == [5, 700]
    assert prune_cache(cache, out) == {"kept": 2, "removed": 0, "freed": 0}


def test_pruning_keeps_tokens_that_are_used(tmp_path: Path) -> None:
    path = cache_path(tmp_path / "cache", "text", "a" * 64, True)
    tokens = [values(n, 3) for n in (2, 5, 1)]
    with FeatureCache(path, 5, {}, 3) as store:
        store.put(names(3), values(3), tokens=tokens)
    for kind, writer in (("vectors", VectorWriter), ("tokens", TokenWriter)):
        with writer(tmp_path / "out" / kind / "text.parquet", 5, f"x@{'a' * 12}") as table:
            if isinstance(table, VectorWriter):
                table.write(pa.array(["item:1"]), names(3)[1:2], values(3)[1:2])
    assert prune_cache(tmp_path / "cache", tmp_path / "out")["kept"] == 1
    with FeatureCache(path, 5, {}, 3) as store:
        assert np.array_equal(store.read(store.find(names(3)[1:2]))[1], tokens[1])


def test_pruning_without_tables_is_an_error(tmp_path: Path) -> None:
    fill(cache_path(tmp_path / "cache", "image", "a" * 64, False), 3)
    with pytest.raises(DataError, match="run the features stage first"):
        prune_cache(tmp_path / "cache", tmp_path / "out")
    assert cached_encoders(tmp_path / "cache")[0].entries == 3


def test_a_damaged_index_counts_as_nothing(tmp_path: Path) -> None:
    path = cache_path(tmp_path / "cache", "image", "a" * 64, False)
    fill(path, 3)
    with sqlite3.connect(path / "index.sqlite") as database:
        database.execute("DROP TABLE puts")
    assert cached_encoders(tmp_path / "cache")[0].entries is None
