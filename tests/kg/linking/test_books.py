"""Books are linked by title, author and ISBN; the catalogue lists editions, the knowledge base works."""

from typing import Any

import pytest

from kgrec.data.io import read_parquet
from kgrec.kg.links import LinkSettings, link_items


@pytest.fixture
def link(desk: Any) -> Any:
    def run(*rows: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        desk.catalogue(*rows)
        link_items(desk.items, None, desk.store, desk.out, LinkSettings(kind="book", min_item_coverage=0))
        links = read_parquet(desk.out / "links.parquet").to_pylist()
        unlinked = read_parquet(desk.out / "unlinked.parquet").to_pylist()
        return {row["item_id"]: row["entity_id"] for row in links}, {row["item_id"]: row["reason"] for row in unlinked}

    return run


def test_title_and_author(link: Any) -> None:
    links, unlinked = link(
        {"item_id": "a", "title": "Emma (Penguin Classics)", "writer": ["Austen, Jane"], "year": 2003},
        {"item_id": "b", "title": "Dune", "writer": ["Some Body"], "year": 2001},
        {"item_id": "c", "title": "Pride"},
    )
    assert links == {"a": "m.emma"}
    assert unlinked == {"b": "below_min_score", "c": "no_candidate"}


def test_the_isbn_of_any_edition(link: Any) -> None:
    links, _ = link(
        {"item_id": "a", "title": "Der Wüstenplanet", "writer": ["Frank Herbert"], "isbn": ["0-306-40615-2"]},
        {"item_id": "b", "title": "Emma", "isbn": ["080442957X"]},
    )
    assert links == {"a": "m.dune", "b": "m.emma"}


def test_a_catalogue_keyed_by_isbn(link: Any) -> None:
    links, _ = link(
        {"item_id": "0306406152", "title": "Dune: Deluxe Edition"}, {"item_id": "080442957X", "title": "Emma"}
    )
    assert links == {"0306406152": "m.dune", "080442957X": "m.emma"}
