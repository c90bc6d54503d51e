"""A split says which interactions a model learns from (train), is chosen by (valid) and is judged by (test).

It is made once, before anything is learnt, and is part of every reported number: protocols differ by several points of
Recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from kgrec.config import Settings
from kgrec.data.io import read_parquet, write_json, write_parquet
from kgrec.data.schemas import INTERACTIONS, LINKS
from kgrec.errors import DataError
from kgrec.progress import get_logger

log = get_logger(__name__)

#: how the parts were made, beside them
PROTOCOL = "protocol.json"
#: part numbers of an assignment
PARTS = ("train", "valid", "test")

Ints = npt.NDArray[np.int64]


class SplitSettings(Settings):
    """The evaluation protocol's first half; the second is ``evaluate``."""

    method: Literal["random_per_user", "random_global", "leave_one_out", "temporal"] = "random_per_user"
    """``random_per_user``: each user's interactions at random by ``ratios``. ``random_global``: all interactions at
    random by ``ratios``. ``leave_one_out``: each user's last one is test, the one before valid. ``temporal``: in time
    order by ``ratios``."""
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, valid and test; taken relative to their sum."""
    seed: int = Field(default=42, ge=0)
    """Seed of the random orders, and of the order among equal timestamps."""
    linked_only: bool = True
    """Leave out interactions with items that no link row names."""
    temporal_by: Literal["user", "global"] = "user"
    """``temporal``: cut each user's own history, or the history of all at two moments."""
    leave_one_out_by: Literal["time", "random"] = "time"
    """``leave_one_out``: which interactions are the last ones; ``random`` for sources without timestamps."""

    @field_validator("ratios")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(0 < one < float("inf") for one in value):
            raise ValueError("must be three positive shares, such as [0.8, 0.1, 0.1]")
        return value

    @property
    def in_time(self) -> bool:
        """Whether the protocol orders interactions by time, and so needs timestamps."""
        return self.method == "temporal" or (self.method == "leave_one_out" and self.leave_one_out_by == "time")


def split_interactions(interactions: Path, links: Path, out: Path, settings: SplitSettings) -> dict[str, Any]:
    """Split interactions into train, valid and test.

    The parts are disjoint, hold every (linked) interaction once, and depend on the set of interactions, not on its
    order.

    :param interactions: Parquet, schema ``INTERACTIONS``
    :param links: Parquet, schema ``LINKS``; read only with ``linked_only``
    :param out: folder that gets train, valid and test ``.parquet`` (schema ``INTERACTIONS``, sorted by user, item) and
        ``protocol.json``, the settings, which travel with every number
    :returns: counts
    :raises DataError: if a part would be empty, or the method needs timestamps that are not there
    """
    table = read_parquet(interactions, INTERACTIONS)
    table = table.take(pa.array(np.lexsort((_ranks(table["item_id"]), _ranks(table["user_id"]))))).combine_chunks()
    unlinked: dict[str, int] = {}
    if settings.linked_only:
        linked = pc.is_in(table["item_id"], read_parquet(links, LINKS)["item_id"].combine_chunks())
        left_out, table = table.filter(pc.invert(linked)), table.filter(linked)
        unlinked = {"interactions": left_out.num_rows, "items": pc.count_distinct(left_out["item_id"]).as_py()}
    if table.num_rows == 0:
        raise DataError(
            "no interactions to split" + (", none of the items is linked" if unlinked else ""), path=interactions
        )

    timestamp = None if table["timestamp"].null_count else table["timestamp"].to_numpy()
    if timestamp is None and settings.in_time:
        raise DataError(
            f"split.method {settings.method} needs timestamps and {table['timestamp'].null_count} interactions "
            "have none; choose random_per_user, random_global, or leave_one_out with leave_one_out_by: random",
            path=interactions,
        )
    user = _ranks(table["user_id"])
    part = assign(user, timestamp, settings)
    tables = {name: table.filter(pa.array(part == number)) for number, name in enumerate(PARTS)}
    for name, one in tables.items():
        if one.num_rows == 0:
            raise DataError(
                f"the {name} part of split.method {settings.method} would be empty ({table.num_rows} interactions of "
                f"{user.max() + 1} users); change split.ratios, or keep more interactions",
                path=interactions,
            )
    for name, one in tables.items():
        write_parquet(one, out / f"{name}.parquet")
    write_json(settings.model_dump(mode="json"), out / PROTOCOL)

    users, items = int(user.max()) + 1, pc.count_distinct(table["item_id"]).as_py()
    counts = {name: one.num_rows for name, one in tables.items()}
    log.info("split interactions", method=settings.method, **counts)
    return {
        "method": settings.method,
        "interactions": table.num_rows,
        "users": users,
        "items": items,
        "sparsity": 1 - table.num_rows / (users * items),
        **counts,
        "unlinked": unlinked,
        "users_in": {name: pc.count_distinct(one["user_id"]).as_py() for name, one in tables.items()},
        "items_in": {name: pc.count_distinct(one["item_id"]).as_py() for name, one in tables.items()},
    }


