from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from kgrec.data.io import write_parquet
from kgrec.data.schemas import ENTITIES, LINKS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.graph_tables import open_graph


@pytest.fixture(name="graph")
def _graph(tmp_path: Path) -> Path:
    facts = [("m.1", "r", "m.x"), ("m.1", "r", "m.x"), ("item:7", "r", "m.x")]
    rows = [dict(zip(TRIPLES.names, fact, strict=True)) for fact in facts]
    folder = tmp_path / "it's a graph"  # a quote in a path is no SQL
    write_parquet(pa.Table.from_pylist(rows, schema=TRIPLES), folder / "triples.parquet")
    return folder


def tables(graph: Path, **paths: Any) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect() as connection:
        open_graph(connection, graph, **paths)
        ids = dict(connection.execute("SELECT node, id FROM nodes").fetchall())
        assert sorted(ids.values()) == [ids[node] for node in range(len(ids))]
        found = {name: connection.execute(f"FROM {name}").fetchall() for name in ("facts", "named", "items")}
        return {
            name: sorted(tuple(ids[cell] if isinstance(cell, int) else cell for cell in row) for row in rows)
            for name, rows in found.items()
        }


def test_facts_are_distinct_and_the_rest_may_be_absent(graph: Path) -> None:
    assert tables(graph) == {
        "facts": [("item:7", "r", "m.x"), ("m.1", "r", "m.x")],
        "named": [],
        "items": [("item:7", "7", None)],
    }


def test_items_come_from_the_catalogue_or_from_the_links(graph: Path, tmp_path: Path, write_items: Any) -> None:
    link = {"item_id": "1", "entity_id": "m.1", "method": "x", "score": 1.0}
    write_parquet(pa.Table.from_pylist([link], schema=LINKS), tmp_path / "links.parquet")
    entity = {"entity_id": "m.1", "name": "Alien", "type": "film"}
    write_parquet(pa.Table.from_pylist([entity], schema=ENTITIES), graph / "entities.parquet")
    found = tables(graph, links=tmp_path / "links.parquet")
    assert found["items"] == [("item:7", "7", None), ("m.1", "1", None)]
    assert found["named"] == [("m.1", "Alien", "film")]
    items = write_items(tmp_path / "items.parquet", [{"item_id": "1", "title": "A"}, {"item_id": "9", "title": "B"}])
    assert tables(graph, items=items, links=tmp_path / "links.parquet")["items"] == [
        ("item:9", "9", "B"),
        ("m.1", "1", "A"),
    ]


def test_a_missing_file_is_an_error(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.parquet: no such file"):
        tables(graph, links=tmp_path / "gone.parquet")
