"""What a small graph holds, counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kgrec.errors import DataError
from kgrec.kg.describe import GraphView
from kgrec.kg.formats.graph import GraphBuilder, write_graph

TRIPLES = [
    ("m.toy", "film.film.genre", "m.comedy"),
    ("m.toy2", "film.film.genre", "m.comedy"),
    ("m.toy", "film.film.directed_by", "m.lasseter"),
    ("m.toy2", "film.film.directed_by", "m.lasseter"),
    ("m.toy2", "film.film.prequel", "m.toy"),
    ("item:300", "film.film.genre", "m.drama"),
    ("m.drama", "x.y.same_as", "m.drama"),
]
NAMES = {
    "m.toy": "Toy Story", "m.toy2": "Toy Story 2", "m.comedy": "Comédie", "m.lasseter": "John Lasseter", "item:300": "Troy",
    "m.film300": "300", "m.other": "TOY STORY",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = GraphBuilder("test")
    builder.add_triples(TRIPLES)
    for entity, name in NAMES.items():
        builder.add_entity(entity, name=name, type="film.film" if entity not in ("m.comedy", "m.lasseter") else None)
    builder.add_entity("m.toy", description="A cowboy doll.")
    for item, entity in {"1": "m.toy", "2": "m.toy2", "9": "m.gone"}.items():
        builder.add_link(item, entity)
    folder = tmp_path_factory.mktemp("graph")
    write_graph(builder.graph(), folder)
    return folder


@pytest.fixture
def view(folder: Path) -> Iterator[GraphView]:
    with GraphView(folder) as view:
        yield view


def test_totals(view: GraphView) -> None:
    # degrees: toy 3, toy2 3, drama 3, comedy 2, lasseter 2, item:300 1; film300, other and gone 0
    assert view.describe().totals == {
        "triples": 7, "relations": 4, "self_loops": 1, "entities": 9, "named": 7, "described": 1, "typed": 5, "isolated": 3,
        "items": 4, "items_linked": 3, "items_with_triples": 3,
        "degree_min": 0, "degree_median": 2, "degree_mean": pytest.approx(14 / 9), "degree_p90": 3, "degree_p99": 3,
        "degree_max": 3,
    }  # fmt: skip


def test_relations(view: GraphView) -> None:
    rows = view.describe().relations
    assert [(row["relation"], row["triples"], row["heads"], row["tails"], row["items"]) for row in rows] == [
        ("film.film.genre", 3, 3, 2, 3), ("film.film.directed_by", 2, 2, 1, 2),
        ("film.film.prequel", 1, 1, 1, 2), ("x.y.same_as", 1, 1, 1, 0),
    ]  # fmt: skip
    assert [(row["example_head"], row["example_tail"]) for row in rows] == [
        ("Toy Story", "Comédie"), ("Toy Story", "John Lasseter"), ("Toy Story 2", "Toy Story"), ("m.drama", "m.drama"),
    ]  # fmt: skip


def test_types_histogram_and_hubs(view: GraphView) -> None:
    facts = view.describe(hubs=2)
    assert facts.types == [
        {"type": "film.film", "entities": 5, "named": 5, "degree_median": 1},
        {"type": None, "entities": 4, "named": 2, "degree_median": 2},
    ]
    assert facts.histogram == [
        {"low": 0, "high": 0, "nodes": 3}, {"low": 1, "high": 1, "nodes": 1}, {"low": 2, "high": 2, "nodes": 2},
        {"low": 3, "high": 4, "nodes": 3},
    ]  # fmt: skip
    assert [one.entity_id for one in facts.hubs] == ["m.drama", "m.toy"]


def test_steps_of_the_histogram(tmp_path: Path) -> None:
    builder = GraphBuilder("test")
    for degree in (4, 5, 8, 9, 16, 17):
        builder.add_triples((f"hub{degree}", "r", f"{degree}:{at}") for at in range(degree))
    write_graph(builder.graph(), tmp_path)
    with GraphView(tmp_path) as view:
        rows = [tuple(row.values()) for row in view.describe().histogram]
    assert rows == [(1, 1, 59), (3, 4, 1), (5, 8, 2), (9, 16, 2), (17, 32, 1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m.toy", ["m.toy"]), ("/m/toy", ["m.toy"]), ("<http://rdf.freebase.com/ns/m.toy>", ["m.toy"]),
        ("item:1", ["m.toy"]), ("1", ["m.toy"]), ("9", ["m.gone"]), ("item:300", ["item:300"]),
        ("300", ["item:300", "m.film300"]),  # an item's id and a film's name
        ("toy story", ["m.toy", "m.other"]), (" COMEDIE ", ["m.comedy"]), ("Toy Story 2", ["m.toy2"]),
        ("toy", ["m.toy", "m.toy2", "m.other"]), ("lass", ["m.lasseter"]), ("sset", ["m.lasseter"]), ("roy", ["item:300"]),
    ],
)  # fmt: skip
def test_find(view: GraphView, text: str, found: list[str]) -> None:
    assert [one.entity_id for one in view.find(text)] == found


def test_find_at_most(view: GraphView) -> None:
    assert [one.entity_id for one in view.find("toy", most=2)] == ["m.toy", "m.toy2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Toy Stroy 2", r"no entity, item or name 'Toy Stroy 2'; did you mean 'Toy Story 2'"),
        ("Jon Lasseter", "did you mean 'John Lasseter'\\?$"), ("zzz", "name 'zzz'$"), ("", "name ''$"), ("item:7", "'item:7'"),
    ],
)  # fmt: skip
def test_nothing_found(view: GraphView, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        view.find(text)


def test_a_graph_without_names(tmp_path: Path) -> None:
    builder = GraphBuilder("test")
    builder.add_triples([("m.a", "r", "m.b")])
    write_graph(builder.graph(), tmp_path)
    with GraphView(tmp_path) as view, pytest.raises(DataError, match="it has no names at all, so give an entity id"):
        view.find("Toy Story")


def test_facts(view: GraphView) -> None:
    facts = view.facts("m.toy")
    assert [(one.outgoing, one.relation, one.total, [other.name for other in one.others]) for one in facts] == [
        (True, "film.film.directed_by", 1, ["John Lasseter"]),
        (True, "film.film.genre", 1, ["Comédie"]),
        (False, "film.film.prequel", 1, ["Toy Story 2"]),
    ]
    (facts_of_lasseter,) = view.facts("m.lasseter", most=1)
    assert (facts_of_lasseter.total, [one.entity_id for one in facts_of_lasseter.others]) == (2, ["m.toy"])
    assert [(one.outgoing, one.total) for one in view.facts("m.drama")] == [(True, 1), (False, 1), (False, 1)]
    assert view.facts("m.gone") == []


def test_entities_say_what_is_known(view: GraphView) -> None:
    (toy,) = view.find("m.toy")
    assert (toy.name, toy.description, toy.type, toy.degree, toy.items) == (
        "Toy Story", "A cowboy doll.", "film.film", 3, ("1",),
    )  # fmt: skip
    (troy,) = view.find("item:300")
    assert troy.items == ("300",)


def test_links_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    for name in ("triples", "entities"):
        (tmp_path / f"{name}.parquet").write_bytes((folder / f"{name}.parquet").read_bytes())
    with GraphView(tmp_path) as view:
        assert view.describe().totals["items"] == 1
    with GraphView(tmp_path, folder / "links.parquet") as view:
        assert view.describe().totals["items"] == 4
    with pytest.raises(DataError, match="no such folder"):
        GraphView(tmp_path / "none")
    (tmp_path / "triples.parquet").unlink()
    with pytest.raises(DataError, match=r"triples\.parquet: no such file"):
        GraphView(tmp_path)
