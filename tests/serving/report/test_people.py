"""People on the page are spread over activity, and what is marked is what they did in test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import kgrec
from kgrec.serving.report.people import Poster, choose_people, strip


def test_people_are_spread_over_activity(world: Any, published: dict[str, Path]) -> None:
    people = choose_people(world.split, kgrec.load(published["bpr_mf"]), 6, 10)
    counts = [one.n_history for one in people]
    assert len({one.user_id for one in people}) == 6
    assert counts == sorted(counts)
    assert counts[0] <= 4
    assert counts[-1] >= 12


def test_lists_and_hits(world: Any, published: dict[str, Path]) -> None:
    model = kgrec.load(published["bpr_mf"])
    for person in choose_people(world.split, model, 3, 5):
        test = [
            row for row in pq.read_table(world.split / "test.parquet").to_pylist() if row["user_id"] == person.user_id
        ]
        assert person.hits == {row["item_id"] for row in test}
        assert person.n_test == 2
        assert person.recommended == [one.item_id for one in model.recommend(person.user_id, 5)[0]]
        assert set(person.history) <= set(model.seen(person.user_id))
        shown = strip(person.recommended, model, {}, person.hits)
        assert [one.hit for one in shown] == [item in person.hits for item in person.recommended]


def test_history_is_newest_first(world: Any, published: dict[str, Path]) -> None:
    (person,) = choose_people(world.split, kgrec.load(published["bpr_mf"]), 1, 30)
    times = {
        row["item_id"]: row["timestamp"]
        for part in ("train", "valid")
        for row in pq.read_table(world.split / f"{part}.parquet").to_pylist()
        if row["user_id"] == person.user_id
    }
    assert [times[item] for item in person.history] == sorted(times.values(), reverse=True)


def test_more_people_than_there_are(world: Any, published: dict[str, Path]) -> None:
    assert len(choose_people(world.split, kgrec.load(published["ease"]), 50, 2)) == 40
    assert choose_people(world.split, kgrec.load(published["ease"]), 0, 2) == []


def test_a_card_has_one_colour_per_title() -> None:
    assert Poster("1", "A title", None).hue == Poster("2", "A title", None).hue
    assert 0 <= Poster("1", "", None).hue < 360
