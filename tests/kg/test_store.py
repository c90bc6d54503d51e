import bz2
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kgrec.data.io import read_json, read_parquet
from kgrec.errors import DataError
from kgrec.kg import store as module
from kgrec.kg.store import ExtractSettings, build_store, dump_files, open_store

NS = "http://rdf.freebase.com/ns/"
GENRE = f"<{NS}m.a>\t<{NS}film.film.genre>\t<{NS}m.b>\t."


class Extracted:
    """What the store of a dump with these lines holds."""

    def __init__(self, folder: Path, content: bytes | list[str], name: str = "dump.gz", **settings: Any) -> None:
        path = folder / name
        if isinstance(content, list):
            content = gzip.compress("".join(line + "\n" for line in content).encode())
        path.write_bytes(content)
        self.store = folder / "store"
        self.counts = build_store([path], self.store, ExtractSettings(**settings), folder / "work")
        with duckdb.connect() as connection:
            open_store(connection, self.store)
            rows = lambda query: connection.execute(query).fetchall()  # noqa: E731
            self.facts = rows("SELECT node(s), p, node(o) FROM facts")
            self.types = rows("SELECT node(s), o FROM types")
            self.literals = rows("SELECT node(s), p, o FROM literals")
        self.ledger = [tuple(row.values()) for row in read_parquet(self.store / "ledger.parquet").to_pylist()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbered(count: int) -> list[str]:
    return [GENRE.replace("m.b", f"m.{n * 2654435761 % 2**32:x}") for n in range(count)]


def test_lines_go_where_they_belong(tmp_path: Path) -> None:
    found = Extracted(
        tmp_path,
        [
            GENRE,
            f'<{NS}g.11b>\t<{NS}type.object.name>\t"Le \\"Film\\""@fr\t.',
            f'<{NS}m.a>\t<{NS}common.topic.alias>\t"異"@ja\t.',
            f'<{NS}m.a>\t<{NS}common.topic.description>\t"Two\\nlines"@en\t.',
            f'<{NS}m.a>\t<{NS}common.topic.description>\t"Deux"@fr\t.',
            f"<{NS}m.a>\t<{NS}type.object.type>\t<{NS}film.film>\t.",
            f"<{NS}m.a>\t<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>\t<{NS}film.film>\t.",
            f'<{NS}m.a>\t<{NS}film.film.initial_release_date>\t"1979"^^<http://www.w3.org/2001/XMLSchema#gYear>\t.',
            f'<{NS}m.a>\t<http://rdf.freebase.com/key/authority.imdb.title>\t"tt0078748"\t.',
            f'<{NS}m.a>\t<{NS}film.film.runtime>\t"117"\t.',
            f"<{NS}m.a>\t<{NS}common.topic.webpage>\t<{NS}m.w>\t.",
            "<http://dbpedia.org/resource/É>\t<http://dbpedia.org/ontology/director>\t<http://dbpedia.org/resource/B>\t.",
            "<http://www.wikidata.org/entity/Q42> <http://www.wikidata.org/prop/direct/P31> <http://www.wikidata.org/entity/Q5> .",
            "_:b0 <http://example.org/p> _:b1 .  # a comment",
            "",
        ],
    )
    assert found.facts == [
        ("m.a", "film.film.genre", "m.b"),
        ("http://dbpedia.org/resource/É", "http://dbpedia.org/ontology/director", "http://dbpedia.org/resource/B"),
        ("Q42", "wdt:P31", "Q5"),
        ("_:b0", "http://example.org/p", "_:b1"),
    ]
    assert found.types == [("m.a", "film.film"), ("m.a", "film.film"), ("Q42", "Q5")]
    assert found.literals == [
        ("g.11b", "type.object.name", '"Le \\"Film\\""@fr'),
        ("m.a", "common.topic.alias", '"異"@ja'),
        ("m.a", "common.topic.description", '"Two\\nlines"@en'),
        ("m.a", "film.film.initial_release_date", '"1979"^^<http://www.w3.org/2001/XMLSchema#gYear>'),
        ("m.a", "key/authority.imdb.title", '"tt0078748"'),
    ]
    counts = {name: found.counts[name] for name in module.COUNTS}
    assert counts == {
        "lines": 15, "facts": 4, "types": 3, "literals": 5, "denied": 1, "literals_dropped": 2, "blank": 1, "malformed": 0,
    }  # fmt: skip
    assert read_json(found.store / "manifest.json")["facts_by_predicate"]["film.film.genre"] == 1


def test_more_literals_can_be_asked_for(tmp_path: Path) -> None:
    line = f'<{NS}m.a>\t<{NS}film.film.runtime>\t"117"\t.'
    assert Extracted(tmp_path, [line], literals=["film.film.run*"]).literals == [("m.a", "film.film.runtime", '"117"')]


def test_crlf_and_a_last_line_without_an_end(tmp_path: Path) -> None:
    found = Extracted(tmp_path, gzip.compress((GENRE + "\r\n" + GENRE).encode()))
    assert found.facts == [("m.a", "film.film.genre", "m.b")] * 2
    assert found.counts["lines"] == 2


BAD = {
    "no term at all": "no subject", GENRE + "\tmore": "dot", GENRE.replace("<", "", 1): "no subject",
    GENRE[:-1] + ";": "dot", f'<{NS}m.a>\t<{NS}type.object.name>\t"open\t.': "does not end",
    f'<{NS}m.a>\t<{NS}type.object.name>\t"\\q"\t.': "broken escape",
    f'<{NS}m.a>\t<{NS}type.object.name>\t"a"@1\t.': "language tag",
    f'<{NS}m.a>\t<{NS}type.object.name>\t"{"x" * 300}"\t.': "longer than",
    f"<{NS}m.a>\t<a b>\t<{NS}m.b>\t.": "no IRI", f"<{NS}m.a>\t<{NS}film.film.genre>\t<m b>\t.": "may not have",
    f"<{NS}m.a>\t\"p\"\t<{NS}m.b>\t.": "no predicate", f"<{NS}m.a>\t<{NS}film.film.genre>\t.": "no object",
    GENRE[:20] + "\r" + GENRE[20:]: "carriage return",
}  # fmt: skip


def test_malformed_lines_are_in_the_ledger_with_number_and_reason(tmp_path: Path) -> None:
    lines = [line for bad in BAD for line in (GENRE, bad)]
    content = gzip.compress(("\n".join(lines) + "\n").encode() + b"<\xff>\t<p>\t<o>\t.\n")
    found = Extracted(tmp_path, content, max_malformed=0.6, max_literal=200)
    assert [row[:2] for row in found.ledger] == [("dump.gz", 2 * n) for n in range(1, len(BAD) + 1)] + [
        ("dump.gz", 2 * len(BAD) + 1)
    ]
    for (_, _, reason, text), (line, expected) in zip(found.ledger, [*BAD.items(), ("<\\xff>", "UTF-8")], strict=True):
        assert expected in reason
        assert text.startswith(line[:50])
    assert len(found.facts) == len(BAD)


def test_the_ledger_counts_on_across_blocks_chunks_and_dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", 4096)
    monkeypatch.setattr(module, "CHUNK", 3)
    lines = numbered(3000)
    lines[1] = lines[1999] = lines[2444] = "broken"
    for name in ("a.gz", "b.gz"):
        (tmp_path / name).write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    counts = build_store(dump_files(tmp_path), tmp_path / "store", ExtractSettings())
    ledger = read_parquet(tmp_path / "store" / "ledger.parquet").to_pylist()
    assert [(row["source"], row["line"]) for row in ledger] == [
        (n, k) for n in ("a.gz", "b.gz") for k in (2, 2000, 2445)
    ]
    assert counts["facts"] == 2 * 2997
    assert len(list((tmp_path / "store" / "facts").iterdir())) > 10


def test_too_many_malformed_lines_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"dump\.gz, line 2: has no subject.*'b'; 1 of the first 2 lines.*max_malformed"
    ):
        Extracted(tmp_path, [GENRE, "b"])
    assert not (tmp_path / "store").exists()


