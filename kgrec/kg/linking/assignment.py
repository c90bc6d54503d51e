"""Assignment chooses one entity per item and one item per entity, and refuses where the evidence does not decide.

A pair is taken when each side is the other's best and beats its next best by a margin of evidence. What is taken leaves
the others' lists, which may settle what was a tie before; this goes on until nothing more can be taken. An item left
without a link gets a reason.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from kgrec.config import Settings

#: why an item has no link, by the code of the reason
REASONS = {
    "no_candidate": "nothing in the knowledge graph shares a title, a part of one, an id, or a maker",
    "below_min_score": "the best candidate is too unlike",
    "tie_of_entities": "two entities fit the item about equally well",
    "tie_of_items": "another item claims the entity with about as much evidence",
    "entity_taken": "another item fits the entity better",
    "not_claimed": "no link file has it",
}

#: an item without a link and its best candidate, null where there is none
UNLINKED = pa.schema(
    [
        ("item_id", pa.string()), ("title", pa.string()), ("reason", pa.string()),
        ("entity_id", pa.string()), ("name", pa.string()), ("score", pa.float64()),
    ]
)  # fmt: skip

Rows = npt.NDArray[np.int64]
Evidence = npt.NDArray[np.float64]


class AssignmentSettings(Settings):
    """What a link must have."""

    min_score: float = Field(0.5, ge=0, le=1)
    """Least score of a link made by evidence, inclusive."""
    margin: float = Field(1.0, ge=0)
    """Least evidence (logarithm of the odds) by which a link must beat the next best one of its item and of its entity;
    below it they tie, and none is taken. 1 is odds of 2.7 to 1."""


def assign(scored: pa.Table, settings: AssignmentSettings) -> pa.Table:
    """Say of each pair whether it is a link.

    :param scored: columns ``item_id``, ``entity_id``, ``score``, ``evidence``; no pair twice
    :return: column ``outcome`` for each row: ``link``, or why not: ``beaten`` by the item's own link, or one of ``REASONS``
    """
    item, items = _codes(scored["item_id"])
    entity, entities = _codes(scored["entity_id"])
    evidence = scored["evidence"].to_numpy()
    least = _evidence(settings.min_score)
    link = np.zeros(len(item), dtype=bool)
    alive = np.ones(len(item), dtype=bool)
    while True:
        rows = np.flatnonzero(alive)
        clear = _clear(item[rows], evidence[rows], items, settings.margin)
        clear &= _clear(entity[rows], evidence[rows], entities, settings.margin)
        taken = rows[clear & (evidence[rows] >= least)]
        if not len(taken):
            break
        link[taken] = True
        gone_items, gone_entities = np.zeros(items, dtype=bool), np.zeros(entities, dtype=bool)
        gone_items[item[taken]] = gone_entities[entity[taken]] = True
        alive &= ~(gone_items[item] | gone_entities[entity])
    return pa.table(
        {"outcome": _outcomes(item, items, entity, entities, evidence, link, alive, least, settings.margin)}
    )


def _clear(group: Rows, evidence: Evidence, groups: int, margin: float) -> npt.NDArray[np.bool_]:
    """Mask of the rows that are the best of their group and beat its next best by ``margin``."""
    first, second = _best_two(group, evidence, groups)
    return (evidence == first[group]) & (first[group] - second[group] >= margin) & (first[group] > second[group])


def _best_two(group: Rows, evidence: Evidence, groups: int) -> tuple[Evidence, Evidence]:
    """Highest and second highest evidence of each group, -inf where there is none."""
    order = np.lexsort((-evidence, group))
    starts = np.searchsorted(group[order], np.arange(groups + 1))
    padded = np.append(evidence[order], [-np.inf, -np.inf])
    count = np.diff(starts)
    first = np.where(count > 0, padded[starts[:-1]], -np.inf)
    return first, np.where(count > 1, padded[starts[:-1] + 1], -np.inf)


def _outcomes(
    item: Rows, items: int, entity: Rows, entities: int, evidence: Evidence, link: npt.NDArray[np.bool_],
    alive: npt.NDArray[np.bool_], least: float, margin: float,
) -> pa.Array:  # fmt: skip
    linked_item, linked_entity = np.zeros(items, dtype=bool), np.zeros(entities, dtype=bool)
    linked_item[item[link]] = linked_entity[entity[link]] = True
    rows = np.flatnonzero(alive)
    first, second = _best_two(item[rows], evidence[rows], items)
    tied = ((second > first - margin) | (second == first))[item] & (
        (evidence > first[item] - margin) | (evidence == first[item])
    )
    outcome = np.full(len(item), "tie_of_items", dtype=object)
    outcome[tied] = "tie_of_entities"
    outcome[linked_entity[entity]] = "entity_taken"
    outcome[evidence < least] = "below_min_score"
    outcome[linked_item[item]] = "beaten"
    outcome[link] = "link"
    return pa.array(outcome, pa.string())


def _codes(column: pa.ChunkedArray) -> tuple[Rows, int]:
    encoded = pc.dictionary_encode(column.combine_chunks())
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _evidence(score: float) -> float:
    """The evidence of a score; the other way round of ``as_score``."""
    return -math.inf if score <= 0 else math.inf if score >= 1 else math.log(score / (1 - score))
