from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from kgrec.errors import ConfigError, DataError
from kgrec.media.files import DamagedMember, PosterFiles


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def contents(folder: Path, overrides: Path | None = None) -> dict[str, bytes]:
    with PosterFiles(folder, overrides) as files:
        return {item: file.read(1000) for item, file in files.by_item.items()}


def test_archives_files_and_overrides_hide_each_other_in_this_order(tmp_path: Path) -> None:
    folder, overrides = tmp_path / "posters", tmp_path / "overrides"
    folder.mkdir()
    overrides.mkdir()
    write_zip(folder / "posters.zip", {"a/1.jpg": b"zip 1", "2.jpg": b"zip 2", "3.PNG": b"zip 3"})
    (folder / "2.jpeg").write_bytes(b"file 2")
    (folder / "3.jpg").write_bytes(b"file 3")
    (overrides / "3.webp").write_bytes(b"override 3")
    assert contents(folder, overrides) == {"1": b"zip 1", "2": b"file 2", "3": b"override 3"}


def test_other_files_are_not_posters(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "p.zip", {"__MACOSX/1.jpg": b"x", ".hidden/2.jpg": b"x", "urls.csv": b"x", "a%2Fb.jpg": b"kept"}
    )
    assert contents(tmp_path) == {"a/b": b"kept"}


def test_two_files_of_one_item_in_a_layer_are_reported(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"first")
    (tmp_path / "1.png").write_bytes(b"second")
    with PosterFiles(tmp_path) as files:
        assert files.by_item["1"].read(10) == b"first"
        assert [name.split("/")[-1] for name in files.ambiguous] == ["1.png"]


def test_reading_stops_one_byte_behind_the_limit(tmp_path: Path) -> None:
    write_zip(tmp_path / "p.zip", {"1.jpg": bytes(10_000)})
    (tmp_path / "2.jpg").write_bytes(bytes(10_000))
    with PosterFiles(tmp_path) as files:
        assert [len(files.by_item[i].read(99)) for i in ("1", "2")] == [100, 100]


def test_a_truncated_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_zip(tmp_path / "posters.zip", {"1.jpg": bytes(10_000)})
    data = (tmp_path / "posters.zip").read_bytes()
    (tmp_path / "posters.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"posters\.zip: is not a complete zip archive .* fetch it again"):
        PosterFiles(tmp_path)


def test_a_member_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    write_zip(tmp_path / "p.zip", {"1.jpg": b"A" * 500})
    data = bytearray((tmp_path / "p.zip").read_bytes())
    data[data.index(b"AAAA") + 9] ^= 1
    (tmp_path / "p.zip").write_bytes(data)
    with PosterFiles(tmp_path) as files, pytest.raises(DamagedMember, match="CRC"):
        files.by_item["1"].read(1000)


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fetch stage"):
        PosterFiles(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"media\.overrides"):
        PosterFiles(tmp_path, tmp_path / "absent")