def _ranks(column: pa.ChunkedArray) -> Ints:
    """Place of each value, from 0, in the order of the distinct strings of a column."""
    encoded = pa.concat_arrays([*column.chunks, pa.array([], column.type)]).dictionary_encode()
    place = pc.rank(encoded.dictionary).to_numpy().astype(np.int64) - 1
    return place[encoded.indices.to_numpy()]


def assign(user: Ints, timestamp: Ints | None, settings: SplitSettings) -> Ints:
    """Part of each interaction: 0 train, 1 valid, 2 test.

    :param user: shape (n,): user codes from 0, all of which occur
    :param timestamp: shape (n,): seconds; may be None where the settings do not need time
    """
    chance = np.random.default_rng(settings.seed).random(len(user))
    together = settings.method == "random_global" or (
        settings.method == "temporal" and settings.temporal_by == "global"
    )
    group = np.zeros_like(user) if together else user
    keys = (chance, timestamp, group) if settings.in_time and timestamp is not None else (chance, group)
    order = np.lexsort(keys)
    size = np.bincount(group)
    sizes = leave_one_out_sizes(size) if settings.method == "leave_one_out" else part_sizes(size, settings.ratios)
    place = np.arange(len(user)) - (np.cumsum(size) - size)[group[order]]
    ends = np.cumsum(sizes, axis=1)[group[order]]
    part = np.empty(len(user), dtype=np.int64)
    part[order] = (place >= ends[:, 0]).astype(np.int64) + (place >= ends[:, 1])
    return part


def part_sizes(n: Ints, ratios: Sequence[float]) -> Ints:
    """How many of each group's ``n`` interactions go to train, valid and test, by RecBole's rule.

    Valid and test get the floor of their share, train the rest. Then, test before valid, a part whose share lies
    between 0 and 1 is raised to 1, while train keeps more than one. So 1 gives 1/0/0, 2 gives 1/0/1, 3 gives 1/1/1 and
    10 gives 8/1/1.
    (RUCAIBox/RecBole@7b02be5, recbole/data/dataset/dataset.py:1600-1664)

    :param n: shape (groups,)
    :returns: shape (groups, 3)
    """
    total = sum(ratios)
    share = np.multiply.outer(np.asarray(n), [one / total for one in ratios])
    sizes = np.floor(share).astype(np.int64)
    sizes[:, 0] = n - sizes[:, 1] - sizes[:, 2]
    for part in (2, 1):
        raised = (sizes[:, 0] > 1) & (share[:, part] > 0) & (share[:, part] < 1)
        sizes[:, part] += raised
        sizes[:, 0] -= raised
    return sizes


def leave_one_out_sizes(n: Ints) -> Ints:
    """One test and one valid interaction per user, test first, while train keeps one: 1 gives 1/0/0, 2 gives 1/0/1.

    :param n: shape (users,)
    :returns: shape (users, 3)
    """
    test = (np.asarray(n) > 1).astype(np.int64)
    valid = (np.asarray(n) > 2).astype(np.int64)
    return np.stack([n - test - valid, valid, test], axis=1)
