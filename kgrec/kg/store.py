"""A store is what a knowledge graph is built from: RDF dumps read once into compact tables, entities as 64-bit codes.

::

    facts/*.parquet     s int64, p string (dictionary), o int64     facts between entities, repeats included
    types/*.parquet     s int64, o string (dictionary)              what kinds of thing an entity is
    literals/*.parquet  s int64, p string (dictionary), o string    names, aliases, descriptions, dates, keys, as N-Triples
    terms.parquet       code int64, term string                     ids of hashed codes (``kgrec.kg.codes``)
    ledger.parquet      source, line, reason, text                  lines left out because they are malformed
    manifest.json       what was read, with which settings, and counts

Blocks of 32 MB are scanned in parallel; ``CHUNK`` of them become one file of each table, a chunk. Finished chunks wait in a
work folder, so a run that was killed goes on behind its last one and ends with the same bytes. Memory holds two chunks
and a few blocks, however long the dump.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import duckdb
import fsspec.core
import numba as nb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.database import database_on_disk, quoted
from kgrec.data.io import PARQUET_OPTIONS, atomic_folder, read_json, write_json
from kgrec.errors import DataError
from kgrec.kg.codes import decode, encode
from kgrec.kg.dumps.blocks import SIZE, Block, open_blocks
from kgrec.kg.relations import spell_out
from kgrec.kg.scan import FACT, LABEL, LITERAL, NAME, TYPE, Rows, Scanner
from kgrec.kg.vocabulary import ALIASES, DESCRIPTIONS, LITERALS, NAMES, TYPES
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: raised when the same dump gives another store
FORMAT = 1
#: blocks of one chunk
CHUNK = 8
TABLES = ("facts", "types", "literals")
COUNTS = ("lines", "facts", "types", "literals", "denied", "literals_dropped", "blank", "malformed")

_NAME = pa.dictionary(pa.int32(), pa.string())


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


SCHEMAS = {
    "facts": _schema(s=pa.int64(), p=_NAME, o=pa.int64()),
    "types": _schema(s=pa.int64(), o=_NAME),
    "literals": _schema(s=pa.int64(), p=_NAME, o=pa.string()),
    "terms": _schema(code=pa.int64(), term=pa.string()),
    "ledger": _schema(line=pa.int64(), reason=pa.string(), text=pa.string()),
}
#: chosen for speed: subjects follow one another and shrink in a moment; objects and texts would take as long to pack as to scan,
#: and become a third and a half smaller
_OPTIONS: dict[str, dict[str, Any]] = {
    "facts": {
        "compression": {"s": "lz4", "p": "lz4", "o": "none"}, "use_dictionary": ["p"],
        "column_encoding": {"s": "BYTE_STREAM_SPLIT", "o": "PLAIN"},
    },
    "types": {"compression": "lz4", "use_dictionary": ["o"], "column_encoding": {"s": "BYTE_STREAM_SPLIT"}},
    "literals": {
        "compression": {"s": "lz4", "p": "lz4", "o": "none"}, "use_dictionary": ["p"],
        "column_encoding": {"s": "BYTE_STREAM_SPLIT", "o": "PLAIN"},
    },
    "terms": {"compression": "lz4", "use_dictionary": False},
    "ledger": {"compression": "lz4"},
}  # fmt: skip
_ENOUGH = 10_000
_SAMPLE = 1 << 20
#: settings that change no output
_NO_DIFFERENCE = ("dumps", "engine", "workers", "memory_gb", "max_malformed")


class ExtractSettings(Settings):
    """What of an RDF dump goes into the store."""

    dumps: tuple[str, ...] = ()
    """Dumps beside those in the kg folder: paths or URLs, read as a stream and not kept (``https://…``, ``s3://…``)."""

    deny: tuple[str, ...] = ("bookkeeping",)
    """Glob patterns of predicates whose facts are left out, or names of groups of ``kgrec.kg.relations``."""

    literals: tuple[str, ...] = ()
    """Glob patterns of further predicates whose literals are kept, beside names, aliases, dates and keys."""

    languages: tuple[str, ...] = ("en",)
    """Languages of descriptions that are kept; names and aliases are kept in all."""

    max_literal: int = Field(1 << 20, ge=100)
    """Bytes of the longest literal; a line with a longer one goes to the ledger."""

    max_malformed: float = Field(0.01, ge=0, le=1)
    """Share of malformed lines above which a dump is refused."""

    engine: Literal["threads", "ray"] = "threads"
    """``ray``: the dumps are read at once by the machines of a Ray cluster (extra ``ray``), with the same result."""

    workers: int = Field(2, ge=1)
    """Threads that scan; changes no output."""

    memory_gb: float = Field(1.0, gt=0)
    """Memory DuckDB may use before it works on disk; changes no output."""

    def use(self, predicate: str) -> int:
        """What a predicate is for, see ``kgrec.kg.scan``."""
        if predicate in NAMES or predicate in ALIASES:
            return NAME
        if predicate in DESCRIPTIONS:
            return LABEL
        if any(fnmatchcase(predicate, pattern) for pattern in (*LITERALS, *self.literals)):
            return LITERAL
        kept = not any(fnmatchcase(predicate, pattern) for pattern in spell_out(self.deny))
        return (FACT if kept else 0) | (TYPE if predicate in TYPES else 0)


#: names by which an RDF dump is found in a folder
DUMPS = (".gz", ".bz2", ".zst", ".nt", ".ttl", ".nq", ".trig", ".n3", ".rdf", ".owl", ".jsonld")
_TABLES = (".txt", ".kg", ".tsv", ".csv", ".json", ".jsonl")


def dump_files(folder: Path) -> list[Path]:
    """RDF dumps in ``folder``, sorted by path; packed tables of other graphs (``kg_final.txt.gz``) are none."""
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.is_file() and path.suffix in DUMPS and Path(path.stem).suffix not in _TABLES
    )


