from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from kgrec.errors import ConfigError, DataError
from kgrec.kg.store import ExtractSettings, build_store

ray = pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")

LINES = [
    f"<http://rdf.freebase.com/ns/m.0{i}>\t<http://rdf.freebase.com/ns/{p}>\t{o}\t.\n"
    for i in range(10, 3000)
    for p, o in (
        ("film.film.genre", f"<http://rdf.freebase.com/ns/m.0{i * 7 % 31}>"),
        ("film.film.url", f"<http://example.org/film/{i}>"),
        ("type.object.name", f'"Film {i}"@en'),
        ("type.object.type", "<http://rdf.freebase.com/ns/film.film>"),
    )
]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """A dump split in four parts of unequal size, one of them with a malformed line."""
    cuts = [0, 5000, 6000, 9000, len(LINES)]
    paths = []
    for number in range(4):
        path = tmp_path / f"part.{number}.nt.gz"
        lines = LINES[cuts[number] : cuts[number + 1]]
        path.write_bytes(
            gzip.compress("".join(lines[:50] + (["no triple\n"] if number == 2 else []) + lines[50:]).encode())
        )
        paths.append(path)
    return paths


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_equals_one_machine(tmp_path: Path, parts: list[Path]) -> None:
    settings = ExtractSettings(workers=1)
    one = build_store(parts, tmp_path / "one", settings)
    many = build_store(parts, tmp_path / "many", settings.model_copy(update={"engine": "ray"}))
    assert many == one
    assert many["lines"] == len(LINES) + 1
    assert many["malformed"] == 1
    assert files(tmp_path / "many") == files(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_a_damaged_part_is_named_and_the_others_are_kept(tmp_path: Path, parts: list[Path]) -> None:
    settings = ExtractSettings(workers=1, engine="ray")
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part\.1\.nt\.gz.*truncated or damaged"):
        build_store(parts, tmp_path / "out", settings, tmp_path / "work")
    assert not (tmp_path / "out").exists()
    parts[1].write_bytes(whole)
    build_store(parts, tmp_path / "out", settings, tmp_path / "work")
    build_store(parts, tmp_path / "one", settings.model_copy(update={"engine": "threads"}))
    assert files(tmp_path / "out") == files(tmp_path / "one")


def test_needs_ray(tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"kgrec\[ray\]"):
        build_store(parts, tmp_path / "out", ExtractSettings(engine="ray"))
