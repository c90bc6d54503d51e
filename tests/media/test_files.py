from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from kgrec.errors import ConfigError, DataError
from kgrec.media.files import SUFFIXES, DamagedMember, MediaFiles


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def contents(folder: Path, modality: str = "image", overrides: Path | None = None) -> dict[str, bytes]:
    with MediaFiles(folder, modality, overrides) as files:
        return {key: file.read(1000) for key, file in files.by_key.items()}


def test_archives_files_and_overrides_hide_each_other_in_this_order(tmp_path: Path) -> None:
    folder, overrides = tmp_path / "posters", tmp_path / "overrides"
    folder.mkdir()
    overrides.mkdir()
    write_zip(folder / "posters.zip", {"a/1.jpg": b"zip 1", "2.jpg": b"zip 2", "3.PNG": b"zip 3"})
    (folder / "2.jpeg").write_bytes(b"file 2")
    (folder / "3.jpg").write_bytes(b"file 3")
    (overrides / "3.webp").write_bytes(b"override 3")
    want = {"item:1": b"zip 1", "item:2": b"file 2", "item:3": b"override 3"}
    assert contents(folder, overrides=overrides) == want


def test_other_files_are_not_posters(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "p.zip",
        {"__MACOSX/1.jpg": b"x", ".hidden/2.jpg": b"x", ".jpg": b"x", "urls.csv": b"x", "a%2Fb.jpg": b"kept"},
    )
    assert contents(tmp_path) == {"item:a/b": b"kept"}


def test_a_name_may_be_the_key_of_an_entity(tmp_path: Path) -> None:
    names = ["entity:m.0dyb1.jpg", "entity%3Ag.1.x.png", "item:7.gif", "100%.jpg", "entity.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    assert contents(tmp_path) == {
        "entity:m.0dyb1": b"entity:m.0dyb1.jpg", "entity:g.1.x": b"entity%3Ag.1.x.png", "item:7": b"item:7.gif",
        "item:100%": b"100%.jpg", "item:entity": b"entity.jpg",
    }  # fmt: skip


def test_each_modality_has_its_own_endings(tmp_path: Path) -> None:
    write_zip(tmp_path / "m.zip", {"1.jpg": b"picture", "1.mp3": b"sound", "2.FLAC": b"sound 2", "1.mp4": b"film"})
    assert contents(tmp_path) == {"item:1": b"picture"}
    assert contents(tmp_path, "audio") == {"item:1": b"sound", "item:2": b"sound 2"}
    assert contents(tmp_path, "video") == {"item:1": b"film"}
    endings = [ending for endings in SUFFIXES.values() for ending in endings]
    assert len(endings) == len(set(endings))


def test_two_files_of_one_item_in_a_layer_are_reported(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"first")
    (tmp_path / "1.png").write_bytes(b"second")
    (tmp_path / "item:1.gif").write_bytes(b"third")
    with MediaFiles(tmp_path) as files:
        assert files.by_key["item:1"].read(10) == b"first"
        assert [name.split("/")[-1] for name in files.ambiguous] == ["1.png", "item:1.gif"]


def test_reading_stops_one_byte_behind_the_limit(tmp_path: Path) -> None:
    write_zip(tmp_path / "p.zip", {"1.jpg": bytes(10_000)})
    (tmp_path / "2.jpg").write_bytes(bytes(10_000))
    with MediaFiles(tmp_path) as files:
        assert [len(files.by_key[f"item:{i}"].read(99)) for i in (1, 2)] == [100, 100]


def test_a_file_is_named_by_its_folder_or_archive(tmp_path: Path) -> None:
    folder = tmp_path / "posters"
    (folder / "a").mkdir(parents=True)
    write_zip(folder / "p.zip", {"x/1.jpg": b""})
    (folder / "a" / "2.jpg").write_bytes(b"")
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(b"")  # no UTF-8: the name can still be written into a report
    with MediaFiles(folder) as files:
        names = sorted(file.name for file in files.by_key.values())
    assert names == ["p.zip/x/1.jpg", "posters/a/2.jpg", "posters/\N{REPLACEMENT CHARACTER}.jpg"]


def test_links_to_files_count_and_broken_ones_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "posters"
    folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"content")
    (folder / "1.jpg").symlink_to(tmp_path / "elsewhere")
    (folder / "2.jpg").symlink_to(tmp_path / "gone")
    assert contents(folder) == {"item:1": b"content"}


def test_a_truncated_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_zip(tmp_path / "posters.zip", {"1.jpg": bytes(10_000)})
    data = (tmp_path / "posters.zip").read_bytes()
    (tmp_path / "posters.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"posters\.zip: is not a complete zip archive .* fetch it again"):
        MediaFiles(tmp_path)


def test_a_member_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    write_zip(tmp_path / "p.zip", {"1.jpg": b"A" * 500})
    data = bytearray((tmp_path / "p.zip").read_bytes())
    data[data.index(b"AAAA") + 9] ^= 1
    (tmp_path / "p.zip").write_bytes(data)
    with MediaFiles(tmp_path) as files, pytest.raises(DamagedMember, match="CRC"):
        files.by_key["item:1"].read(1000)


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder of posters; run the fetch stage"):
        MediaFiles(tmp_path / "absent")
    with pytest.raises(DataError, match="no such folder of audio files"):
        MediaFiles(tmp_path / "absent", "audio")
    with pytest.raises(ConfigError, match=r"media\.overrides"):
        MediaFiles(tmp_path, "image", tmp_path / "absent")