def test_a_truncated_dump_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(("\n".join(numbered(5000)) + "\n").encode())
    with pytest.raises(DataError, match=r"dump\.gz: is truncated or damaged"):
        Extracted(tmp_path, whole[: len(whole) // 2])
    assert not (tmp_path / "store").exists()


def test_a_missing_dump_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.gz: cannot be opened"):
        build_store([tmp_path / "none.gz"], tmp_path / "store", ExtractSettings())


def test_no_dump_gives_an_empty_store(tmp_path: Path) -> None:
    assert build_store([], tmp_path / "store", ExtractSettings())["lines"] == 0
    with duckdb.connect() as connection:
        open_store(connection, tmp_path / "store")
        assert connection.execute("SELECT count(*) FROM facts, types, literals").fetchall() == [(0,)]


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with duckdb.connect() as connection, pytest.raises(DataError, match="no store; run the extract stage"):
        open_store(connection, tmp_path)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_compression_change_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(module, "SIZE", 8192)
    monkeypatch.setattr(module, "CHUNK", 2)
    text = ("\n".join(numbered(4000)) + "\n").encode()
    stores = []
    for name, content in (("d.gz", gzip.compress(text)), ("d.bz2", bz2.compress(text)), ("d.nt", text)):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        found = Extracted(folder, content, name, workers=workers if name == "d.gz" else 2)
        stores.append({k: v for k, v in files_of(found.store).items() if k != "manifest.json"})
    assert stores[0] == stores[1] == stores[2]


def test_two_ids_with_one_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(parts: list[Path], path: Path, settings: ExtractSettings) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        clash = pa.table({"code": [-5, -5], "term": ["http://a", "http://b"]}, schema=module.SCHEMAS["terms"])
        pq.write_table(clash, path.parent / "clash.parquet")
        real([path.parent / "clash.parquet"], path, settings)

    real = module._write_terms
    monkeypatch.setattr(module, "_write_terms", write)
    with pytest.raises(DataError, match=r"two ids with one 63-bit code, \['http://a', 'http://b'\]"):
        Extracted(tmp_path, [GENRE])


SLOW = """
import sys, time
from pathlib import Path
from kgrec.kg import store
store.SIZE, store.CHUNK = 1 << 14, 2
write = store._write_chunk
def slowly(*args):
    write(*args)
    time.sleep(0.05)
store._write_chunk = slowly
store.build_store([sys.argv[1]], Path(sys.argv[2]) / "store", store.ExtractSettings(), Path(sys.argv[2]) / "work")
"""


def test_a_killed_run_goes_on_behind_its_last_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = numbered(12_000)
    lines[7] = lines[9000] = "broken"
    dump = tmp_path / "dump.gz"
    dump.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for wanted in (3, 10):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(dump), str(killed)], env=environment)
        try:
            deadline = time.monotonic() + 60
            while len(list(killed.glob("work/*/000/0*"))) < wanted and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (killed / "store").exists()
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("work/*/000/0*/facts.parquet")}
    assert len(kept) >= 10
    monkeypatch.setattr(module, "SIZE", 1 << 14)
    monkeypatch.setattr(module, "CHUNK", 2)
    scanned = []
    scan = module.Scanner.scan_padded
    monkeypatch.setattr(module.Scanner, "scan_padded", lambda self, text: scanned.append(1) or scan(self, text))
    build_store([dump], killed / "store", ExtractSettings(), killed / "work")
    again = len(scanned)
    build_store([dump], whole / "store", ExtractSettings(), whole / "work")
    assert again <= len(scanned) - again - 2 * len(kept) + 2
    assert files_of(killed / "store") == files_of(whole / "store")
    assert not list(killed.glob("work/*"))
