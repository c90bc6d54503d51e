"""Interactions are who liked what, as the data set of an experiment defines it: threshold, merged items, k-core."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from kgrec.data.io import write_parquet
from kgrec.data.metadata import add_metadata
from kgrec.data.readers import REJECTS, Reading, ReadSettings, list_files, read_ratings
from kgrec.data.readers.base import items_table, users_table
from kgrec.data.schemas import INTERACTIONS, ITEMS
from kgrec.errors import ConfigError, DataError
from kgrec.progress import get_logger

log = get_logger(__name__)

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class InteractionsSettings(ReadSettings):
    """Which ratings count as interactions."""

    min_rating: float | None = 3
    """Lowest rating that counts, inclusive; null keeps all, as sets without ratings need."""
    user_min: int = Field(default=0, ge=0)
    """Fewest interactions a user must have (k-core); 0 keeps all."""
    item_min: int = Field(default=0, ge=0)
    """Fewest interactions an item must have (k-core); 0 keeps all."""
    duplicates: dict[str, str] = Field(default_factory=dict)
    """Item ids to merge into another one: ``{"1795": "1741"}`` counts every rating of 1795 as one of 1741."""


def build_interactions(ratings: Path, texts: Path, out: Path, settings: InteractionsSettings) -> dict[str, Any]:
    """Read a rating set and write the interactions, items and users of the experiment.

    In this order: items of ``duplicates`` are merged; of several ratings of one item by one user the latest stays (on
    equal or unknown times the last line; the others go to the ledger); ratings below ``min_rating`` are dropped; the
    k-core is taken. All items and users of the source are written, also those without an interaction left.

    :param ratings: folder with the files as published, packed or not
    :param texts: folder that may hold item metadata (``kgrec.data.metadata``)
    :param out: folder that gets interactions (sorted by user, item), items, users and ledger ``.parquet``
    :returns: counts, also of what was left out and why
    :raises DataError: if a file is missing, damaged or malformed, or no interaction is left
    :raises ConfigError: if a setting contradicts the data
    """
    reading = Reading(settings)
    name, data = read_ratings(ratings, reading)
    raw = data.interactions.combine_chunks()
    if settings.min_rating is not None and raw["rating"].null_count:
        raise ConfigError(f"interactions.min_rating: the {name} source has no ratings; set it to null")
    known = {*data.items["item_id"].to_pylist(), *raw["item_id"].unique().to_pylist()}
    merged = _resolve(settings.duplicates, known)
    user, user_ids = _codes(raw["user_id"])
    item, item_ids = _codes(raw["item_id"], merged)

    latest = latest_of_each(user, item, raw["timestamp"])
    kept: Mask = latest
    dropped = {"older_rating": int((~latest).sum())}
    if settings.min_rating is not None:
        high = pc.greater_equal(raw["rating"], settings.min_rating).to_numpy()
        dropped["below_min_rating"] = int((kept & ~high).sum())
        kept = kept & high
    core = k_core(user[kept], item[kept], settings.user_min, settings.item_min)
    dropped["outside_core"] = int((~core).sum())
    left = np.flatnonzero(kept)[core]
    if not len(left):
        raise DataError(
            f"none of {raw.num_rows} ratings is left; lower interactions.min_rating, user_min or item_min", path=ratings
        )

    left = left[np.lexsort((_ranks(item_ids)[item[left]], _ranks(user_ids)[user[left]]))]
    interactions = raw.select(INTERACTIONS.names).take(pa.array(left))
    interactions = interactions.set_column(1, INTERACTIONS.field("item_id"), item_ids.take(pa.array(item[left])))
    catalogue = data.items.filter(pc.invert(pc.is_in(data.items["item_id"], pa.array(list(merged), pa.string()))))
    unlisted = _unlisted(item_ids, catalogue["item_id"])
    items = pa.concat_tables([catalogue, items_table({"item_id": unlisted})])
    beside = Reading(settings.model_copy(update={"encoding": None}))
    items = add_metadata(items, list_files(texts), beside)
    users = pa.concat_tables([data.users, users_table({"user_id": _unlisted(user_ids, data.users["user_id"])})])
    rejects = pa.concat_tables([reading.rejects(), beside.rejects()])
    ledger = pa.concat_tables([rejects, _older(raw.filter(pa.array(~latest)))])

    write_parquet(interactions, out / "interactions.parquet")
    write_parquet(items, out / "items.parquet", sort_by=["item_id"])
    write_parquet(users, out / "users.parquet", sort_by=["user_id"])
    write_parquet(ledger, out / "ledger.parquet", sort_by=["file", "line"])

    n_users, n_items = (int(np.count_nonzero(np.bincount(one[left]))) for one in (user, item))
    log.info("built interactions", interactions=len(left), users=n_users, items=n_items)
    return {
        "format": name,
        "encodings": reading.encodings | beside.encodings,
        "ratings": raw.num_rows,
        "interactions": len(left),
        "users": n_users,
        "items": n_items,
        "sparsity": 1 - len(left) / (n_users * n_items),
        "catalogue": {"users": users.num_rows, "items": items.num_rows, "items_without_title": len(unlisted)},
        "merged_items": len(merged),
        "dropped": dropped,
        "rejected": dict(sorted(Counter(rejects["reason"].to_pylist()).items())),
        "items_with": {column: _filled(items[column]) for column in ITEMS.names[1:]},
        "imdb_ids_used_twice": sorted(
            key for key, count in Counter(items["imdb_id"].drop_null().to_pylist()).items() if count > 1
        ),
    }


def latest_of_each(user: Codes, item: Codes, timestamp: pa.ChunkedArray) -> Mask:
    """Mask of the latest row of each (user, item); on equal or unknown times the last row.

    :param user: shape (n,): user codes; ``item`` likewise
    :param timestamp: shape (n,): seconds, null where unknown (counts as earliest)
    """
    pair = user * (item.max(initial=0) + 1) + item
    if not (np.diff(np.sort(pair)) == 0).any():
        return np.ones(len(pair), dtype=bool)
    seconds = pc.fill_null(timestamp, np.iinfo(np.int64).min).to_numpy()
    order = np.lexsort((np.arange(len(pair)), seconds, pair))
    mask = np.zeros(len(pair), dtype=bool)
    mask[order[np.append(np.diff(pair[order]) != 0, True)]] = True
    return mask


def k_core(user: Codes, item: Codes, user_min: int, item_min: int) -> Mask:
    """Mask of the interactions left when users with fewer than ``user_min`` and items with fewer than ``item_min``
    interactions are taken out, again and again until every one left has enough.

    It counts all interactions, those that a split will later put into the test set too. It is therefore part of the
    data set's definition, as in the papers, and must not be read as something learnt from training data.

    :param user: shape (n,): user codes from 0; ``item`` likewise
    """
    kept = np.ones(len(user), dtype=bool)
    while True:
        users, items = np.bincount(user[kept]), np.bincount(item[kept])
        enough = (users[user[kept]] >= user_min) & (items[item[kept]] >= item_min)
        if enough.all():
            return kept
        kept[kept] = enough


def _codes(column: pa.ChunkedArray, merged: dict[str, str] | None = None) -> tuple[Codes, pa.Array]:
    """Integer code of each id and the ids by code, after ids were replaced as ``merged`` says."""
    encoded = pa.concat_arrays(column.chunks or [pa.array([], pa.string())]).dictionary_encode()
    codes, ids = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary
    if merged:
        again = pa.array([merged.get(one, one) for one in ids.to_pylist()], pa.string()).dictionary_encode()
        codes, ids = again.indices.to_numpy().astype(np.int64)[codes], again.dictionary
    return codes, ids


def _ranks(ids: pa.Array) -> Codes:
    """Place of each id in their order as strings."""
    return pc.rank(ids).to_numpy().astype(np.int64)


def _resolve(duplicates: dict[str, str], known: set[str]) -> dict[str, str]:
    """Follow chains of ``duplicates`` to their ends."""
    resolved = {}
    for one in duplicates:
        end, seen = one, {one}
        while end in duplicates:
            end = duplicates[end]
            if end in seen:
                raise ConfigError(f"interactions.duplicates: {one!r} is merged into itself; leave one direction out")
            seen.add(end)
        unknown = [item for item in (one, end) if item not in known]
        if unknown:
            raise ConfigError(f"interactions.duplicates: the source has no item {unknown[0]!r}; mend or drop the pair")
        resolved[one] = end
    return resolved


def _unlisted(ids: pa.Array, listed: pa.ChunkedArray) -> pa.Array:
    """Ids that are not listed."""
    return ids.filter(pc.invert(pc.is_in(ids, listed.combine_chunks())))


def _older(raw: pa.Table) -> pa.Table:
    """Ledger rows (schema ``REJECTS``) of ratings that a later one replaced."""
    parts = [pc.fill_null(pc.cast(raw[one], pa.string()), "") for one in INTERACTIONS.names]
    text = pc.binary_join_element_wise(*parts, "\t")
    reason = pa.array(["the user rated the item again later"] * raw.num_rows, pa.string())
    return pa.table([raw["file"].cast(pa.string()), raw["line"], reason, text], schema=REJECTS)


def _filled(column: pa.ChunkedArray) -> int:
    """Rows of a column that say something: not null, not an empty list."""
    if pa.types.is_list(column.type):
        return int(pc.sum(pc.greater(pc.list_value_length(column), 0)).as_py() or 0)
    return len(column) - column.null_count
