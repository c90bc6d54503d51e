from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.kg.linking.blocking import BlockingSettings, candidate_pairs
from kgrec.kg.linking.works import TYPES_OF, opened


def blocked(store: Path, items: pa.Table, kind: str = "film", **settings: Any) -> dict[tuple[str, str], str]:
    with opened(store) as connection:
        options = {key: settings.pop(key) for key in ("item_ids", "year_tolerance") if key in settings}
        candidate_pairs(connection, items, TYPES_OF[kind], BlockingSettings(**settings), **options)
        rows = connection.execute("SELECT item_id, node(entity), keys FROM link_candidates").fetchall()
        return {(item, entity): keys for item, entity, keys in rows}


@pytest.mark.parametrize(
    ("item", "entity", "keys"),
    [
        ({"title": "Phantom, The"}, "m.phan", "title"),
        ({"title": "Twelve Monkeys", "year": 1990}, "m.12", "title"),
        ({"title": "Star Wars: Episode IV - A New Hope"}, "m.star", "part+words"),
        ({"title": "Starwars"}, "m.star", "title"),
        ({"title": "Roses and a Bed", "year": 1999}, "m.love", "word"),
        ({"title": "Krieg der Sterne", "imdb_id": "tt0076759"}, "m.star", "id"),
        ({"title": "Hitze", "year": 1994, "director": ["Mann, Michael"]}, "m.heat", "maker"),
        ({"title": "A Bed in the Heat", "director": ["Michael Mann"]}, "m.heat", "maker"),
    ],
)
def test_what_brings_a_pair_together(base: Path, make_items: Any, item: dict[str, Any], entity: str, keys: str) -> None:
    found = blocked(base, make_items({"item_id": "1", **item}), year_tolerance=3)
    assert found["1", entity] == keys


def test_two_words_need_no_year(tmp_path: Path, make_items: Any, make_store: Any, work: Any) -> None:
    store = make_store(tmp_path, work("m.a", "The Crimson Garden of Verona"))
    assert blocked(store, make_items({"item_id": "1", "title": "Crimson Garden, A"})) == {("1", "m.a"): "words"}
    assert blocked(store, make_items({"item_id": "1", "title": "Crimson Peak"})) == {}


def test_an_entity_of_another_type_is_no_candidate(base: Path, make_items: Any) -> None:
    items = make_items({"item_id": "1", "title": "Dune"})
    assert set(blocked(base, items, "film")) == {("1", "m.dunef")}
    assert set(blocked(base, items, "book")) == {("1", "m.dune")}


@pytest.mark.parametrize(
    "column", [{"isbn": ["0-306-40615-2"]}, {"asin": ["0306406152"]}, {"isbn": [["x", "0306406152"]]}]
)
def test_the_isbn_of_an_edition_leads_to_the_book(base: Path, make_items: Any, column: dict[str, list[Any]]) -> None:
    items = make_items({"item_id": "1", "title": "Le Monde de Arrakis"}, **column)
    assert blocked(base, items, "book")["1", "m.dune"] == "id"


def test_item_ids_may_be_isbns(base: Path, make_items: Any) -> None:
    items = make_items({"item_id": "0306406152", "title": "Arrakis"})
    assert blocked(base, items, "book", item_ids="isbn")["0306406152", "m.dune"] == "id"
    assert blocked(base, items, "book") == {}


def test_a_common_key_proposes_nothing(tmp_path: Path, make_items: Any, make_store: Any, work: Any) -> None:
    lines = [line for at in range(10) for line in work(f"m.x{at}", f"Harbour {at}", 1990)]
    store = make_store(tmp_path, lines)
    items = make_items(
        {"item_id": "1", "title": "Harbour Lights", "year": 1990}, {"item_id": "2", "title": "Harbour 7"}
    )
    assert set(blocked(store, items, max_word_block=10)) == {*(("1", f"m.x{at}") for at in range(10)), ("2", "m.x7")}
    assert set(blocked(store, items, max_word_block=9)) == {("2", "m.x7")}


def test_the_best_candidates_stay(tmp_path: Path, make_items: Any, make_store: Any, work: Any) -> None:
    lines = [line for at in range(10) for line in work(f"m.x{at}", "Harbour", 1990 + at)]
    items = make_items({"item_id": "1", "title": "Harbour", "year": 1996})
    assert set(blocked(make_store(tmp_path, lines), items, max_candidates=3)) == {("1", f"m.x{at}") for at in (5, 6, 7)}


def test_nothing_in_common(base: Path, make_items: Any) -> None:
    assert blocked(base, make_items({"item_id": "1", "title": "Zardoz"}, {"item_id": "2"})) == {}
