from typing import Any

import pytest

from kgrec.errors import DataError
from kgrec.kg.linking.evidence import PARTS
from kgrec.kg.linking.explain import Explanation, explain_item
from kgrec.kg.links import LinkSettings, link_items


@pytest.fixture
def explain(desk: Any) -> Any:
    def run(item: str, claims: str | None = None, **settings: Any) -> Explanation:
        desk.catalogue(
            {"item_id": "1", "title": "Heat", "year": 1995, "director": ["Michael Mann"], "actor": ["Al Pacino"]},
            {"item_id": "2", "title": "Twins", "year": 1988},
            {"item_id": "3", "title": "Zardoz", "year": 1974},
            {"item_id": "4", "title": "Phantom, The", "year": 1970},
            {"item_id": "5", "title": "Star Wars: Episode IV - A New Hope", "year": 1977},
            {"item_id": "6", "title": "Twelve Monkeys", "year": 1996},
            {"item_id": "7", "title": "12 Monkeys", "year": 1995},
            {"item_id": "8", "title": "The Heat", "year": 1986},
        )
        if claims:
            (desk.links / "a.txt").write_text(claims)
        settings |= {"audit": {"min_checked": 100}, "min_item_coverage": 0}
        link_items(desk.items, desk.links if claims else None, desk.store, desk.out, LinkSettings(**settings))
        return explain_item(item, desk.out, desk.items)

    return run


def test_the_weights_add_up_to_the_evidence(explain: Any) -> None:
    found = explain("1")
    assert found.entity_id == "m.heat"
    assert [row["entity_id"] for row in found.candidates] == ["m.heat", "m.heat86", "m.love"]
    for row in found.candidates:
        assert sum(row["weights"].values()) == pytest.approx(row["evidence"])
        assert set(row["weights"]) == {"prior", *(part for part in PARTS if row[part] is not None)}


def test_a_winner_is_told_from_the_next_entity_and_the_next_item(explain: Any) -> None:
    found = explain("1")
    ahead = found.candidates[0]["evidence"] - found.candidates[1]["evidence"]
    assert found.verdict.startswith("m.heat won: score 1.000, at least 0.5 is asked for")
    assert (
        f"{ahead:.1f} ahead of the next entity, m.heat86, most of it by year (+8.0), creators (+3.5)" in found.verdict
    )
    assert "ahead of the next item for it (8)" in found.verdict


@pytest.mark.parametrize(
    ("item", "verdict"),
    [
        ("2", "two entities fit the item about equally well; less than 1 apart"),
        ("3", "nothing in the knowledge graph shares a title"),
        ("4", "the best candidate is too unlike: score 0.072"),
        ("6", "another item fits the entity better"),
    ],
)
def test_why_there_is_no_link(explain: Any, item: str, verdict: str) -> None:
    found = explain(item)
    assert found.entity_id is None
    assert verdict in found.verdict


def test_a_claim_is_named(explain: Any) -> None:
    found = explain("2", "2\tm.twin2\n")
    assert found.entity_id == "m.twin2"
    assert found.verdict.endswith("a link file has it (kb4rec)")
    assert "claim (+7.0)" in found.verdict
    alone = explain("2", "2\tm.twin2\n", methods=("file",))
    assert alone.verdict == "m.twin2: a link file (kb4rec) has it, and link.methods asks for files alone"


def test_an_item_may_be_named_by_its_title(explain: Any) -> None:
    assert explain("the phantom").item["item_id"] == "4"
    with pytest.raises(
        DataError, match=r"has 2 items called 'Heat', give an id: 1 \(Heat, 1995\); 8 \(The Heat, 1986\)"
    ):
        explain("Heat")
    with pytest.raises(DataError, match="has no item 'Alien', neither as id nor as title"):
        explain("Alien")
