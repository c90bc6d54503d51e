"""A profile is what a knowledge base says of an entity that can tell it from others: names, years, types, ids, people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kgrec.errors import DataError
from kgrec.kg.ids import normalise_entity
from kgrec.kg.linking.blocking import BlockingSettings, candidate_pairs
from kgrec.kg.linking.works import opened, prepare
from kgrec.kg.sql import query_sql, run_sql
from kgrec.kg.store import ExtractSettings, build_store

_strings = pa.list_(pa.string())

#: one row per entity; list columns are empty, never null, where nothing is known
PROFILES = pa.schema(
    [
        ("entity_id", pa.string()),
        ("name", pa.string()),  # in the preferred language where it has one; null without a name
        ("names", _strings),  # all names and aliases, distinct, ``name`` first
        ("types", _strings),
        ("years", pa.list_(pa.int16())),  # of its dates, ascending
        ("imdb_id", _strings), ("tmdb_id", _strings), ("isbn", _strings), ("asin", _strings),
        ("director", _strings), ("writer", _strings), ("actor", _strings),  # names; the authors of a book are writers
        ("degree", pa.int64()),  # facts with the entity at an end; null where unknown
    ]
)  # fmt: skip

#: columns of a table of entities by the column of PROFILES they fill, beside the column itself
_ALSO = {"type": "types", "year": "years", "author": "writer", "alias": "names", "aliases": "names", "title": "name"}
_TABLES = (".parquet", ".csv", ".tsv")


def entity_profiles(
    connection: duckdb.DuckDBPyConnection, languages: Sequence[str] = ("en",), source: str = "link_candidates"
) -> pa.Table:
    """Profiles of the entities in the table ``source(entity)``, from the views of a store.

    What is read grows with the entities asked for; the store is scanned a fixed number of times.

    :param connection: with the views and functions of ``kgrec.kg.store.open_store``
    :param languages: of ``name`` and of people's names, best first; names and aliases come in all languages
    :return: schema ``PROFILES``, sorted by ``entity_id``; entities of which the store says nothing are left out
    """
    prepare(connection, languages)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW link_asked AS SELECT DISTINCT entity FROM {source}")
    for name in ("link_near", "link_people", "link_ids"):
        run_sql(connection, name)
    return query_sql(connection, "link_profiles").cast(PROFILES)


def read_profiles(
    path: Path,
    entities: Collection[str] = (),
    items: pa.Table | None = None,
    types: tuple[str, ...] = (),
    languages: Sequence[str] = ("en",),
) -> pa.Table:
    """Profiles from a table of entities, a store, or an RDF dump.

    A table (CSV, TSV or Parquet) has a column ``entity_id``, and of ``name, names, type, year, imdb_id, director …`` what is
    known; several values of one column stand with ``|`` between. It is read whole. Of a store or dump come the ``entities``,
    and whatever shares a blocking key with ``items`` and has one of ``types``.

    :param items: schema ITEMS
    :raises DataError: if the path is missing, or a table has no ``entity_id`` or no name
    """
    path = Path(path)
    if not path.exists():
        raise DataError("no such file or folder; give a table of entities, a store, or an RDF dump", path=path)
    if path.suffix in _TABLES:
        return _read_table(path)
    if path.is_dir():
        return _read_store(path, entities, items, types, languages)
    with TemporaryDirectory(prefix="kgrec.store.") as folder:
        build_store([path], Path(folder) / "store", ExtractSettings(languages=tuple(languages)))
        return _read_store(Path(folder) / "store", entities, items, types, languages)


def _read_store(
    folder: Path, entities: Collection[str], items: pa.Table | None, types: tuple[str, ...], languages: Sequence[str]
) -> pa.Table:
    with opened(folder) as connection:
        connection.register("link_named", pa.table({"id": pa.array(sorted(set(entities)), pa.string())}))
        connection.execute("CREATE TEMP TABLE link_wished AS SELECT code(id) AS entity FROM link_named ORDER BY entity")
        if items is not None:
            candidate_pairs(connection, items, types, BlockingSettings())
            connection.execute("INSERT INTO link_wished SELECT DISTINCT entity FROM link_candidates")
        return entity_profiles(connection, languages, "link_wished")


def _read_table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            names = pa.csv.open_csv(path, parse_options=_delimited(path)).schema.names
            text = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
            table = pa.csv.read_csv(path, parse_options=_delimited(path), convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"cannot be read as a table of entities ({error})", path=path) from None
    if "entity_id" not in table.column_names or not {"name", "names", "title"} & set(table.column_names):
        raise DataError(f"has no entity_id or no name; it has {', '.join(table.column_names)}", path=path)
    rows = [_profile({key: value for key, value in row.items() if value not in (None, "")}, path, number)
            for number, row in enumerate(table.to_pylist(), start=1 if path.suffix == ".parquet" else 2)]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PROFILES)


def _profile(row: dict[str, Any], path: Path, line: int) -> dict[str, Any]:
    """One row of a table as one of ``PROFILES``."""
    if "entity_id" not in row:
        raise DataError("has no entity_id", path=path, line=line)
    told: dict[str, list[Any]] = {}
    for key, value in row.items():
        values = value if isinstance(value, list) else [value] if key in ("name", "title") else str(value).split("|")
        told.setdefault(_ALSO.get(key, key), []).extend(one for one in values if one not in (None, ""))
    try:
        years = sorted({int(str(year)[:4]) for year in told.get("years", ())})
        degree = int(told["degree"][0]) if told.get("degree") else None
    except ValueError:
        raise DataError("has a year or degree that is no number", path=path, line=line) from None
    names = list(dict.fromkeys(str(name) for key in ("name", "names") for name in told.get(key, ())))
    texts = {
        one.name: [str(value) for value in told.get(one.name, ())]
        for one in PROFILES
        if one.type == _strings and one.name != "names"
    }
    one = {"entity_id": normalise_entity(str(row["entity_id"])), "name": names[0] if names else None}
    return {**one, "names": names, "years": years, "degree": degree, **texts}


def _delimited(path: Path) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True)
