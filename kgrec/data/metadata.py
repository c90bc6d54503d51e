"""Item metadata that lies beside the ratings: who made a film, where and in which language, and its ids elsewhere.

Three published files are known by name, in the ``texts`` role: ``omdb_metadata.jsonl.gz`` (one OMDb record per line,
with ``movie_id``), ``movies_extrainfos.dat.gz`` (``::``-separated, with plots) and ``links.csv`` (MovieLens id to
IMDb and TMDB id).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from kgrec.data.readers.base import Reading
from kgrec.data.readers.files import SourceFile
from kgrec.data.readers.movielens_csv import LINKS, read_cross_ids
from kgrec.data.schemas import ITEMS

OMDB, EXTRAINFOS = "omdb_metadata.jsonl", "movies_extrainfos.dat"

#: columns of items.parquet by OMDb field, for fields that list values
_OMDB_LISTS = {
    "Genre": "genre", "Director": "director", "Writer": "writer", "Actors": "actor", "Country": "country",
    "Language": "language",
}  # fmt: skip
_EXTRAINFOS_LISTS = {5: "genre", 6: "director", 7: "writer", 8: "actor"}
_ROLE = re.compile(r"\s*\([^()]*\)")

Known = dict[str, dict[str, Any]]


def add_metadata(items: pa.Table, files: Mapping[str, SourceFile], reading: Reading) -> pa.Table:
    """Fill what ``items`` does not say yet from the metadata files among ``files``.

    What the ratings say stays. Then ``links.csv`` is asked for the IMDb and TMDB ids, and OMDb before the extra infos for the
    rest.

    :param items: schema ``ITEMS``
    :raises DataError: if a metadata file is damaged or holds a malformed line
    """
    sources: list[Known] = []
    if LINKS in files:
        sources.append({item: dict(ids) for item, ids in read_cross_ids(files[LINKS], reading).items()})
    if OMDB in files:
        sources.append(_read_omdb(files[OMDB], reading))
    if EXTRAINFOS in files:
        sources.append(_read_extrainfos(files[EXTRAINFOS], reading))
    if not sources:
        return items
    ids = items["item_id"].to_pylist()
    arrays = []
    for one in ITEMS:
        values = items[one.name].to_pylist()
        for source in sources:
            values = [old or source.get(item, {}).get(one.name, old) for item, old in zip(ids, values, strict=True)]
        arrays.append(pa.array(values, one.type))
    return pa.table(arrays, schema=ITEMS)


def names(text: str | None) -> list[str]:
    """The distinct names of a comma-separated text, in order, without the role in parentheses behind a name."""
    found = (one.strip() for one in _ROLE.sub("", text or "").split(","))
    return list(dict.fromkeys(one for one in found if one and one != "N/A"))


def _read_omdb(file: SourceFile, reading: Reading) -> Known:
    known: Known = {}
    for line, text in _lines(file, reading):
        try:
            record = json.loads(text)
            item = str(record["movie_id"])
        except (ValueError, KeyError, TypeError):
            reading.reject(file, [line], ["malformed row, expected a JSON object with movie_id"], [text])
            continue
        values: dict[str, Any] = {column: names(record.get(field)) for field, column in _OMDB_LISTS.items()}
        year = re.match(r"\d{4}", record.get("Year") or "")
        key = re.fullmatch(r"(?:tt)?0*(\d+)", record.get("ml_imdbId") or record.get("imdbID") or "")
        values["year"] = int(year[0]) if year else None
        values["imdb_id"] = f"tt{key[1]:0>7}" if key else None
        known[item] = values
    return known


def _read_extrainfos(file: SourceFile, reading: Reading) -> Known:
    known: Known = {}
    for line, text in _lines(file, reading):
        parts = text.split("::")
        if len(parts) < 11:
            reading.reject(file, [line], ["malformed row, expected 11 values separated by '::'"], [text])
            continue
        known[parts[0]] = {column: names(parts[at]) for at, column in _EXTRAINFOS_LISTS.items()}
    return known


def _lines(file: SourceFile, reading: Reading) -> Iterable[tuple[int, str]]:
    """Numbered lines that are not blank; ends with an error if too many of them were rejected meanwhile."""
    total, before = 0, reading.rejects().num_rows
    for number, block in reading.lines(file):
        for at, text in enumerate(block.split("\n")):
            if text.strip():
                total += 1
                yield number + at, text
    if bad := reading.rejects().num_rows - before:
        reading.check_share(file, bad, total)
