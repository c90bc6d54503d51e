"""Evidence that an item and an entity are one thing, part by part, and the score it adds up to.

Each part compares one property and gives an agreement in [0, 1], or null where a side does not say. A part of agreement
``a`` weighs ``w(a) = disagree + (agree - disagree) a``, its logarithm of the odds; null weighs nothing. The score is

    score = 1 / (1 + exp(-evidence)),    evidence = prior + sum of w                                                (1)

as in Fellegi and Sunter, *A Theory for Record Linkage* (1969): parts count as independent, weights are log-likelihood
ratios. They are set by hand; docs/linking.md has them beside the ratios measured on MovieLens-1M.

==========  =========================================================================================================
part        agreement
==========  =========================================================================================================
title       see ``kgrec.kg.linking.title_match``
year        1 - d / (tolerance + 1), d years between the item's year and the entity's nearest one; 0 beyond
ids         1 if an IMDb, TMDB, ISBN or ASIN id is shared; 0 if both have an IMDb (or TMDB) id and none is shared
creators    share of the shorter list of directors that the other has; of writers (authors); the better of the two
cast        square root of the share of the shorter list of actors that the other has: a few in common tell already
type        1 if the entity has a wanted type, 0 if it has only others
popularity  log(1 + facts about the entity) / log(1 + 1000), at most 1
==========  =========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from kgrec.config import Settings
from kgrec.errors import DataError
from kgrec.kg.linking.identifiers import FUNCTIONAL, SCHEMES, are_isbns, identifiers
from kgrec.kg.linking.people import people_agreement
from kgrec.kg.linking.title_match import title_agreement
from kgrec.kg.titles import Title, title_forms

#: the parts in the order they are shown
PARTS = ("title", "year", "ids", "creators", "cast", "type", "popularity")

#: one row per pair; parts are agreements in [0, 1], null where a side says nothing; ``evidence`` is the sum of (1)
SCORED = pa.schema(
    [
        ("item_id", pa.string()), ("entity_id", pa.string()), ("score", pa.float64()), ("evidence", pa.float64()),
        *((part, pa.float64()) for part in PARTS),
    ]
)  # fmt: skip

_MANY_FACTS = math.log1p(1000)
#: pairs scored at once
_BATCH = 1 << 15


class Weight(NamedTuple):
    """Logarithm of the odds that a part's agreement 0 and 1 add."""

    disagree: float
    agree: float


class EvidenceSettings(Settings):
    """How much each part counts."""

    prior: float = -3.0
    """Logarithm of the odds that two things which merely share a block are one."""
    title: Weight = Weight(-6.0, 6.0)
    """Titles without anything in common against the same long title."""
    year: Weight = Weight(-4.0, 4.0)
    """Years beyond the tolerance against the same year."""
    ids: Weight = Weight(-6.0, 11.0)
    """Other ids against a shared id."""
    creators: Weight = Weight(-3.5, 3.5)
    """No director or author in common against all."""
    cast: Weight = Weight(-2.5, 3.5)
    """No actor in common against all."""
    type: Weight = Weight(-4.0, 0.5)
    """Another type against a wanted one."""
    popularity: Weight = Weight(-0.25, 0.25)
    """An entity without facts against one with a thousand."""
    year_tolerance: int = Field(3, ge=0)
    """Most years apart that a pair's years may be without counting fully against it; a festival and a cinema are often one
    apart."""
    editions: bool = False
    """Whether items are editions, which come out any time after the work: that an item is later than the entity by more than
    the tolerance is then no evidence."""
    types: tuple[str, ...] = ()
    """Wanted entity types, spelt as in the store; none leaves the part out."""
    item_ids: str | None = Field(None, pattern="^(none|isbn|asin|imdb_id|tmdb_id)$")
    """What an item's id is elsewhere; null calls them ISBNs if at least half of all item ids are, else nothing."""


@dataclass(frozen=True)
class _Side:
    """What one side of a pair says, ready to compare."""

    titles: tuple[Title, ...]
    years: tuple[int, ...]
    ids: dict[str, frozenset[str]]
    #: director, writer, actor
    people: tuple[list[str], list[str], list[str]]
    types: frozenset[str] = frozenset()
    degree: int | None = None


def score_pairs(items: pa.Table, profiles: pa.Table, pairs: pa.Table, settings: EvidenceSettings) -> pa.Table:
    """Score pairs of item and entity.

    :param items: schema ITEMS; columns ``tmdb_id``, ``isbn``, ``asin`` (texts or lists) are used where there are any
    :param profiles: schema ``kgrec.kg.profiles.PROFILES``
    :param pairs: columns ``item_id`` and ``entity_id``; a pair may come from anywhere, and repeat
    :return: schema ``SCORED``, one row per row of ``pairs``, in their order
    :raises DataError: if a pair names an item or entity that its table lacks
    """
    if not settings.item_ids:
        found = "isbn" if are_isbns(items["item_id"].to_pylist()) else "none"
        settings = settings.model_copy(update={"item_ids": found})
    pairs = pairs.select(["item_id", "entity_id"])
    batches = [
        _score_batch(items, profiles, pairs.slice(start, _BATCH), settings)
        for start in range(0, pairs.num_rows, _BATCH)
    ]
    return pa.concat_tables([SCORED.empty_table(), *batches])


