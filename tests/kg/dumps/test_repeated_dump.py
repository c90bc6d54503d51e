"""The dump that ``benchmarks/rdf_extract.py`` makes is a dump: every line good, no two subjects the same by accident."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from benchmarks.rdf_extract import copies, repeat_dump

NS = "http://rdf.freebase.com/ns/"
LINES = [
    (f"<{NS}g.11b7fv4k6q>", f"<{NS}film.film.genre>", f"<{NS}m.06n90>"),
    (f"<{NS}m.0dyb1>", f"<{NS}film.film.starring>", f"<{NS}m.0z1740d169d1>"),
    (f"<{NS}m.0dyb1>", f"<{NS}type.object.name>", '"<http://rdf.freebase.com/ns/m.0x> Alien"@en'),
    (f"<{NS}m.0z1740d169d1>", f"<{NS}film.performance.film>", f"<{NS}m.0dyb1>"),
    ("<http://example.org/m.0dyb1>", f"<{NS}film.film.genre>", f"<{NS}m.06n90>"),
]


@pytest.mark.parametrize("times", [1, 3, 40])
def test_copies_have_subjects_of_their_own(tmp_path: Path, times: int) -> None:
    dump, out = tmp_path / "a.gz", tmp_path / "b.gz"
    dump.write_bytes(gzip.compress("".join("\t".join(line) + "\t.\n" for line in LINES).encode()))
    repeat_dump(dump, times, out)
    lines = [line.split("\t") for line in gzip.decompress(out.read_bytes()).decode().splitlines()]
    assert len(lines) == len(LINES) * times
    assert all(dot == "." for *_, dot in lines)
    subjects = [line[0] for line in lines if line[0].startswith(f"<{NS}")]
    assert all(re.fullmatch(rf"<{NS}[mg]\.[0-9b-df-hj-np-tv-z_]{{1,11}}>", subject) for subject in subjects)
    assert len(set(subjects)) == 3 * times
    assert lines[: len(LINES)][1][0] == f"<{NS}m.0dyb1>"
    mediator = lines[1][2]
    assert re.fullmatch(rf"<{NS}m\.2[0-9b-z_]{{6}}>", mediator)
    for copy in range(times):
        mine = lines[copy * len(LINES) : (copy + 1) * len(LINES)]
        assert [line[1:3] for line in mine] == [line[1:3] for line in lines[: len(LINES)]]
    assert lines[3][0] == mediator


def test_letters_before_the_ids_tell_the_copies_apart() -> None:
    for times in (1, 2, 21, 22, 23, 400):
        before = list(copies(times))
        assert len(set(before)) == times
        assert len({len(letters) for letters in before[1:]}) <= 1
