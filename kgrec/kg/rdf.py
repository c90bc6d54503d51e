"""An RDF dump is a gzip file of lines ``<subject>\\t<predicate>\\t<object>\\t.``, read once into a compact store.

The store has three Parquet tables, all strings: ``facts(s, p, o)`` between resources, ``types(s, o)``, and
``labels(s, kind, o)`` with names and descriptions as literals the way the dump writes them (``"Alien"@en``). Freebase
URIs lose their namespace (``m.0dyb1``, ``film.film.genre``); other URIs lose their angle brackets. All other literals
(dates, keys, numbers) are dropped and counted. Memory is bounded by a few blocks of 32 MB, however big the dump is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from isal import igzip_lib, igzip_threaded

from kgrec.errors import DataError
from kgrec.kg.ids import FREEBASE
from kgrec.progress import item_progress

NAMES = ("type.object.name", "http://www.w3.org/2000/01/rdf-schema#label")
DESCRIPTIONS = (
    "common.topic.description", "http://www.w3.org/2000/01/rdf-schema#comment", "http://dbpedia.org/ontology/abstract",
)  # fmt: skip
TYPES = ("type.object.type", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type")

FACTS_SCHEMA = pa.schema([("s", pa.string()), ("p", pa.string()), ("o", pa.string())])
TYPES_SCHEMA = pa.schema([("s", pa.string()), ("o", pa.string())])
LABELS_SCHEMA = pa.schema([("s", pa.string()), ("kind", pa.string()), ("o", pa.string())])

BLOCK = 1 << 25
_FIRST_MALFORMED = 10
_COLUMNS = ("s", "p", "o", "dot")


class Store:
    """The three tables of a dump, written block by block to ``folder``; a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.facts, self.types, self.labels = (folder / f"{name}.parquet" for name in ("facts", "types", "labels"))
        self._writers: dict[Path, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Store:
        for path, schema in ((self.facts, FACTS_SCHEMA), (self.types, TYPES_SCHEMA), (self.labels, LABELS_SCHEMA)):
            self._writers[path] = self._stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, path: Path, table: pa.Table) -> int:
        """Append ``table`` to one of the three files; returns its rows."""
        if table.num_rows:
            self._writers[path].write_table(table)
        return table.num_rows


def scan_dump(path: Path, store: Store, deny: Sequence[str], max_malformed: float = 0.01) -> dict[str, Any]:
    """Append the dump at ``path`` to ``store``.

    :param deny: glob patterns of predicates whose facts are left out (names, descriptions and types are kept beside)
    :param max_malformed: share of malformed lines above which the file is refused
    :return: counts of ``lines, facts, types, labels, literals, denied, malformed`` and ``first_malformed``, a list of
        ``[line, reason]``
    :raises DataError: if the file is not gzip, is truncated or damaged, or has too many malformed lines
    """
    counts: Counter[str] = Counter()
    first_malformed: list[list[Any]] = []
    denied: dict[str, bool] = {}
    with item_progress(f"reading {path.name}", path.stat().st_size / 1e6, "MB") as bar:
        done = 0.0
        for offset, block, position in _blocks(path):
            table, malformed, lines = _parse(block)
            counts["lines"] += lines
            counts["malformed"] += len(malformed)
            first_malformed += [
                [offset + line, why] for line, why in malformed[: _FIRST_MALFORMED - len(first_malformed)]
            ]
            _store_block(table, store, deny, denied, counts)
            bar.advance(position / 1e6 - done)
            done = position / 1e6
            if counts["malformed"] > max_malformed * counts["lines"] and counts["lines"] > 10_000:
                break
    if counts["malformed"] > max_malformed * counts["lines"]:
        line, why = first_malformed[0]
        raise DataError(
            f"{why}; {counts['malformed']} of the first {counts['lines']} lines are not <s>\\t<p>\\t<o>\\t. "
            f"(kg.max_malformed allows {max_malformed:.1%})",
            path=path, line=line,
        )  # fmt: skip
    names = ("lines", "facts", "types", "labels", "literals", "denied", "malformed")
    return {name: counts[name] for name in names} | {"first_malformed": first_malformed}


_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.S)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}