def build_store(
    dumps: Sequence[str | Path], out: Path, settings: ExtractSettings, work: Path | None = None
) -> dict[str, Any]:
    """Read ``dumps`` into the store ``out``. Nothing is written there before all is read.

    :param dumps: paths or URLs of RDF files; see ``kgrec.kg.dumps``
    :param work: folder of finished chunks, from which a run that was killed goes on; beside ``out`` if None
    :return: counts over all dumps, and per dump under ``sources``
    :raises DataError: if a dump is missing, damaged, or has too many malformed lines
    """
    out = Path(out)
    sources = [str(dump) for dump in dumps]
    work = Path(work) if work else out.parent / f".{out.name}.work"
    folder = work / _fingerprint(sources, settings)
    for leftover in out.parent.glob(f".{out.name}.*.part"):  # of a run that was killed while it put the chunks together
        shutil.rmtree(leftover)
    folder.mkdir(parents=True, exist_ok=True)
    if settings.engine == "ray":
        from kgrec.kg.dumps.ray_engine import extract_with_ray

        extract_with_ray(sources, folder, settings)
    else:
        for number, source in enumerate(sources):
            extract_source(source, folder / f"{number:03d}", settings)
    counts = _assemble(sources, folder, out, settings)
    shutil.rmtree(folder)
    log.info("extracted dumps", **{name: counts[name] for name in ("lines", "facts", "types", "literals", "malformed")})
    return counts


def extract_source(source: str, folder: Path, settings: ExtractSettings) -> None:
    """Write the missing chunks of one dump into ``folder``, and ``done.json`` at the end.

    :raises DataError: if the dump is damaged or has too many malformed lines; the chunks before stay
    """
    if (folder / "done.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.part"):
        shutil.rmtree(leftover)
    ready = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    chunks = 0
    for number in _scan_chunks(source, folder, settings, ready):
        chunks = number + 1
        _check_share(source, folder, settings, chunks, final=False)
    _check_share(source, folder, settings, chunks, final=True)
    write_json({"chunks": chunks}, folder / "done.json")


