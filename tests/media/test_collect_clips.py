"""Sounds and videos go the way of posters: checked, packed, and their absence explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgrec.data import schemas
from kgrec.data.io import read_parquet
from kgrec.media.collect import MediaFolders, MediaSettings, collect_media
from tests.clips import numbered, sound, tone, video

pytest.importorskip("av", reason="needs PyAV: pip install 'kgrec[clips]'")


def collect(world: Any, **folders: Path) -> dict[str, Any]:
    here = MediaFolders(world.posters, world.texts, **folders)
    return collect_media(world.catalogue, here, world.out, world.responses, MediaSettings())


def test_clips_are_packed_by_key_and_the_rest_has_a_reason(world: Any) -> None:
    audio, films = world.root / "audio", world.root / "video"
    audio.mkdir()
    films.mkdir()
    (audio / "1.wav").write_bytes(sound(tone(440.0)))
    (audio / "2.mp3").write_bytes(b"<html>not here</html>")
    (films / "3.mp4").write_bytes(video(numbered(12, 160, 120)))
    report = collect(world, audio=audio, video=films)
    (row,) = read_parquet(world.out / "audio" / "audio-00000.parquet", schemas.CLIPS).to_pylist()
    assert (row["key"], row["bytes"], row["format"]) == ("item:1", sound(tone(440.0)), "wav")
    assert row["seconds"] > 0
    (row,) = read_parquet(world.out / "video" / "video-00000.parquet", schemas.CLIPS).to_pylist()
    assert row["key"] == "item:3"
    rows = read_parquet(world.out / "ledger.parquet", schemas.LEDGER).to_pylist()
    said = {(one["key"], one["modality"]): (one["status"], one["reason"]) for one in rows}
    assert said["item:2", "audio"][0] == "rejected"
    assert said["item:4", "audio"] == ("missing", "no file")
    assert said["item:3", "video"] == ("ok", "")
    assert (report["audio"]["ok"], report["audio"]["missing"], report["video"]["ok"]) == (1, 2, 1)


def test_without_clips_nobody_misses_them(world: Any) -> None:
    (world.root / "audio").mkdir()
    (world.root / "audio" / ".empty").touch()
    report = collect(world, audio=world.root / "audio")
    assert "audio" not in report
    assert {row["modality"] for row in read_parquet(world.out / "ledger.parquet").to_pylist()} == {"image", "text"}
    assert read_parquet(world.out / "audio" / "audio-00000.parquet", schemas.CLIPS).num_rows == 0
