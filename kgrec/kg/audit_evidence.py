"""The evidence of a link file: of its rows, of the pairs that compete with them, and of its items and entities at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kgrec.kg.linking.evidence import score_pairs
from kgrec.kg.linking.identifiers import SCHEMES, are_isbns
from kgrec.kg.lookalikes import PAIRS, lookalikes
from kgrec.kg.precision import Floats, levels, log_ratios, part_ratios, probability

if TYPE_CHECKING:
    from kgrec.kg.audit import AuditSettings

Pair = tuple[str, str]
Mask = npt.NDArray[np.bool_]

#: the parts of the evidence that tell right links from wrong ones; popularity does not
PARTS = ("title", "year", "ids", "creators", "cast", "type")
#: and what a row's lookalikes tell: 0 if another item or entity surely fits, and better, else 1
OTHERS = "others"

_ITEM = ["item_id", "title", "year", *SCHEMES]
_ENTITY = ["entity_id", "name", "names", "types", "years", *SCHEMES]
#: types that any kind of entity has
_GENERIC = ("common.", "base.", "user.", "type.", "freebase.", "http://www.w3.org/2002/07/owl#")
#: most pairs at random for each link
_TIMES = 20


class LinkEvidence:
    """What is known of each row of a link file.

    :param rows: (item, entity) as the file has them
    :param items: schema ITEMS
    :param profiles: schema PROFILES
    """

    #: the catalogue by item id
    items: dict[str, dict[str, Any]]
    #: the linked entities, and those that resemble an item, by id; without those of which nothing is known
    entities: dict[str, dict[str, Any]]
    #: of each row: checked, no evidence, unknown entity, unknown item
    status: list[str]
    #: shape (rows,)
    in_catalogue: Mask
    #: shape (rows,): whether there was anything to compare
    checked: Mask
    #: part -> shape (rows,): agreement in [0, 1] or null
    agreement: dict[str, pa.Array]
    #: shape (rows,): ``log r`` of the row itself, whatever else fits
    alone: Floats
    #: shape (2, rows): ``log r`` and ``log s``, see ``kgrec.kg.precision``; 0 where nothing was compared
    ratios: Floats
    #: shape (random pairs,): score of each
    chance: Floats
    #: part -> shape (2, 4): what its levels say
    said: dict[str, Floats]

    def __init__(self, rows: Sequence[Pair], items: pa.Table, profiles: pa.Table, settings: AuditSettings) -> None:
        self.rows = list(rows)
        self.items = {row["item_id"]: row for row in items.select(
            [one for one in _ITEM if one in items.column_names]).to_pylist()}  # fmt: skip
        item_ids = settings.evidence.item_ids or ("isbn" if are_isbns(self.items) else "none")
        alike = lookalikes(items, profiles, item_ids)
        near = list(zip(alike["item_id"].to_pylist(), alike["entity_id"].to_pylist(), strict=True))
        self.entities = _known(profiles, {entity for _, entity in (*self.rows, *near)})
        known = {row for row in self.rows if row[0] in self.items and row[1] in self.entities}
        compared = sorted({*known, *(pair for pair in near if pair[1] in self.entities)})
        evidence = settings.evidence
        if not evidence.types:
            evidence = evidence.model_copy(update={"types": self._usual_types(settings.usual_types)})

        def score(pairs: Sequence[Pair]) -> pa.Table:
            columns = [pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1)]
            return score_pairs(items, profiles, pa.Table.from_arrays(columns, schema=PAIRS), evidence)

        random = _at_random(sorted(known), settings.random_pairs, settings.seed)
        by_chance, parts = score(random), score(compared)
        self.said = {part: part_ratios(part, by_chance[part], settings.expected, settings.unlisted) for part in PARTS}
        self._compare(compared, parts)
        self._compete(random, log_ratios(_by_part(by_chance), self.said), settings)

    def _compare(self, pairs: Sequence[Pair], parts: pa.Table) -> None:
        """Rows by what their own pair says, and the pairs that surely fit by item and by entity."""
        ratios = log_ratios(_by_part(parts), self.said)
        sure = np.flatnonzero(_sure(parts))
        fitting = [pairs[at] for at in sure.tolist()]
        self._by_item, self._by_entity = (_best_two(fitting, ratios[0, sure], side) for side in (0, 1))
        at = {pair: place for place, pair in enumerate(pairs)}
        # lookalikes of an unknown item are none of its own
        places = [at.get(row) if row[0] in self.items else None for row in self.rows]
        self.agreement = {part: parts[part].combine_chunks().take(pa.array(places, pa.int64())) for part in PARTS}
        told = [levels(part, self.agreement[part]) >= 0 for part in PARTS if part != "type"]
        self.checked = np.any(told, axis=0)
        self.in_catalogue = np.array([item in self.items for item, _ in self.rows], dtype=bool)
        self.status = [self._status(row, bool(ok)) for row, ok in zip(self.rows, self.checked, strict=True)]
        self.ratios = np.where(self.checked, log_ratios(self.agreement, self.said), 0.0)
        self.alone = self.ratios[0].copy()

    def _compete(self, random: Sequence[Pair], by_chance: Floats, settings: AuditSettings) -> None:
        """Add what the lookalikes say, as often as they do so beside pairs at random."""
        beside = pa.array([self._others(row, one) for row, one in zip(random, by_chance[0], strict=True)], pa.float64())
        self.said[OTHERS] = part_ratios(OTHERS, beside, settings.expected, settings.unlisted)
        found = [
            self._others(row, one) if ok else None
            for row, one, ok in zip(self.rows, self.alone, self.checked, strict=True)
        ]
        self.agreement[OTHERS] = pa.array(found, pa.float64())
        self.ratios += self.said[OTHERS][:, levels(OTHERS, self.agreement[OTHERS])]
        self.chance = probability(by_chance, None)

    def _others(self, row: Pair, alone: float) -> float:
        """0 if another item or entity surely fits, and better than ``alone``, else 1."""
        best = max(self.rival(row, side)[1] for side in (0, 1))
        return 0.0 if best > alone + 1 else 1.0

    def _usual_types(self, share: float) -> tuple[str, ...]:
        """Types that nearly all linked entities have, without those that say nothing."""
        linked = {entity for _, entity in self.rows if entity in self.entities}
        known = [types for types in (set(self.entities[one]["types"] or ()) for one in linked) if types]
        counts = Counter(one for types in known for one in types if not one.startswith(_GENERIC))
        return tuple(sorted(one for one, count in counts.items() if count >= share * len(known)))

    def rival(self, row: Pair, side: int) -> tuple[str | None, float]:
        """The other item (``side`` 0) that surely fits the row's entity, or the other entity (1) that fits its item.

        :return: its id and ``log r``; None and minus infinity if there is none
        """
        found = self._by_item.get(row[0], []) if side else self._by_entity.get(row[1], [])
        return next(((pair[side], weight) for pair, weight in found if pair[side] != row[side]), (None, -np.inf))

    def only_item(self, entity: str) -> str | None:
        """The item that an entity surely is, if there is one and no second."""
        found = self._by_entity.get(entity, [])
        clear = found and (len(found) == 1 or found[1][1] < found[0][1] - 1)
        return found[0][0][0] if clear else None

    def _status(self, row: Pair, checked: bool) -> str:
        if row[0] not in self.items:
            return "unknown item"
        if row[1] not in self.entities:
            return "unknown entity"
        return "checked" if checked else "no evidence"


def _known(profiles: pa.Table, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """Profiles of ``wanted`` that say anything."""
    return {
        row["entity_id"]: row
        for batch in profiles.select(_ENTITY).to_batches()
        for row in batch.to_pylist()
        if row["entity_id"] in wanted and any(row[one] for one in _ENTITY[1:])
    }


def _by_part(parts: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {part: parts[part] for part in PARTS}


def _at_random(pairs: Sequence[Pair], about: int, seed: int) -> list[Pair]:
    """About ``about`` pairs of the items and entities of ``pairs``, none of ``pairs`` among them; at most ``_TIMES`` for each."""
    if not pairs:
        return []
    random, taken = np.random.default_rng(seed), set(pairs)
    entities = np.array([entity for _, entity in pairs], dtype=object)
    found: list[Pair] = []
    for _ in range(min(_TIMES, -(-about // len(pairs)))):
        mixed = zip((item for item, _ in pairs), random.permutation(entities), strict=True)
        found += [pair for pair in mixed if pair not in taken]
    return (
        [found[at] for at in sorted(random.choice(len(found), about, replace=False))] if len(found) > about else found
    )


def _sure(parts: pa.Table) -> Mask:
    """Pairs that fit on their own: an id is shared; or the title is, and something confirms it, and nothing speaks against it.

    Where titles are all that is known, none needs to be confirmed.
    """
    said = {part: levels(part, parts[part]) for part in PARTS}
    against = np.any([said[part] == 2 for part in ("year", "ids", "creators", "type")], axis=0)
    confirms = np.array([said[part] for part in ("year", "creators", "cast")])
    confirmed = np.any((confirms == 0) | (confirms == 1), axis=0) | bool(np.all(confirms == -1))
    sure: Mask = (said["ids"] == 0) | ((said["title"] == 0) & confirmed & ~against)
    return sure


def _best_two(pairs: Sequence[Pair], weights: Floats, by: int) -> dict[str, list[tuple[Pair, float]]]:
    """The two heaviest pairs of each item (``by`` 0) or entity (``by`` 1), heaviest first, ties by id."""
    found: dict[str, list[tuple[Pair, float]]] = {}
    for at in np.argsort(-weights, kind="stable"):
        kept = found.setdefault(pairs[at][by], [])
        if len(kept) < 2:
            kept.append((pairs[at], float(weights[at])))
    return found