def _scan_chunks(source: str, folder: Path, settings: ExtractSettings, ready: Sequence[int]) -> Iterator[int]:
    """Scan ``source`` behind the chunks of ``ready`` that follow one another; yields the
    number of each chunk, in order, once it is on disk.
    """
    first = next(number for number in range(len(ready) + 1) if number not in ready)
    if first:
        log.info("goes on behind the last finished chunk", dump=source, chunk=first)
    yield from range(first)
    own = threading.local()
    room = threading.Semaphore(settings.workers + 1)

    def scan(block: Block) -> Rows:
        try:
            if not hasattr(own, "scanner"):
                own.scanner = Scanner(settings.use, settings.languages, settings.max_literal)
            return own.scanner.scan_padded(block.padded)
        finally:
            block.release()
            room.release()

    def write(number: int, scans: list[Future[Rows]]) -> int:
        if scans or not number:
            blocks = [scan.result() for scan in scans]
            _write_chunk(folder / f"{number:06d}", blocks)
            for rows in blocks:
                rows.release()
        return number

    with (
        ThreadPoolExecutor(settings.workers, thread_name_prefix="scan") as pool,
        item_progress(f"reading {Path(source).name}", None, "MB") as bar,
    ):
        number, done = first, 0.0
        scans: list[Future[Rows]] = []
        closed: list[tuple[int, list[Future[Rows]]]] = []
        writes: list[Future[int]] = []
        try:
            for block in open_blocks(source, block=SIZE, skip_blocks=first * CHUNK):
                block.lines = 0  # the scanners count
                bar.expect(block.total / 1e6 if block.total else None)
                bar.advance(block.position / 1e6 - done)
                done = block.position / 1e6
                if block.index // CHUNK != number:
                    while writes:  # at most one chunk waits while the next one fills
                        yield writes.pop(0).result()
                    closed.append((number, scans))
                    number, scans = block.index // CHUNK, []
                if number in ready:
                    block.release()
                else:
                    room.acquire()
                    scans.append(pool.submit(scan, block))
                if closed and all(scan.done() for scan in closed[0][1]):
                    writes.append(pool.submit(write, *closed.pop(0)))
            for last in (*closed, (number, scans)):
                writes.append(pool.submit(write, *last))
            for one in writes:
                yield one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_chunk(folder: Path, blocks: list[Rows]) -> None:
    """Write the tables of a chunk and ``counts.json``; the folder appears when it is whole."""
    counts: Counter[str] = Counter()
    for rows in blocks:
        counts.update(rows.counts)
    facts, predicates = _share_dictionary([(rows.facts, rows.predicates) for rows in blocks], "facts", "p")
    tables = {
        "facts": facts,
        "types": _share_dictionary([(rows.types, rows.kinds) for rows in blocks], "types", "o")[0],
        "literals": _share_dictionary([(rows.literals, rows.predicates) for rows in blocks], "literals", "p")[0],
        "terms": _together([rows.terms for rows in blocks], "terms"),
        "ledger": _ledger(blocks),
    }
    with atomic_folder(folder) as temporary:
        for name, table in tables.items():
            _write(table, temporary / f"{name}.parquet", name)
        told = {name: counts[name] for name in COUNTS} | {"terms": tables["terms"].num_rows, "predicates": predicates}
        write_json(told, temporary / "counts.json")


def _write(table: pa.Table, path: Path, name: str) -> None:
    pq.write_table(
        table.cast(SCHEMAS[name]), path, version="2.6", row_group_size=1 << 20, write_statistics=False, **_OPTIONS[name]
    )


def _share_dictionary(
    tables: list[tuple[pa.Table, list[str]]], name: str, column: str
) -> tuple[pa.Table, dict[str, int]]:
    """One table whose ``column``, numbers into each block's names, has one sorted dictionary of those that occur; how often."""
    numbers = [table[column].combine_chunks().to_numpy() for table, _ in tables]
    found: Counter[str] = Counter()
    for (_, known), one in zip(tables, numbers, strict=True):
        times = _count(one, len(known))
        found.update({known[i]: int(times[i]) for i in np.flatnonzero(times)})
    place = {text: i for i, text in enumerate(sorted(found))}
    dictionary = pa.array(list(place), pa.string())
    shared = []
    for (table, known), one in zip(tables, numbers, strict=True):
        turn = np.array([place.get(text, 0) for text in known], dtype=np.int32)
        coded = pa.DictionaryArray.from_arrays(pa.array(_turned(one, turn)), dictionary)
        shared.append(table.set_column(table.schema.get_field_index(column), column, coded))
    return _together(shared, name), {text: found[text] for text in place}


