"""Files in folders and archives: found by name, and damage is said."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from kgrec.data.readers import list_files
from kgrec.errors import DataError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("set/a.csv", b"x,y\n" * 50_000)
        packed.writestr("set/b.csv.gz", gzip.compress(b"inner"))
    return path


def test_names_and_contents(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt.gz").write_bytes(gzip.compress(b"plain"))
    (tmp_path / ".hidden").write_text("no")
    files = list_files(tmp_path)
    assert sorted(files) == ["a.csv", "b.csv", "c.txt"]
    assert files["b.csv"].read() == b"inner"
    assert files["c.txt"].read() == b"plain"
    assert str(files["a.csv"]) == "set.zip/set/a.csv"


def test_same_name_twice(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(DataError, match=r"a\.csv is there twice"):
        list_files(tmp_path)


def test_truncated_archive(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DataError, match=r"set\.zip: is truncated or not a zip archive.*fetch it again"):
        list_files(tmp_path)


def test_damaged_member(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[80:120] = b"\xff" * 40
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"set\.zip/set/a\.csv: is truncated or damaged"):
        list_files(tmp_path)["a.csv"].read()


def test_truncated_gzip(tmp_path: Path) -> None:
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(bytes(range(256)) * 400)[:-20])
    with pytest.raises(DataError, match=r"x\.txt\.gz: is truncated or damaged"):
        list_files(tmp_path)["x.txt"].read()


def test_not_gzip_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.txt.gz").write_bytes(b"plain text")
    with pytest.raises(DataError, match="is truncated or damaged"):
        list_files(tmp_path)["x.txt"].read()
