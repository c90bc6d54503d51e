"""MovieLens as CSV: ``ratings.csv``, ``movies.csv`` and ``links.csv``, as ml-20m, 25m, 32m and latest have."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.readers.base import (
    RAW_INTERACTIONS,
    RatingsData,
    Reading,
    Strings,
    imdb_ids,
    items_table,
    read_distinct,
    split_list,
)  # fmt: skip
from kgrec.data.readers.files import SourceFile, need
from kgrec.data.schemas import ITEMS

#: MovieLens id, IMDb id and TMDB id of each movie
LINKS = "links.csv"


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's."""
    return "ratings.csv" in names and "movies.csv" in names


def has_items(names: Collection[str]) -> bool:
    """Whether the item file of this format is there."""
    return "movies.csv" in names


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. Ratings lie in .5 to 5; there are no users."""
    ratings = reading.rows(need(files, "ratings.csv"), ",", quoted=True)
    interactions = [rows.interactions("userId", "movieId", rating_range=(0.5, 5)) for rows in ratings]
    return RatingsData(pa.concat_tables([RAW_INTERACTIONS.empty_table(), *interactions]), read_items(files, reading))


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read ``movies.csv`` alone, with the IMDb and TMDB ids of ``links.csv`` where that is there."""
    movies = reading.rows(need(files, "movies.csv"), ",", quoted=True)
    items = read_distinct(movies, "movieId", _items, ITEMS)
    if LINKS in files:
        known = read_cross_ids(files[LINKS], reading)
        for scheme in ("imdb_id", "tmdb_id"):
            ids = pa.array([known.get(item, {}).get(scheme) for item in items["item_id"].to_pylist()], pa.string())
            items = items.set_column(items.column_names.index(scheme), ITEMS.field(scheme), ids)
    return items


def _items(columns: Strings) -> pa.Table:
    genres = split_list(columns["genres"], "|")
    return items_table({"item_id": columns["movieId"], "title": columns["title"], "genre": genres})


def read_cross_ids(file: SourceFile, reading: Reading) -> dict[str, dict[str, str]]:
    """``imdb_id`` (``tt0114709``) and ``tmdb_id`` by item id, from MovieLens' ``links.csv``; what it lacks is left out."""
    found: dict[str, dict[str, str]] = {}
    for rows in reading.rows(file, ",", quoted=True):
        item = "movieId" if "movieId" in rows.columns else "movie_id"
        rows.need([item, "imdbId"])
        known = imdb_ids(rows.columns["imdbId"])
        rows.keep_good({"imdbId is not a number": pc.and_(pc.is_null(known), pc.not_equal(rows.columns["imdbId"], ""))})
        items = rows.columns[item].to_pylist()
        tmdb = rows.columns["tmdbId"].to_pylist() if "tmdbId" in rows.columns else [""] * len(items)
        for one, *ids in zip(items, imdb_ids(rows.columns["imdbId"]).to_pylist(), tmdb, strict=True):
            found[one] = {scheme: key for scheme, key in zip(("imdb_id", "tmdb_id"), ids, strict=True) if key}
    return found
