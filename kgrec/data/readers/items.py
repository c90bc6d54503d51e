"""An item file says what the items of a rating set are. It can be read on its own, without the ratings.

========================  =============================================================================
format                    file
========================  =============================================================================
movielens                 ``movies.dat``
ml-100k                   ``u.item``
movielens-csv             ``movies.csv``, with IMDb ids where ``links.csv`` stands beside it
recbole                   ``<name>.item``
kgat                      ``item_list.txt``, which has no titles
the stage interactions'   ``items.parquet``
table                     any other ``.csv``, ``.tsv`` or ``.parquet`` with the columns ``item_id, title``
========================  =============================================================================
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.data.io import read_parquet
from kgrec.data.readers import kgat, ml_100k, movielens, movielens_csv, recbole, table
from kgrec.data.readers.base import Reading, ReadSettings
from kgrec.data.readers.files import SourceFile, list_files
from kgrec.data.schemas import ITEMS
from kgrec.errors import DataError

_FORMATS: tuple[ModuleType, ...] = (movielens, ml_100k, movielens_csv, recbole, kgat)
_TABLES = (".csv", ".tsv", ".parquet", ".pq")
_WANTED = "movies.dat, u.item, movies.csv, <name>.item, item_list.txt, items.parquet, or a table with item_id and title"


def read_items(path: Path | str, settings: ReadSettings | None = None) -> pa.Table:
    """The items of an item file, a folder or zip archive with one in it; plain or gzipped.

    :returns: schema ``ITEMS``, in file order; item ids are distinct
    :raises DataError: if there is no item file, or more than one, or it is damaged or malformed
    """
    path = Path(path)
    reading = Reading(settings or ReadSettings())
    if path.is_dir() or path.suffix.lower() == ".zip":
        files = list_files(path)
    elif path.is_file():
        beside = [one for one in (path.with_name(movielens_csv.LINKS),) if path.name == "movies.csv" and one.exists()]
        files = {one.name.removesuffix(".gz"): SourceFile(one.name.removesuffix(".gz"), one) for one in (path, *beside)}
    else:
        raise DataError(f"no such file or folder; give an item file: {_WANTED}", path=path)
    if "items.parquet" in files and files["items.parquet"].member is None:
        own = files["items.parquet"].path
        if set(ITEMS.names) <= set(_columns(own)):
            return _distinct(read_parquet(own, ITEMS), own)
    fitting = [module for module in _FORMATS if module.has_items(files.keys())]
    tables = [file for name, file in sorted(files.items()) if name.endswith(_TABLES)]
    if len(fitting) == 1:
        items: pa.Table = fitting[0].read_items(files, reading)
        return items
    if fitting or len(tables) != 1:
        found = ", ".join(sorted(files)[:8]) or "nothing"
        raise DataError(f"holds {found}; give one item file: {_WANTED}", path=path)
    return _table(tables[0], reading)


def _table(file: SourceFile, reading: Reading) -> pa.Table:
    """A table with the columns that ``interactions.table`` names; a text file's delimiter is the header's."""
    with file.open() as stream:
        head = stream.readline() if file.name.endswith(_TABLES[:2]) else b""
    columns = reading.settings.table
    changes = {"items": file.name, "delimiter": "\t" if b"\t" in head else columns.delimiter}
    settings = reading.settings.model_copy(update={"table": columns.model_copy(update=changes)})
    return table.read_items({file.name: file}, Reading(settings))


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"cannot be read as Parquet ({error})", path=path) from error


def _distinct(items: pa.Table, path: Path) -> pa.Table:
    if len(items["item_id"].unique()) < items.num_rows or items["item_id"].null_count:
        raise DataError("has an item twice, or one without an id", path=path)
    return items