@nb.njit(cache=True, nogil=True)
def _count(numbers: Any, most: int) -> Any:
    times = np.zeros(most, dtype=np.int64)
    for number in numbers:
        times[number] += 1
    return times


@nb.njit(cache=True, nogil=True)
def _turned(numbers: Any, turn: Any) -> Any:
    out = np.empty_like(numbers)
    for row in range(len(numbers)):
        out[row] = turn[numbers[row]]
    return out


def _ledger(blocks: list[Rows]) -> pa.Table:
    """Malformed lines of a chunk, 1-based in the chunk."""
    before, tables = 1, []
    for rows in blocks:
        table = rows.malformed
        tables.append(table.set_column(0, "line", pa.array(table["line"].to_numpy() + before)))
        before += rows.lines
    return _together(tables, "ledger")


def _together(tables: list[pa.Table], name: str) -> pa.Table:
    return pa.concat_tables(tables) if tables else SCHEMAS[name].empty_table()


def _check_share(source: str, folder: Path, settings: ExtractSettings, chunks: int, final: bool) -> None:
    """Refuse a dump of whose first ``chunks`` chunks too many lines are malformed."""
    counts = [read_json(folder / f"{number:06d}" / "counts.json") for number in range(chunks)]
    lines, malformed = (sum(count[name] for count in counts) for name in ("lines", "malformed"))
    if malformed <= settings.max_malformed * lines or (lines < _ENOUGH and not final):
        return
    before = 0
    for number, count in enumerate(counts):
        if count["malformed"]:
            row = pq.read_table(folder / f"{number:06d}" / "ledger.parquet").slice(0, 1).to_pylist()[0]
            raise DataError(
                f"{row['reason']}: {row['text'][:80]!r}; {malformed:,} of the first {lines:,} lines are no N-Triples "
                f"(extract.max_malformed allows {settings.max_malformed:.1%})",
                path=source, line=before + row["line"],
            )  # fmt: skip
        before += count["lines"]


def _assemble(sources: list[str], folder: Path, out: Path, settings: ExtractSettings) -> dict[str, Any]:
    """Put the chunks of all dumps together as ``out``; the chunks stay until that is done."""
    per_source: dict[str, dict[str, int]] = {}
    predicates: Counter[str] = Counter()
    ledgers: list[pa.Table] = []
    with atomic_folder(out) as temporary:
        for name in TABLES:
            (temporary / name).mkdir()
        terms: list[Path] = []
        for index, source in enumerate(sources):
            total: Counter[str] = Counter()
            for chunk in sorted(path for path in (folder / f"{index:03d}").iterdir() if path.is_dir()):
                count = read_json(chunk / "counts.json")
                for name in TABLES:
                    if count[name]:
                        _link(chunk / f"{name}.parquet", temporary / name / f"{index:03d}-{chunk.name}.parquet")
                if count["malformed"]:
                    ledger = pq.read_table(chunk / "ledger.parquet")
                    ledger = ledger.set_column(0, "line", pa.array(ledger["line"].to_numpy() + total["lines"]))
                    names = pa.array([Path(source).name] * ledger.num_rows, pa.string())
                    ledgers.append(ledger.add_column(0, "source", names))
                if count.pop("terms"):
                    terms.append(chunk / "terms.parquet")
                predicates.update(count.pop("predicates"))
                total.update(count)
            name = Path(source).name
            per_source[f"{name} ({index + 1})" if name in per_source else name] = {one: total[one] for one in COUNTS}
        for name in TABLES:
            if not any((temporary / name).iterdir()):
                _write(SCHEMAS[name].empty_table(), temporary / name / "none.parquet", name)
        _write_terms(terms, temporary / "terms.parquet", settings)
        schema = pa.schema([pa.field("source", pa.string(), nullable=False), *SCHEMAS["ledger"]])
        ledger = pa.concat_tables([schema.empty_table(), *(one.cast(schema) for one in ledgers)])
        pq.write_table(ledger, temporary / "ledger.parquet", **PARQUET_OPTIONS)
        counts: dict[str, Any] = {name: sum(one[name] for one in per_source.values()) for name in COUNTS}
        counts |= {"predicates": len(predicates), "sources": per_source}
        options = settings.model_dump(mode="json", exclude=set(_NO_DIFFERENCE))
        write_json(
            {"format": FORMAT, "counts": counts, "settings": options, "facts_by_predicate": dict(predicates)},
            temporary / "manifest.json",
        )
    return counts


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_terms(parts: list[Path], path: Path, settings: ExtractSettings) -> None:
    """Write the distinct terms. :raises DataError: if two have one code"""
    if not parts:
        _write(SCHEMAS["terms"].empty_table(), path, "terms")
        return
    with database_on_disk(path, settings.memory_gb) as (connection, _):
        files = ", ".join(quoted(part) for part in parts)
        connection.execute(f"CREATE TABLE terms AS SELECT DISTINCT code, term FROM read_parquet([{files}])")
        twice = connection.execute(
            "SELECT list_sort(list(term)) FROM terms GROUP BY code HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
        ).fetchall()
        if twice:
            raise DataError(f"has two ids with one 63-bit code, {twice[0][0]}; leave one out of the dump", path=path)
        with pq.ParquetWriter(path, SCHEMAS["terms"], **PARQUET_OPTIONS) as writer:
            for batch in connection.sql("SELECT code, term FROM terms ORDER BY code").to_arrow_reader(1 << 20):
                writer.write_table(pa.Table.from_batches([batch]).cast(SCHEMAS["terms"]))


