"""A link file says which entity an item is. Five published layouts are read into rows of ``(item, entity, score)``.

=========  =======================================================================================
method     layout
=========  =======================================================================================
kb4rec     KB4Rec: ``item<TAB>m.x`` without a header, CRLF or LF
recbole    RecBole atomic file: header ``item_id:token<TAB>entity_id:token``
kgat       KGAT ``item_list.txt``: header ``org_id remap_id freebase_id``
kgat       ``i2kg_map.txt``: header ``eid<TAB>pid<TAB>name<TAB>entity``
table      CSV or Parquet with columns ``item_id, entity_id`` and perhaps ``score, method, name``
=========  =======================================================================================
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.errors import DataError
from kgrec.kg.ids import normalise_entity

FORMATS = (
    "KB4Rec (item<TAB>m.x), RecBole .link, KGAT item_list.txt or i2kg_map.txt, CSV or Parquet with item_id,entity_id"
)


class Link(NamedTuple):
    """One row of a link file."""

    item_id: str
    entity_id: str
    method: str
    #: in [0, 1]; 1 where the file gives none
    score: float
    #: what the file calls the entity, empty where it does not
    name: str
    file: str
    #: 1-based; row number for Parquet
    line: int


def link_files(folder: Path) -> list[Path]:
    """The files of ``folder`` that may hold links, sorted by path. :raises DataError: if there is none"""
    if files := _candidates(folder):
        return files
    raise DataError(f"holds no link file; put one there, in one of these layouts: {FORMATS}", path=folder)


def has_files(folder: Path) -> bool:
    """Whether ``folder`` has a file that may hold links. :raises DataError: if there is no such folder"""
    if not folder.is_dir():
        raise DataError("no such folder; give one with link files, or none", path=folder)
    return bool(_candidates(folder))


def _candidates(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path.suffix != ".md")


def read_links(path: Path, method: str = "auto") -> Iterator[Link]:
    """Rows of one link file in file order, entity ids normalised. Rows without an entity are left out.

    :param method: ``auto`` looks at the first line; else one of ``kb4rec``, ``recbole``, ``kgat``, ``table``
    :raises DataError: if the layout is not known, or a line does not fit it
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            first = stream.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"is not UTF-8 text; expected one of: {FORMATS}", path=path, line=1) from None
    found = _detect(first)
    if found is None or method not in ("auto", found):
        wanted = FORMATS if method == "auto" else f"the {method} layout that link.formats asks for"
        raise DataError(f"starts with {first[:80]!r}, which is not {wanted}", path=path, line=1)
    return _text(path, first, found)


def _detect(first: str) -> str | None:
    names = [name.split(":")[0] for name in first.replace(",", "\t").split("\t")]
    if first.startswith("item_id:"):
        return "recbole"
    if first.split() == ["org_id", "remap_id", "freebase_id"] or names[:2] == ["eid", "pid"]:
        return "kgat"
    if {"item_id", "entity_id"} <= set(names):
        return "table"
    fields = first.split("\t")
    return "kb4rec" if len(fields) == 2 and normalise_entity(fields[1])[:2] in ("m.", "g.") else None


def _text(path: Path, first: str, method: str) -> Iterator[Link]:
    delimiter = "\t" if "\t" in first else ("," if "," in first else " ")
    names = ["item_id", "entity_id"] if method == "kb4rec" else [name.split(":")[0] for name in first.split(delimiter)]
    synonyms = {"org_id": "item_id", "pid": "item_id", "freebase_id": "entity_id", "entity": "entity_id"}
    names = [synonyms.get(name, name) for name in names] if method == "kgat" else names
    with open(path, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(
            stream, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        )
        try:
            for fields in reader:
                line = reader.line_num
                if not fields or (line == 1 and method != "kb4rec"):
                    continue
                if len(fields) != len(names):
                    raise DataError(
                        f"has {len(fields)} fields, expected {len(names)} ({', '.join(names)})", path=path, line=line
                    )
                row = dict(zip(names, fields, strict=True))
                link = _link(row, method, path, line)
                if link:
                    yield link
        except UnicodeDecodeError as error:
            raise DataError(f"is not UTF-8 text ({error.reason})", path=path) from None


def _parquet(path: Path) -> Iterator[Link]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"is not a Parquet file ({error})", path=path) from None
    if not {"item_id", "entity_id"} <= set(table.column_names):
        raise DataError(f"lacks item_id or entity_id; it has {', '.join(table.column_names)}", path=path)
    for number, row in enumerate(table.to_pylist(), start=1):
        link = _link({k: "" if v is None else str(v) for k, v in row.items()}, "table", path, number)
        if link:
            yield link


def _link(row: dict[str, str], method: str, path: Path, line: int) -> Link | None:
    item, entity = row["item_id"].strip(), normalise_entity(row["entity_id"])
    if not item:
        raise DataError("has no item id", path=path, line=line)
    if not entity:
        return None
    if method in ("kb4rec",) and entity[:2] not in ("m.", "g."):
        raise DataError(f"{row['entity_id']!r} is not a Freebase id such as m.0dyb1", path=path, line=line)
    try:
        score = float(row.get("score") or 1.0)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 1:
        raise DataError(f"score {row['score']!r} is not a number from 0 to 1", path=path, line=line)
    return Link(item, entity, row.get("method") or method, score, row.get("name", ""), path.name, line)
