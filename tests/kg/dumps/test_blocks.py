from __future__ import annotations

import bz2
import gzip
import threading
from itertools import pairwise
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from kgrec.errors import DataError
from kgrec.kg.dumps import PAD, open_blocks, streams

TEXT = b"".join(b"<s%d>\t<p>\t<o%d>\t.\n" % (i, i * i) for i in range(4000))


def zstd(text: bytes) -> bytes:
    return pa.Codec("zstd").compress(text, asbytes=True)


def expected(text: bytes, size: int) -> list[bytes]:
    """The rule of the cut, byte by byte: cut ``k`` lies behind the last newline at or before byte ``k * size``."""
    cuts = [0]
    while (end := len(cuts) * size) <= len(text):
        cuts.append(max(cuts[-1], text.rfind(b"\n", 0, end) + 1))
    blocks = [text[left:right] for left, right in pairwise([*cuts, len(text)])]
    if blocks[-1] and not blocks[-1].endswith(b"\n"):
        blocks[-1] += b"\n"
    return blocks[:-1] if not blocks[-1] else blocks


def read(source: str | Path, **options: int) -> list[bytes]:
    texts = []
    for block in open_blocks(source, **options):
        texts.append(block.data.tobytes())
        block.release()
    return texts


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("a.nt", TEXT),
        ("a.nt.gz", gzip.compress(TEXT)),
        ("members.nt.gz", gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:])),
        ("padded.nt.gz", gzip.compress(TEXT) + bytes(512)),
        ("a.nt.bz2", bz2.compress(TEXT)),
        ("streams.nt.bz2", bz2.compress(TEXT[:1000]) + bz2.compress(TEXT[1000:])),
        ("a.nt.zst", zstd(TEXT)),
        ("frames.nt.zst", zstd(TEXT[:1000]) + zstd(TEXT[1000:])),
        ("no-suffix", gzip.compress(TEXT)),
    ],
)
def test_every_packing_gives_the_same_blocks(tmp_path: Path, name: str, packed: bytes) -> None:
    (tmp_path / name).write_bytes(packed)
    assert read(tmp_path / name, block=5000) == expected(TEXT, 5000)
    assert read(tmp_path / name) == [TEXT]


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.binary(max_size=12)).map(b"\n".join), size=st.integers(13, 40))
def test_cut_is_the_rule(tmp_path_factory: pytest.TempPathFactory, text: bytes, size: int) -> None:
    path = tmp_path_factory.mktemp("dump") / "a.nt"
    path.write_bytes(b"#" + text)
    assert read(path, block=size) == expected(b"#" + text, size)


def test_lines_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.nt.gz").write_bytes(gzip.compress(TEXT))
    counts = [text.count(b"\n") for text in expected(TEXT, 5000)]
    firsts = [1 + sum(counts[:k]) for k in range(len(counts))]
    assert [block.first_line for block in open_blocks(tmp_path / "a.nt.gz", block=5000)] == firsts
    released = []
    for block in open_blocks(tmp_path / "a.nt.gz", block=5000):
        released.append(block.first_line)
        block.release()
    assert released == firsts
    told = []
    for block in open_blocks(tmp_path / "a.nt.gz", block=5000):
        told.append(block.first_line)
        block.lines = 7
    assert told == [1 + 7 * k for k in range(len(counts))]


def test_goes_on_where_another_run_ended(tmp_path: Path) -> None:
    (tmp_path / "a.nt.gz").write_bytes(gzip.compress(TEXT))
    whole = [(b.index, b.first_line, b.data.tobytes()) for b in open_blocks(tmp_path / "a.nt.gz", block=5000)]
    rest = open_blocks(tmp_path / "a.nt.gz", block=5000, skip_blocks=4)
    assert [(b.index, b.first_line, b.data.tobytes()) for b in rest] == whole[4:]
    assert read(tmp_path / "a.nt.gz", block=5000, skip_blocks=1000) == []


def test_text_lies_between_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.nt.gz").write_bytes(gzip.compress(TEXT))
    for block in open_blocks(tmp_path / "a.nt.gz", block=5000):
        assert block.padded.tobytes() == bytes(PAD) + block.data.tobytes() + bytes(PAD)
        block.release()


def test_memory_is_used_again_only_after_release(tmp_path: Path) -> None:
    (tmp_path / "a.nt.gz").write_bytes(gzip.compress(TEXT))
    kept = list(open_blocks(tmp_path / "a.nt.gz", block=5000))
    assert [block.data.tobytes() for block in kept] == expected(TEXT, 5000)
    places = set()
    for block in open_blocks(tmp_path / "a.nt.gz", block=5000):
        places.add(block.data.ctypes.data)
        block.release()
        assert block.data.size == 0
    assert len(places) < len(kept) / 2


