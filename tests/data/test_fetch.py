"""Fetching: what lies in the role folders afterwards, and what is said of it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from kgrec.config import parse_settings
from kgrec.data.fetch import ROLES, FetchSettings, fetch
from kgrec.data.io import read_json
from kgrec.errors import ConfigError, DataError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "posters" / "more").mkdir(parents=True)
    (folder / "ratings.dat").write_bytes(b"1::2::3::4\n")
    (folder / "posters" / "2.jpg").write_bytes(b"two")
    (folder / "posters" / "1.jpg").write_bytes(b"one")
    (folder / "posters" / "more" / "3.jpg").write_bytes(b"three")
    (folder / "posters" / ".DS_Store").write_bytes(b"junk")
    os.utime(folder / "ratings.dat", (1_000_000_000, 1_000_000_000))
    return folder


def settings(root: Path | None = None, **sources: list[dict[str, Any]]) -> FetchSettings:
    values = {"recipe": "own", "root": str(root) if root else None, "sources": sources}
    return parse_settings(FetchSettings, values)


def test_local_files(root: Path, tmp_path: Path) -> None:
    terms = {"licence": "research only", "redistribute": False}
    chosen = settings(root, ratings=[{"path": "ratings.dat", "sha256": digest(b"1::2::3::4\n"), **terms}])
    counts = fetch(tmp_path / "out", chosen, tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "out/raw").iterdir()) == sorted(ROLES)
    assert (tmp_path / "out/raw/ratings/ratings.dat").read_bytes() == b"1::2::3::4\n"
    written = read_json(tmp_path / "out/sources.json")
    assert (written["recipe"], written["synthetic"]) == ("own", False)
    assert written["sources"] == [
        {
            "role": "ratings", "name": "ratings.dat", "origin": "ratings.dat", "bytes": 11,
            "sha256": digest(b"1::2::3::4\n"), "time": "2001-09-09T01:46:40Z", **terms,
        }
    ]  # fmt: skip
    assert counts["roles"]["ratings"] == {"files": 1, "bytes": 11}
    assert counts["roles"]["kg"] == {"files": 0, "bytes": 0}


def test_folder_is_packed_the_same_every_time(root: Path, tmp_path: Path) -> None:
    chosen = settings(root, ratings=[{"path": "ratings.dat"}], posters=[{"path": "posters"}])
    fetch(tmp_path / "a", chosen, tmp_path / "cache")
    packed = tmp_path / "a/raw/posters/posters.zip"
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["1.jpg", "2.jpg", "more/3.jpg"]
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("more/3.jpg") == b"three"
    os.utime(root / "posters" / "1.jpg", (1, 1))
    (root / "posters" / "2.jpg").chmod(0o600)
    fetch(tmp_path / "b", chosen, tmp_path / "cache")
    assert (tmp_path / "b/raw/posters/posters.zip").read_bytes() == packed.read_bytes()


def test_url(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_oneshot_request("/files/ml-1m.zip").respond_with_data(b"zip", headers={"ETag": '"1"'})
    url = httpserver.url_for("/files/ml-1m.zip?download=1")
    chosen = settings(ratings=[{"url": url, "sha256": digest(b"zip")}])
    for _ in range(2):
        fetch(tmp_path / "out", chosen, tmp_path / "cache")
        assert (tmp_path / "out/raw/ratings/ml-1m.zip").read_bytes() == b"zip"
    (source,) = read_json(tmp_path / "out/sources.json")["sources"]
    assert source["origin"] == url
    assert source["time"].endswith("Z")


def test_rerun_replaces_what_was_there(root: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "out", settings(root, ratings=[{"path": "posters/1.jpg"}]), tmp_path / "cache")
    fetch(tmp_path / "out", settings(root, ratings=[{"path": "ratings.dat"}]), tmp_path / "cache")
    assert [path.name for path in (tmp_path / "out/raw/ratings").iterdir()] == ["ratings.dat"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["raw", "sources.json"]


@pytest.mark.parametrize("kind", ["ratings.dat", "posters"])
def test_wrong_checksum_leaves_nothing(root: Path, tmp_path: Path, kind: str) -> None:
    chosen = settings(root, ratings=[{"path": kind, "sha256": "0" * 64}])
    with pytest.raises(DataError, match=rf"{kind}: checksum mismatch: expected sha256 0{{64}}, got [0-9a-f]{{64}}"):
        fetch(tmp_path / "out", chosen, tmp_path / "cache")
    assert list((tmp_path / "out").iterdir()) == []


def test_failure_keeps_the_former_result(root: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "out", settings(root, ratings=[{"path": "ratings.dat"}]), tmp_path / "cache")
    broken = settings(root, ratings=[{"path": "posters/1.jpg"}], texts=[{"path": "gone.json"}])
    with pytest.raises(DataError):
        fetch(tmp_path / "out", broken, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "out/raw/ratings").iterdir()] == ["ratings.dat"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["raw", "sources.json"]


def test_missing_file_names_path_and_key(root: Path, tmp_path: Path) -> None:
    chosen = settings(root, ratings=[{"path": "ratings.dat"}], kg=[{"path": "ratings.dat"}, {"path": "gone.gz"}])
    with pytest.raises(DataError, match=r"data/gone\.gz: no such file or folder; mend fetch\.sources\.kg\[1\]\.path"):
        fetch(tmp_path / "out", chosen, tmp_path / "cache")


def test_two_files_of_one_name(root: Path, tmp_path: Path) -> None:
    chosen = settings(root, ratings=[{"path": "ratings.dat"}, {"path": "posters/1.jpg", "name": "ratings.dat"}])
    with pytest.raises(DataError, match=r"fetch\.sources\.ratings\[1\]: a second file named ratings\.dat"):
        fetch(tmp_path / "out", chosen, tmp_path / "cache")


def test_empty_folder(root: Path, tmp_path: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no files"):
        fetch(tmp_path / "out", settings(root, ratings=[{"path": "empty"}]), tmp_path / "cache")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": "own"}, "sources.ratings is empty"),
        ({"recipe": "own", "sources": {"ratings": [{}]}}, "give either url or path"),
        ({"recipe": "own", "sources": {"ratings": [{"url": "http://x/a", "path": "a"}]}}, "give either url or path"),
        ({"recipe": "own", "sources": {"ratings": [{"url": "ftp://x/a"}]}}, "url"),
        ({"recipe": "own", "sources": {"ratings": [{"url": "http://x/"}]}}, "no file name; give name"),
        ({"recipe": "own", "sources": {"ratings": [{"path": "a", "sha256": "12"}]}}, "sha256"),
        ({"recipe": "own", "sources": {"rating": []}}, r"unknown key 'sources\.rating'; did you mean 'ratings'"),
        ({"recipe": "demo", "sources": {"ratings": [{"path": "a"}]}}, "demo generates its files"),
        ({"recipe": "demo", "demo": {"user": 30}}, r"unknown key 'demo\.user'; did you mean 'users'"),
        ({"recipe": "demo", "seed": 1, "demo": {"seed": 2}}, r"seed and demo\.seed differ"),
    ],
)
def test_wrong_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_settings(FetchSettings, values)


def test_demo(tmp_path: Path) -> None:
    values = {"recipe": "demo", "seed": 3, "demo": {"users": 20, "items": 60}, "sources": {"ratings": None}}
    for out in ("a", "b"):
        counts = fetch(tmp_path / out, parse_settings(FetchSettings, values), tmp_path / "cache")
    written = read_json(tmp_path / "a/sources.json")
    assert written["synthetic"] is True
    assert {source["role"] for source in written["sources"]} == {"ratings", "links", "kg", "posters", "texts"}
    assert {source["origin"] for source in written["sources"]} == {"generated with seed 3"}
    for source in written["sources"]:
        content = (tmp_path / "a/raw" / source["role"] / source["name"]).read_bytes()
        assert (digest(content), len(content)) == (source["sha256"], source["bytes"])
    assert counts["demo"]["users"] == 20
    assert (tmp_path / "a/sources.json").read_bytes() == (tmp_path / "b/sources.json").read_bytes()
