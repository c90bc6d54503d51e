from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kgrec.media.files import MediaFiles
from kgrec.media.sources import FolderSource, Subject


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    for name in ("posters", "sound"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "posters" / "p.zip", "w") as archive:
        archive.writestr("1.jpg", b"picture")
    (tmp_path / "posters" / "entity:m.1.png").write_bytes(b"portrait")
    (tmp_path / "sound" / "1.mp3").write_bytes(b"sound")
    files: dict[Any, MediaFiles] = {
        "image": MediaFiles(tmp_path / "posters"), "audio": MediaFiles(tmp_path / "sound", "audio"),
    }  # fmt: skip
    return FolderSource(files, licence="ours")


def test_files_by_key_without_asking_anything(source: FolderSource, drive_any: Callable[..., Any]) -> None:
    driven = drive_any(source, Subject("item:1"), ["audio", "image"], None)
    assert driven.asked == []
    assert (driven.found("image").read(99), driven.found("audio").read(2)) == (b"picture", b"sou")
    assert (driven.found("image").origin, driven.found("image").licence) == ("p.zip/1.jpg", "ours")
    assert drive_any(source, Subject("entity:m.1"), ["image"], None).found("image").origin == "posters/entity:m.1.png"
    assert source.modalities == {"image", "audio"}
    assert source.hosts == frozenset()
    source.close()


def test_no_file(source: FolderSource, drive_any: Callable[..., Any]) -> None:
    driven = drive_any(source, Subject("item:2"), ["audio", "image", "video"], None)
    assert {driven.nothing(modality) for modality in driven.by} == {("missing", "no file")}
    source.close()


def test_closing_closes_the_archives(source: FolderSource, drive_any: Callable[..., Any]) -> None:
    found = drive_any(source, Subject("item:1"), ["image"], None).found("image")
    source.close()
    with pytest.raises(Exception, match="closed"):
        found.read(9)