def test_too_long_line_is_cut(tmp_path: Path) -> None:
    long = b"x" * 990 + b"\n"
    (tmp_path / "a.nt").write_bytes(b"a\n" + long + b"b\n" + long[:100] + b"\n" + b"y" * 950)
    texts = read(tmp_path / "a.nt", block=100)
    assert b"".join(texts) == b"a\n" + b"x" * 100 + b"\nb\n" + long[:100] + b"\n" + b"y" * 100 + b"\n"
    assert len(texts) == 21
    numbered = [(b.first_line, b.data.tobytes()) for b in open_blocks(tmp_path / "a.nt", block=100)]
    assert [line for line, text in numbered if text.endswith(b"\nb\n")] == [2]


@pytest.mark.parametrize("packing", ["gz", "bz2", "zst"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damage_is_named(tmp_path: Path, packing: str, damage: str) -> None:
    noise = np.random.default_rng(0).integers(33, 127, (4000, 60), dtype=np.uint8)
    noise[:, -1] = ord("\n")
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstd}[packing]
    packed = bytearray(pack(noise.tobytes()))
    if damage == "truncated":
        packed = packed[: len(packed) * 9 // 10]
    else:
        packed[len(packed) // 2] ^= 0x10
    path = tmp_path / f"a.nt.{packing}"
    path.write_bytes(packed)
    if packing == "zst" and damage == "flipped":
        # a zstd frame carries no checksum unless it was asked for
        assert b"".join(read(path)) != noise.tobytes()
        return
    with pytest.raises(DataError, match=r"a\.nt.*truncated or damaged behind line"):
        read(path, block=6000)


def test_missing_and_misnamed_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        read(tmp_path / "none.gz")
    (tmp_path / "page.nt.gz").write_text("<html>404</html>")
    with pytest.raises(DataError, match="is not a gzip file"):
        read(tmp_path / "page.nt.gz")
    (tmp_path / "empty.nt.gz").write_bytes(b"")
    with pytest.raises(DataError, match="is not a gzip file"):
        read(tmp_path / "empty.nt.gz")
    (tmp_path / "empty.nt").write_bytes(b"")
    assert read(tmp_path / "empty.nt") == []
    with pytest.raises(DataError, match="cannot be opened"):
        read("nosuch://bucket/a.nt")


def test_reader_may_leave_early(tmp_path: Path) -> None:
    (tmp_path / "a.nt.gz").write_bytes(gzip.compress(TEXT))
    blocks = open_blocks(tmp_path / "a.nt.gz", block=5000)
    next(blocks)
    blocks.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "decompress"]


def test_object_store() -> None:
    with fsspec.open("memory://dumps/a.nt.gz", "wb") as file:
        file.write(gzip.compress(TEXT))
    blocks = list(open_blocks("memory://dumps/a.nt.gz", block=5000))
    assert [block.data.tobytes() for block in blocks] == expected(TEXT, 5000)


def test_web_server(httpserver: HTTPServer) -> None:
    packed = gzip.compress(TEXT)
    httpserver.expect_request("/a.nt.gz").respond_with_data(packed, content_type="application/octet-stream")
    blocks = list(open_blocks(httpserver.url_for("/a.nt.gz") + "?download=1", block=5000))
    assert [block.data.tobytes() for block in blocks] == expected(TEXT, 5000)
    assert blocks[-1].position == len(packed)
    with pytest.raises(DataError, match="cannot be opened"):
        read(httpserver.url_for("/none.nt.gz"))


def test_web_server_that_gives_ranges(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(TEXT)
    asked: list[tuple[int, int]] = []

    def give(request: Request) -> Response:
        if request.range is None:
            return Response(packed, headers={"Accept-Ranges": "bytes"})
        start, end = request.range.ranges[0]
        asked.append((start, min(end, len(packed))))
        headers = {"Content-Range": f"bytes {start}-{min(end, len(packed)) - 1}/{len(packed)}"}
        return Response(packed[start:end], 206, headers)

    httpserver.expect_request("/a.nt.gz").respond_with_handler(give)
    monkeypatch.setattr(streams, "_READ", 1000)
    monkeypatch.setattr(streams, "_REMOTE_READ", 4000)
    blocks = list(open_blocks(httpserver.url_for("/a.nt.gz"), block=5000))
    assert [block.data.tobytes() for block in blocks] == expected(TEXT, 5000)
    assert blocks[-1].total == len(packed)
    assert asked == [(start, min(start + 4000, len(packed))) for start in range(0, len(packed), 4000)]


def test_web_server_that_breaks_off(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(TEXT)

    def give(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(packed, headers={"Accept-Ranges": "bytes"})
        start, end = request.range.ranges[0] if request.range else (0, len(packed))
        if start > 5000:
            return Response(status=503)
        return Response(packed[start:end], 206, {"Content-Range": f"bytes {start}-{end - 1}/{len(packed)}"})

    httpserver.expect_request("/a.nt.gz").respond_with_handler(give)
    monkeypatch.setattr(streams, "_READ", 1000)
    monkeypatch.setattr(streams, "_REMOTE_READ", 4000)
    with pytest.raises(DataError, match=r"broke off behind line [1-9].*503.*run again to go on"):
        read(httpserver.url_for("/a.nt.gz"), block=5000)
