"""A few users, from the least to the most active: what they had, what they are recommended, what of it was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.io import read_parquet
from kgrec.data.schemas import INTERACTIONS
from kgrec.serving.recommender import PublishedModel


@dataclass(frozen=True)
class Poster:
    """One item of a strip."""

    item_id: str
    title: str
    image: str | None
    """``data:`` URI, or None: a card with the title takes its place"""
    hit: bool = False
    """whether it is one of the user's test items"""
    note: str = ""

    @property
    def hue(self) -> int:
        """Colour of the card, the same for the same title. Degrees."""
        return sum(ord(letter) * (place + 7) for place, letter in enumerate(self.title)) % 360


@dataclass(frozen=True)
class Person:
    """One user as the page shows them."""

    user_id: str
    n_history: int
    n_test: int
    history: list[str]
    """item ids, newest first where times are known, else best rated first"""
    recommended: list[str]
    """item ids, best first"""
    hits: frozenset[str]
    """test items"""


def choose_people(split: Path, model: PublishedModel, n: int, k: int) -> list[Person]:
    """Choose ``n`` users with test items, evenly over their number of items in train and valid.

    :param split: folder of train, valid and test
    :param k: length of both lists
    :raises DataError: if a part of the split is missing
    """
    parts = {part: read_parquet(split / f"{part}.parquet", INTERACTIONS) for part in ("train", "valid", "test")}
    past = pa.concat_tables([parts["train"], parts["valid"]])
    counts = past.group_by("user_id").aggregate([("item_id", "count")])
    known = dict(zip(counts["user_id"].to_pylist(), counts["item_id_count"].to_pylist(), strict=True))
    testable = set(parts["test"]["user_id"].to_pylist())
    order = {user: place for place, user in enumerate(model.users)}
    candidates = sorted((u for u in known if u in testable and u in order), key=lambda u: (known[u], order[u]))
    n = min(n, len(candidates))
    chosen = [candidates[int((place + 0.5) * len(candidates) / n)] for place in range(n)]
    lists = model.recommend(chosen, k)
    return [
        Person(
            user,
            known[user],
            len(tests := _items(parts["test"], user)),
            _newest(past, user, k),
            [one.item_id for one in entries],
            frozenset(tests),
        )
        for user, entries in zip(chosen, lists, strict=True)
    ]


def strip(items: Sequence[str], model: PublishedModel, images: dict[str, str], hits: frozenset[str]) -> list[Poster]:
    """The posters of a list."""
    return [Poster(item, model.title(item), images.get(item), item in hits) for item in items]


def _items(table: pa.Table, user: str) -> list[str]:
    return table.filter(pc.equal(table["user_id"], user))["item_id"].to_pylist()


def _newest(past: pa.Table, user: str, k: int) -> list[str]:
    mine = past.filter(pc.equal(past["user_id"], user))
    ordered = mine.sort_by([("timestamp", "descending"), ("rating", "descending"), ("item_id", "ascending")])
    return ordered["item_id"].to_pylist()[:k]
