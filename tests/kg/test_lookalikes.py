"""Lookalikes by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from kgrec.data.schemas import ITEMS
from kgrec.kg.lookalikes import lookalikes
from kgrec.kg.profiles import PROFILES


def table(schema: pa.Schema, *rows: dict[str, Any]) -> pa.Table:
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in schema}
    return pa.Table.from_pylist([empty | row for row in rows], schema=schema)


def found(items: pa.Table, profiles: pa.Table, **arguments: Any) -> list[tuple[str, str]]:
    rows = lookalikes(items, profiles, **arguments).to_pylist()
    return [(row["item_id"], row["entity_id"]) for row in rows]


def test_titles_and_ids_meet() -> None:
    items = table(
        ITEMS,
        {"item_id": "2", "title": "Misérables, Les"},
        {"item_id": "1", "title": "Heat", "imdb_id": "tt0113277"},
        {"item_id": "3"},
    )
    profiles = table(
        PROFILES,
        {"entity_id": "m.b", "names": ["Die Elenden", "Les Miserables"]},
        {"entity_id": "m.c", "names": ["Heat"]},
        {"entity_id": "m.a", "names": ["Fuego contra fuego"], "imdb_id": ["tt0113277"]},
        {"entity_id": "m.d", "names": ["Casino"], "imdb_id": ["tt0112641"]},
        {"entity_id": "m.e"},
    )
    assert found(items, profiles) == [("1", "m.a"), ("1", "m.c"), ("2", "m.b")]


def test_an_item_id_may_be_an_isbn() -> None:
    items = table(ITEMS, {"item_id": "0553092626"})
    profiles = table(PROFILES, {"entity_id": "m.a", "isbn": ["9780553092622"]})
    assert found(items, profiles) == []
    assert found(items, profiles, item_ids="isbn") == [("0553092626", "m.a")]


def test_a_title_that_many_have_says_nothing() -> None:
    items = table(ITEMS, {"item_id": "1", "title": "Hamlet"}, {"item_id": "2", "title": "Heat"})
    profiles = table(
        PROFILES,
        *({"entity_id": f"m.{at}", "names": ["Hamlet"]} for at in range(4)),
        {"entity_id": "m.x", "names": ["Heat"]},
    )
    assert found(items, profiles, most=3) == [("2", "m.x")]
    assert len(found(items, profiles)) == 5