def _fingerprint(sources: list[str], settings: ExtractSettings) -> str:
    """Names the folder of finished chunks: equal for equal dumps and settings."""
    told = {
        "format": FORMAT, "chunk": CHUNK, "block": SIZE,
        "settings": settings.model_dump(mode="json", exclude=set(_NO_DIFFERENCE)),
        "deny": sorted(spell_out(settings.deny)),
        "vocabulary": [NAMES, ALIASES, DESCRIPTIONS, TYPES, LITERALS],
        "sources": [_identity(source) for source in sources],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _identity(source: str) -> list[Any]:
    """Name and size of a file, and what tells it from another of that size: a sample of its bytes, or the server's tag."""
    try:
        system, path = fsspec.core.url_to_fs(source)
        info = system.info(path)
        size = info.get("size")
        if isinstance(system, LocalFileSystem):
            digest = hashlib.sha256()
            with open(path, "rb") as stream:
                for place in (0, size // 2, max(size - _SAMPLE, 0)):
                    stream.seek(place)
                    digest.update(stream.read(_SAMPLE))
            return [Path(source).name, size, digest.hexdigest()]
        tag = next((str(info[key]) for key in ("ETag", "etag", "mtime", "LastModified", "md5") if info.get(key)), "")
        return [source, size, tag]
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"cannot be opened ({error or type(error).__name__})", path=source) from None


def open_store(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the views ``facts``, ``types``, ``literals``, ``terms`` and the functions ``node`` and ``code``.

    ``node(BIGINT)`` is the id of a code, NULL for one the store does not know; ``code(VARCHAR)`` is the way back.
    A connection with these functions should be closed (``with duckdb.connect() as connection``).

    :raises DataError: if ``folder`` is no store, or one of another format
    """
    folder = Path(folder)
    if not (folder / "manifest.json").exists():
        raise DataError("is no store; run the extract stage first", path=folder)
    if read_json(folder / "manifest.json").get("format") != FORMAT:
        raise DataError("was written by another version of kgrec; run the extract stage again", path=folder)
    for name in TABLES:
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({quoted(folder / name / '*.parquet')})")
    connection.execute(f"CREATE VIEW terms AS SELECT * FROM read_parquet({quoted(folder / 'terms.parquet')})")
    connection.create_function("arithmetic_node", _nodes, ["BIGINT"], "VARCHAR", type="arrow")  # type: ignore[call-overload]
    connection.create_function("code", _codes, ["VARCHAR"], "BIGINT", type="arrow")  # type: ignore[call-overload]
    connection.execute(
        "CREATE MACRO node(x) AS CASE WHEN x >= 0 THEN arithmetic_node(x) ELSE (SELECT term FROM terms WHERE code = x) END"
    )


def _nodes(codes: pa.ChunkedArray) -> pa.Array:
    numbers = codes.to_numpy()
    offsets, text = decode(numbers)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def _codes(ids: pa.ChunkedArray) -> pa.Array:
    return pa.array(encode(ids.to_pylist()))
