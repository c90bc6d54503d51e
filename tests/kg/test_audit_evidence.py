"""The evidence of rows, of what competes with them, and of pairs at random, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgrec.data.schemas import ITEMS
from kgrec.kg.audit import AuditSettings
from kgrec.kg.audit_evidence import LinkEvidence
from kgrec.kg.profiles import PROFILES

TITLES = {"1": ("Heat", 1995), "2": ("Casino", 1995), "3": ("Sabrina", 1995), "4": ("Alien", 1979), "5": ("Jaws", 1975)}


def table(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in schema}
    return pa.Table.from_pylist([empty | row for row in rows], schema=schema)


def evidence(rows: list[tuple[str, str]], *more: dict[str, Any], **settings: Any) -> LinkEvidence:
    """Evidence of links between ``TITLES`` and entities ``m.1`` to ``m.5`` of the same titles, and ``more`` entities."""
    items = [{"item_id": one, "title": title, "year": year} for one, (title, year) in TITLES.items()]
    entities = [
        {"entity_id": f"m.{one}", "name": title, "names": [title], "years": [year], "types": ["film.film", "common.topic"]}
        for one, (title, year) in TITLES.items()
    ]  # fmt: skip
    return LinkEvidence(rows, table(ITEMS, items), table(PROFILES, [*entities, *more]), AuditSettings(**settings))


RIGHT = [(one, f"m.{one}") for one in TITLES]


def test_a_row_by_itself() -> None:
    found = evidence([*RIGHT[:3], ("4", "m.5")])
    assert found.agreement["title"].to_pylist()[3] == 0.0
    assert found.agreement["others"].to_pylist() == [1.0, 1.0, 1.0, 0.0]
    said = {part: ratios[0] for part, ratios in found.said.items()}
    assert found.alone[3] == pytest.approx(said["title"][2] + said["year"][2])
    assert found.ratios[0, 3] == pytest.approx(found.alone[3] + said["others"][2])
    assert found.ratios[0, 0] == pytest.approx(said["title"][0] + said["year"][0] + said["others"][0])


def test_rivals_are_sure_pairs_of_others() -> None:
    remake = {"entity_id": "m.r", "names": ["Sabrina"], "years": [1954]}
    found = evidence([("4", "m.5"), ("3", "m.r")], remake)
    assert found.rival(("4", "m.5"), 0)[0] == "5"
    assert found.rival(("4", "m.5"), 1)[0] == "m.4"
    assert found.rival(("3", "m.r"), 1)[0] == "m.3"
    assert found.rival(("3", "m.r"), 0) == (None, -np.inf)
    assert found.rival(RIGHT[0], 0) == found.rival(RIGHT[0], 1) == (None, -np.inf)
    assert (found.only_item("m.5"), found.only_item("m.r"), found.only_item("m.none")) == ("5", None, None)


def test_two_items_of_one_title_are_no_only_item() -> None:
    rows = [{"item_id": one, "title": "Heat", "year": 1995} for one in ("1", "2")]
    entity = {"entity_id": "m.1", "names": ["Heat"], "years": [1995]}
    found = LinkEvidence([("1", "m.1")], table(ITEMS, rows), table(PROFILES, [entity]), AuditSettings())
    assert found.only_item("m.1") is None
    assert found.rival(("1", "m.1"), 0)[0] == "2"
    assert found.agreement["others"].to_pylist() == [1.0]


def test_status() -> None:
    found = evidence([("1", "m.1"), ("9", "m.1"), ("2", "m.none"), ("3", "m.bare"), ("4", "m.nothing")],
                     {"entity_id": "m.bare", "types": ["film.film"]}, {"entity_id": "m.nothing"})  # fmt: skip
    assert found.status == ["checked", "unknown item", "unknown entity", "no evidence", "unknown entity"]
    assert found.checked.tolist() == [True, False, False, False, False]
    assert found.in_catalogue.tolist() == [True, False, True, True, True]
    assert found.ratios[:, 1:].tolist() == [[0.0] * 4] * 2


def test_the_usual_type_is_the_one_nearly_all_have() -> None:
    book = {"entity_id": "m.b", "names": ["Jaws"], "years": [1974], "types": ["book.book", "common.topic"]}
    found = evidence([*RIGHT, ("5", "m.b")], book, usual_types=0.8)
    assert found.agreement["type"].to_pylist() == [1.0] * 5 + [0.0]
    # with no type that nearly all have, types say nothing
    assert evidence([*RIGHT, ("5", "m.b")], book).agreement["type"].to_pylist() == [None] * 6


def test_pairs_at_random_are_no_links_and_the_same_again() -> None:
    first, second = evidence(RIGHT), evidence(RIGHT)
    assert 0 < len(first.chance) <= 100
    assert max(first.chance) < 0.5
    assert first.chance.tolist() == second.chance.tolist()
    assert len(evidence(RIGHT, random_pairs=7).chance) <= 7
    assert len(evidence([]).chance) == 0