def _score_batch(items: pa.Table, profiles: pa.Table, pairs: pa.Table, settings: EvidenceSettings) -> pa.Table:
    """As ``score_pairs``, for as many pairs as may be in memory as Python objects."""
    wanted_items, wanted_entities = (set(pairs[name].to_pylist()) for name in ("item_id", "entity_id"))
    left = {row["item_id"]: _item(row, settings.item_ids or "none") for row in _rows(items, "item_id", wanted_items)}
    right = {row["entity_id"]: _entity(row) for row in _rows(profiles, "entity_id", wanted_entities)}
    for wanted, known, what in ((wanted_items, left, "items"), (wanted_entities, right, "profiles")):
        if missing := wanted - known.keys():
            raise DataError(f"pairs name {min(missing)!r}, which the {what} lack ({len(missing)} such ids)")
    types = frozenset(settings.types)
    columns: dict[str, list[Any]] = {name: [] for name in SCORED.names}
    for item_id, entity_id in zip(pairs["item_id"].to_pylist(), pairs["entity_id"].to_pylist(), strict=True):
        parts = _compare(left[item_id], right[entity_id], types, settings)
        evidence = settings.prior + sum(weighed(settings, parts).values())
        row = {"item_id": item_id, "entity_id": entity_id, "evidence": evidence, "score": as_score(evidence), **parts}
        for name, values in columns.items():
            values.append(row[name])
    return pa.table(columns, schema=SCORED)


def weighed(settings: EvidenceSettings, parts: dict[str, Any]) -> dict[str, float]:
    """What each part that is not null adds to the evidence."""
    weights: dict[str, Weight] = {part: getattr(settings, part) for part in PARTS}
    return {
        part: weight.disagree + (weight.agree - weight.disagree) * parts[part]
        for part, weight in weights.items()
        if parts[part] is not None
    }


def as_score(evidence: float) -> float:
    """Odds as a probability, eq. (1)."""
    return 1 / (1 + math.exp(-evidence)) if evidence > -700 else 0.0


def item_identifiers(row: dict[str, Any], item_ids: str = "none") -> dict[str, frozenset[str]]:
    """Ids by scheme of one row of the items. :param item_ids: scheme of the item's own id, or ``none``"""
    values = [(scheme, value) for scheme in SCHEMES for value in _list(row.get(scheme))]
    return identifiers([*values, *([] if item_ids == "none" else [(item_ids, row["item_id"])])])


def _compare(item: _Side, entity: _Side, types: frozenset[str], settings: EvidenceSettings) -> dict[str, float | None]:
    tolerance = settings.year_tolerance
    apart = min((abs(one - other) for one in item.years for other in entity.years), default=None)
    if settings.editions and apart is not None and apart > tolerance and min(item.years) > min(entity.years):
        apart = None
    director, writer, actor = (people_agreement(*both) for both in zip(item.people, entity.people, strict=True))
    return {
        "title": title_agreement(item.titles, entity.titles),
        "year": None if apart is None else max(0.0, 1 - apart / (tolerance + 1)),
        "ids": _shared(item.ids, entity.ids),
        "creators": max((one for one in (director, writer) if one is not None), default=None),
        "cast": None if actor is None else math.sqrt(actor),
        "type": float(bool(types & entity.types)) if types and entity.types else None,
        "popularity": None if entity.degree is None else min(1.0, math.log1p(entity.degree) / _MANY_FACTS),
    }


def _shared(left: dict[str, frozenset[str]], right: dict[str, frozenset[str]]) -> float | None:
    both = left.keys() & right.keys()
    if any(left[scheme] & right[scheme] for scheme in both):
        return 1.0
    return 0.0 if any(scheme in FUNCTIONAL for scheme in both) else None


def _item(row: dict[str, Any], item_ids: str) -> _Side:
    return _Side(
        (title_forms(row["title"]),) if row["title"] else (),
        (row["year"],) if row["year"] is not None else (),
        item_identifiers(row, item_ids),
        _people(row),
    )


def _entity(row: dict[str, Any]) -> _Side:
    return _Side(
        tuple(title_forms(name) for name in row["names"] or ()),
        tuple(row["years"] or ()),
        identifiers((scheme, value) for scheme in SCHEMES for value in row[scheme] or ()),
        _people(row),
        types=frozenset(row["types"] or ()),
        degree=row["degree"],
    )


def _people(row: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    return row["director"] or [], row["writer"] or [], row["actor"] or []


def _rows(table: pa.Table, key: str, wanted: Collection[str]) -> list[dict[str, Any]]:
    return table.filter(pc.is_in(table[key], pa.array(sorted(wanted), pa.string()))).to_pylist()


def _list(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]