def unescape(literal: str) -> str:
    """The text of an N-Triples literal: without quotes, language or datatype, its escapes resolved."""

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _CONTROL.get(match[3], match[3])
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\N{REPLACEMENT CHARACTER}"

    text = _ESCAPE.sub(character, literal[1 : literal.rindex('"')])
    # a pair of \u escapes may stand for one character beyond U+FFFF
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _blocks(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """``(lines before, block of whole lines, compressed bytes read)`` through the gzip file at ``path``."""
    with open(path, "rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raise DataError("is not a gzip file; give the RDF dump as published (.gz)", path=path)
        raw.seek(0)
        lines, rest = 0, b""
        try:
            with igzip_threaded.open(raw, "rb", threads=1) as stream:
                while chunk := stream.read(BLOCK):
                    chunk = rest + chunk
                    cut = chunk.rfind(b"\n") + 1
                    if not cut and len(chunk) >= 2 * BLOCK:
                        raise DataError(
                            "has a line of more than 64 MB; is this an RDF dump?", path=path, line=lines + 1
                        )
                    block, rest = chunk[:cut], chunk[cut:]
                    if block:
                        yield lines, block, raw.tell()
                        lines += block.count(b"\n")
        except (EOFError, OSError, igzip_lib.IsalError) as error:  # type: ignore[misc]
            raise DataError(
                f"is truncated or damaged after {lines:,} lines ({error}); fetch it again", path=path
            ) from None
        if rest:
            yield lines, rest + b"\n", raw.tell()


def _parse(block: bytes) -> tuple[pa.Table, list[tuple[int, str]], int]:
    """``(well-formed lines as string columns s, p, o; (1-based line, reason) of the others; number of lines)``."""
    lines = block.count(b"\n")
    ragged = False

    def note(row: Any) -> str:
        nonlocal ragged
        ragged = True
        return "skip"

    numbers = None
    bad: list[tuple[int, str]] = []
    try:
        table = _read(block, note)
    except pa.ArrowInvalid:
        ragged = True
    if ragged:
        block, numbers, bad = _repair(block)
        table = _read(block, lambda row: "error")
    s, p, o, dot = (column.combine_chunks() for column in table.columns)
    resource = pc.or_(pc.starts_with(s, "<"), pc.starts_with(s, "_:"))
    value = pc.or_(pc.starts_with(o, '"'), pc.or_(pc.ends_with(o, ">"), pc.starts_with(o, "_:")))
    good = pc.and_(pc.and_(resource, pc.starts_with(p, "<")), pc.and_(value, pc.equal(dot, ".")))
    if not pc.all(good, min_count=0).as_py():
        rows = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
        bad += [(int(row + 1 if numbers is None else numbers[row]), "is not a statement") for row in rows]
        s, p, o = (column.filter(good) for column in (s, p, o))
    return pa.table({"s": _strip(s), "p": _strip(p), "o": _strip(o)}), sorted(bad), lines


def _read(block: bytes, invalid: Any) -> pa.Table:
    if not block:
        return pa.table({name: pa.array([], pa.string()) for name in _COLUMNS})
    return pa.csv.read_csv(
        pa.BufferReader(block),
        read_options=pa.csv.ReadOptions(column_names=list(_COLUMNS), block_size=BLOCK // 4),
        parse_options=pa.csv.ParseOptions(
            delimiter="\t", quote_char=False, ignore_empty_lines=False, invalid_row_handler=invalid
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(_COLUMNS, pa.string()), strings_can_be_null=False
        ),
    )


def _repair(block: bytes) -> tuple[bytes, list[int], list[tuple[int, str]]]:
    """The lines of four fields in UTF-8, their 1-based numbers, and ``(number, reason)`` of the lines left out."""
    kept, numbers, bad = [], [], []
    for number, line in enumerate(block[:-1].split(b"\n"), start=1):
        fields = line.count(b"\t") + 1
        if fields != 4 or len(line) > BLOCK // 8:
            bad.append((number, f"has {fields} tab-separated fields, expected 4"))
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            bad.append((number, "is not UTF-8"))
            continue
        kept.append(line + b"\n")
        numbers.append(number)
    return b"".join(kept), numbers, bad


def _strip(terms: pa.Array) -> pa.Array:
    """URIs without angle brackets and Freebase namespace; literals and blank nodes as they are."""
    prefix = f"<{FREEBASE}"
    raw = terms.cast(pa.binary())
    short, full = pc.binary_slice(raw, len(prefix), -1), pc.binary_slice(raw, 1, -1)
    stripped = pc.if_else(pc.starts_with(terms, prefix), short, pc.if_else(pc.starts_with(terms, "<"), full, raw))
    return stripped.cast(pa.string())


def _store_block(
    table: pa.Table, store: Store, deny: Sequence[str], denied: dict[str, bool], counts: Counter[str]
) -> None:
    """Send each line to the table it belongs to."""
    predicate = table["p"].combine_chunks().dictionary_encode()
    kinds = np.empty(len(predicate.dictionary), dtype=np.int8)
    for index, name in enumerate(predicate.dictionary.to_pylist()):
        if name not in denied:
            denied[name] = any(fnmatchcase(name, pattern) for pattern in deny)
        kinds[index] = (
            1 if name in NAMES else 2 if name in DESCRIPTIONS else 3 if name in TYPES else 4 if denied[name] else 0
        )
    kind = kinds[predicate.indices.to_numpy()] if len(predicate) else np.empty(0, dtype=np.int8)
    literal = pc.starts_with(table["o"], '"').combine_chunks().to_numpy(zero_copy_only=False).astype(bool)
    for code, label in ((1, "name"), (2, "description")):
        rows = table.filter(pa.array((kind == code) & literal))
        labels = pa.table({"s": rows["s"], "kind": pa.array([label] * rows.num_rows, pa.string()), "o": rows["o"]})
        counts["labels"] += store.write(store.labels, labels)
    counts["types"] += store.write(store.types, table.filter(pa.array((kind == 3) & ~literal)).select(["s", "o"]))
    open_types = np.array([not denied[name] for name in predicate.dictionary.to_pylist()], dtype=bool)
    allowed = open_types[predicate.indices.to_numpy()] if len(predicate) else np.empty(0, dtype=bool)
    counts["facts"] += store.write(store.facts, table.filter(pa.array(allowed & ~literal & (kind != 1) & (kind != 2))))
    counts["denied"] += int(((kind == 4) & ~literal).sum())
    counts["literals"] += int((literal & (kind != 1) & (kind != 2)).sum())
