"""Readers of published rating sets: one file per format, all giving interactions, items and users in one form."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from kgrec.data.readers import kgat, ml_100k, movielens, movielens_csv, recbole, table
from kgrec.data.readers.base import RAW_INTERACTIONS, REJECTS, RatingsData, Reading, ReadSettings, TableColumns
from kgrec.data.readers.files import SourceFile, list_files
from kgrec.errors import DataError

__all__ = [
    "RAW_INTERACTIONS", "READERS", "REJECTS", "RatingsData", "ReadSettings", "Reading", "SourceFile", "TableColumns",
    "list_files", "read_ratings",
]  # fmt: skip

#: format name to its module; each has ``recognise(names)`` and ``read(files, reading)``
READERS: dict[str, ModuleType] = {
    "movielens": movielens, "ml-100k": ml_100k, "movielens-csv": movielens_csv, "recbole": recbole, "kgat": kgat,
    "table": table,
}  # fmt: skip


def read_ratings(folder: Path | str, reading: Reading) -> tuple[str, RatingsData]:
    """Read the rating set in ``folder`` in the format the settings name, or the one its file names tell.

    :returns: the format and the data; rejected rows are in ``reading``
    :raises DataError: if the format cannot be told, a file is missing or damaged, or a row is malformed
    """
    files = list_files(folder)
    if not files:
        raise DataError("holds no files; give fetch.sources.ratings a source", path=folder)
    name: str = reading.settings.format
    if name == "auto":
        fitting = [one for one, module in READERS.items() if module.recognise(files.keys())]
        if len(fitting) != 1:
            found = f"fits {' and '.join(fitting)}" if fitting else "fits no known format"
            raise DataError(
                f"{found} by its file names ({', '.join(sorted(files)[:8])}); "
                f"set interactions.format to one of {', '.join(READERS)}",
                path=folder,
            )
        name = fitting[0]
    return name, READERS[name].read(files, reading)
