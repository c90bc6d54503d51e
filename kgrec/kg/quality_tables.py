"""The tables of the relation report, apart from what writes them, so that a reader needs no more than this."""

from __future__ import annotations

import pyarrow as pa

#: a row per relation; shares are in [0, 1], of facts or of items as the name says
QUALITY = pa.schema(
    [
        ("relation", pa.string()),
        ("source", pa.string()),
        ("triples", pa.int64()),
        ("heads", pa.int64()),
        ("tails", pa.int64()),
        ("functionality", pa.float64()),  # heads / triples
        ("inverse_functionality", pa.float64()),  # tails / triples
        ("items", pa.int64()),  # with a fact of it, at either end
        ("item_share", pa.float64()),  # of the catalogue
        ("joined_share", pa.float64()),  # of the catalogue: items it joins to another item
        ("top_share", pa.float64()),  # of its items: those beside its commonest other end
        ("item_pairs", pa.float64()),  # of its facts: those between two items
        ("double", pa.string()),  # the relation that states most of its pairs too, null if none does
        ("double_share", pa.float64()),
        ("inverse", pa.string()),  # the relation that states most of its pairs turned around, itself if symmetric
        ("inverse_share", pa.float64()),
        ("leaking", pa.int64()),  # facts
        ("leak", pa.string()),  # why, null if nothing is suspected
        ("example", pa.string()),
    ]
)

HUBS = pa.schema(
    [
        ("entity_id", pa.string()),
        ("name", pa.string()),
        ("type", pa.string()),
        ("degree", pa.int64()),  # facts, whatever their other end
        ("items", pa.int64()),
        ("item_share", pa.float64()),
        ("relation", pa.string()),  # by which most of the items are beside it
    ]
)

#: ``kind``: "no fact"; of an item "no other item" when its facts lead to none, "hubs only" when they do over hubs alone
ISOLATED = pa.schema(
    [
        ("entity_id", pa.string()),
        ("item_id", pa.string()),
        ("name", pa.string()),
        ("type", pa.string()),
        ("kind", pa.string()),
        ("degree", pa.int64()),
    ]
)

#: what was left out because of a name: ``facts`` of ``relation`` matched ``pattern``, which is denied for ``reason``
DROPPED = pa.schema(
    [("relation", pa.string()), ("facts", pa.int64()), ("pattern", pa.string()), ("reason", pa.string())]
)


def short_name(relation: str) -> str:
    """A relation as it fits beside a bar: of each half across a mediator the type and the property."""
    halves = [".".join(half.split(".")[-2:]) for half in relation.rsplit("/", 1)[-1].split("..")]
    name = " · ".join(halves)
    return name if len(name) <= 62 else f"{name[:40]}…{name[-21:]}"
