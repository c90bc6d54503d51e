import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.errors import DataError
from kgrec.kg import rdf
from kgrec.kg.rdf import Store, scan_dump, unescape

NS = "http://rdf.freebase.com/ns/"
GENRE = f"<{NS}m.a>\t<{NS}film.film.genre>\t<{NS}m.b>\t."


class Scan:
    """What a dump of these lines leaves in the store."""

    def __init__(self, folder: Path, content: bytes, deny: tuple[str, ...] = (), **options: Any) -> None:
        path = folder / "dump.gz"
        path.write_bytes(content)
        with Store(folder / "store") as store:
            self.counts = scan_dump(path, store, deny, **options)
        read = lambda file: [tuple(row.values()) for row in pq.read_table(file).to_pylist()]  # noqa: E731
        self.facts, self.types, self.labels = read(store.facts), read(store.types), read(store.labels)


def gz(*lines: str, end: str = "\n") -> bytes:
    return gzip.compress("".join(line + end for line in lines).encode())


def test_lines_go_where_they_belong(tmp_path: Path) -> None:
    scan = Scan(
        tmp_path,
        gz(
            GENRE,
            f'<{NS}g.11b>\t<{NS}type.object.name>\t"Le \\"Film\\""@fr\t.',
            f'<{NS}m.a>\t<{NS}common.topic.description>\t"Two\\nlines"@en\t.',
            f"<{NS}m.a>\t<{NS}type.object.type>\t<{NS}film.film>\t.",
            f"<{NS}m.a>\t<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>\t<{NS}film.film>\t.",
            f'<{NS}m.a>\t<{NS}film.film.initial_release_date>\t"1979"^^<http://www.w3.org/2001/XMLSchema#gYear>\t.',
            f"<{NS}m.a>\t<{NS}common.topic.webpage>\t<{NS}m.w>\t.",
            "<http://dbpedia.org/resource/É>\t<http://dbpedia.org/ontology/director>\t<http://dbpedia.org/resource/B>\t.",
        ),
        deny=("common.topic.*", "type.*", "http://www.w3.org/*"),
    )
    assert scan.facts == [
        ("m.a", "film.film.genre", "m.b"),
        ("http://dbpedia.org/resource/É", "http://dbpedia.org/ontology/director", "http://dbpedia.org/resource/B"),
    ]
    assert scan.types == [("m.a", "film.film")] * 2
    assert scan.labels == [("g.11b", "name", '"Le \\"Film\\""@fr'), ("m.a", "description", '"Two\\nlines"@en')]
    expected = {"lines": 8, "facts": 2, "types": 2, "labels": 2, "literals": 1, "denied": 1, "malformed": 0}
    assert {name: scan.counts[name] for name in expected} == expected


def test_crlf_and_a_last_line_without_an_end(tmp_path: Path) -> None:
    scan = Scan(tmp_path, gzip.compress((GENRE + "\r\n" + GENRE).encode()))
    assert scan.facts == [("m.a", "film.film.genre", "m.b")] * 2
    assert scan.counts["lines"] == 2


def test_malformed_lines_are_counted_with_their_numbers(tmp_path: Path) -> None:
    bad = {3: "no tabs at all", 5: GENRE + "\tmore", 8: "", 9: GENRE.replace("<", "", 1), 10: GENRE[:-1] + ";"}
    lines = [bad.get(number, GENRE) for number in range(1, 21)]
    content = gzip.compress(("\n".join(lines) + "\n").encode() + b"<\xff>\t<p>\t<o>\t.\n")
    scan = Scan(tmp_path, content, max_malformed=0.5)
    assert [line for line, _ in scan.counts["first_malformed"]] == [3, 5, 8, 9, 10, 21]
    assert scan.counts["malformed"] == 6
    assert len(scan.facts) == 15


def test_line_numbers_go_on_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdf, "BLOCK", 4096)
    lines = [GENRE] * 5000
    lines[3999] = lines[4444] = "broken"
    scan = Scan(tmp_path, gz(*lines))
    assert [line for line, _ in scan.counts["first_malformed"]] == [4000, 4445]
    assert scan.counts["facts"] == 4998


def test_too_many_malformed_lines_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dump\.gz, line 1: has 1 tab-separated fields.*max_malformed"):
        Scan(tmp_path, gz("a", "b", GENRE))


def test_a_file_that_is_not_gzip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a gzip file"):
        Scan(tmp_path, GENRE.encode())


@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_a_truncated_gzip_file(tmp_path: Path, cut: float) -> None:
    whole = gz(*(GENRE.replace("m.b", f"m.{hash(str(i)) & 0xFFFFFF:x}") for i in range(5000)))
    with pytest.raises(DataError, match=r"dump\.gz: is truncated or damaged"):
        Scan(tmp_path, whole[: int(len(whole) * cut)])


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    whole = bytearray(gz(*(GENRE.replace("m.b", f"m.{i * 2654435761 % 2**32:x}") for i in range(5000))))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(DataError, match="truncated or damaged"):
        Scan(tmp_path, bytes(whole))


def test_memory_is_bounded_by_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump of many blocks is parsed a block at a time, and no block outgrows its limit by more than a line."""
    monkeypatch.setattr(rdf, "BLOCK", 1 << 16)
    sizes = []
    parse = rdf._parse
    monkeypatch.setattr(rdf, "_parse", lambda block: sizes.append(len(block)) or parse(block))
    scan = Scan(tmp_path, gz(*[GENRE] * 20_000))
    assert scan.counts["facts"] == 20_000
    assert len(sizes) > 20
    assert max(sizes) <= (1 << 16) + len(GENRE) + 1


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ('"Alien"@en', "Alien"),
        ('"say \\"no\\"\\tto\\\\ it"@en', 'say "no"\tto\\ it'),
        ('"caf\\u00e9 \\U0001F3AC"@en', "café 🎬"),
        ('"\\uD83C\\uDFAC"', "🎬"),
        ('"1979"^^<http://www.w3.org/2001/XMLSchema#gYear>', "1979"),
        ('"a"b"@en-GB', 'a"b'),
    ],
)
def test_escapes(literal: str, text: str) -> None:
    assert unescape(literal) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaping_round_trips(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    assert unescape(f'"{escaped}"@en') == text
