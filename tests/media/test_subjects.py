from pathlib import Path

import pyarrow as pa
import pytest

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.errors import DataError
from kgrec.media.sources import Subject
from kgrec.media.subjects import Catalogue


def table(path: Path, schema: pa.Schema, rows: list[dict]) -> Path:
    empty = {field.name: [] if pa.types.is_list(field.type) else None for field in schema}
    write_parquet(pa.Table.from_pylist([empty | row for row in rows], schema=schema), path)
    return path


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    items = [
        {"item_id": "2", "title": "Alien", "year": 1979, "imdb_id": "tt0078748"},
        {"item_id": "10", "title": None, "tmdb_id": "7", "isbn": ["978", "979"]},
    ]
    links = [{"item_id": "2", "entity_id": "m.alien", "method": "file", "score": 1.0},
             {"item_id": "gone", "entity_id": "m.gone", "method": "file", "score": 1.0}]  # fmt: skip
    entities = [
        {"entity_id": e, "name": n}
        for e, n in (("m.alien", "Alien"), ("m.scott", "Ridley Scott"), ("m.gone", "G"), ("m.x", None))
    ]
    keys = [
        ("m.alien", "imdb", "tt9999999"), ("m.alien", "commons", "B.jpg"), ("m.alien", "commons", "A.jpg"),
        ("m.alien", "wikipedia", "de:Alien: Das Wesen"), ("m.alien", "wikipedia", "en:Alien (film)"),
        ("m.scott", "wikidata", "Q56005"), ("m.nobody", "imdb", "tt1"),
    ]  # fmt: skip
    return Catalogue(
        table(tmp_path / "items.parquet", schemas.ITEMS, items),
        table(tmp_path / "links.parquet", schemas.LINKS, links),
        table(tmp_path / "entities.parquet", schemas.ENTITIES, entities),
        table(tmp_path / "keys.parquet", schemas.KEYS, [dict(zip(schemas.KEYS.names, row, strict=True)) for row in keys]),
    )  # fmt: skip


def test_items_and_entities_in_the_order_of_their_keys_with_what_others_call_them(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    assert list(catalogue.subjects(tmp_path)) == [
        Subject("entity:m.scott", "Ridley Scott", None, {"wikidata": "Q56005"}),
        Subject("entity:m.x", "", None, {}),
        Subject("item:10", "", None, {"isbn": "978", "tmdb": "7"}),
        # the catalogue's own id wins over the entity's; of several names the first
        Subject("item:2", "Alien", 1979, {
            "commons": "A.jpg", "imdb": "tt0078748", "wikipedia.de": "Alien: Das Wesen", "wikipedia.en": "Alien (film)",
        }),
    ]  # fmt: skip
    assert not list(tmp_path.glob(".*"))


def test_without_keys_there_are_those_of_the_catalogue(catalogue: Catalogue, tmp_path: Path) -> None:
    bare = Catalogue(catalogue.items, catalogue.links, catalogue.entities)
    assert [dict(one.ids) for one in bare.subjects(tmp_path) if one.key == "item:2"] == [{"imdb": "tt0078748"}]


def test_a_missing_table_is_an_error(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.parquet: no such file"):
        Catalogue(tmp_path / "nothing.parquet", catalogue.links, catalogue.entities)
