"""The relation report against hand arithmetic, against a slow second way, and on the real graph."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec.data.io import read_json, read_parquet, sha256_file, write_parquet
from kgrec.data.schemas import ENTITIES, LINKS, RELATIONS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.filters import DROPPED
from kgrec.kg.quality import HUBS, ISOLATED, QUALITY, QualitySettings, relation_report

Facts = list[tuple[str, str, str]]


@pytest.fixture(name="report")
def _report(tmp_path: Path, write_items: Any) -> Any:
    """Write a graph of ``items``, where m.<item> is linked and u<item> is not, and report on it."""

    def report(facts: Facts, items: list[str], names: dict[str, str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return write_report(tmp_path, write_items, facts, items, names or {}, **kwargs)

    return report


def write_report(
    folder: Path, write_items: Any, facts: Facts, items: list[str], names: dict[str, str], **kwargs: Any
) -> dict[str, Any]:
    graph = folder / "graph"
    nodes = sorted({node for h, _, t in facts for node in (h, t)} | names.keys())
    triples = [dict(zip(TRIPLES.names, fact, strict=True)) for fact in facts]
    entities = [{"entity_id": node, "name": names.get(node), "type": "thing"} for node in nodes]
    relations = [{"relation": r, "source": "rdf"} for r in sorted({r for _, r, _ in facts})]
    for name, schema, rows in (
        ("triples", TRIPLES, triples),
        ("entities", ENTITIES, entities),
        ("relations", RELATIONS, relations),
    ):
        write_parquet(pa.Table.from_pylist(rows, schema=schema), graph / f"{name}.parquet")
    write_items(folder / "items.parquet", [{"item_id": item, "title": f"Film {item}"} for item in items])
    links = [{"item_id": i, "entity_id": f"m.{i}", "method": "kb4rec", "score": 1.0} for i in items if i[0] != "u"]
    write_parquet(pa.Table.from_pylist(links, schema=LINKS), folder / "links.parquet")
    dropped = kwargs.pop("dropped", None)
    summary = relation_report(
        graph,
        folder / "items.parquet",
        folder / "links.parquet",
        folder / "quality",
        QualitySettings(**kwargs),
        dropped,
    )
    assert read_json(folder / "quality" / "quality.json") == summary
    return summary


def rows(folder: Path, name: str, schema: pa.Schema) -> list[dict[str, Any]]:
    return list(read_parquet(folder / "quality" / f"{name}.parquet", schema).to_pylist())


def test_numbers_of_a_relation(report: Any, tmp_path: Path) -> None:
    facts = [
        ("m.1", "director", "m.d"), ("m.2", "director", "m.d"), ("m.2", "director", "m.e"), ("item:u3", "director", "m.f"),
        ("m.d", "directed", "m.1"), ("m.d", "directed", "m.2"), ("m.e", "directed", "m.9"),
        ("m.1", "author", "m.d"), ("m.2", "author", "m.d"), ("m.2", "author", "m.g"), ("m.4", "author", "m.h"),
        ("m.1", "sequel", "m.2"), ("m.2", "sequel", "m.1"),
    ]  # fmt: skip
    report(facts, ["1", "2", "u3", "4"], {"m.1": "Alien", "m.d": "Ridley Scott", "m.f": "F"})
    table = {row["relation"]: row for row in rows(tmp_path, "relations", QUALITY)}
    one = table["director"]
    assert (one["triples"], one["heads"], one["tails"], one["source"]) == (4, 3, 3, "rdf")
    assert (one["functionality"], one["inverse_functionality"]) == (3 / 4, 3 / 4)
    assert (one["items"], one["item_share"]) == (3, 3 / 4)
    assert one["joined_share"] == 2 / 4  # m.1 and m.2 share m.d
    assert one["top_share"] == 2 / 3  # m.d is beside two of the three
    assert (one["double"], one["double_share"]) == ("author", 2 / 4)
    assert (one["inverse"], one["inverse_share"]) == ("directed", 2 / 4)
    assert one["example"] == "Alien → Ridley Scott"
    assert (table["directed"]["inverse"], table["directed"]["inverse_share"]) == (
        "author",
        2 / 3,
    )  # of equals the first
    assert table["directed"]["joined_share"] == 2 / 4  # seen from the tails
    sequel = table["sequel"]
    assert (sequel["inverse"], sequel["inverse_share"], sequel["item_pairs"]) == ("sequel", 1.0, 1.0)
    assert (sequel["double"], sequel["double_share"], sequel["joined_share"]) == (None, 0.0, 2 / 4)
    assert all(row["leak"] is None for row in table.values())


def test_hubs_and_isolated(report: Any, tmp_path: Path) -> None:
    items = [str(n) for n in range(1, 9)]
    facts = [(f"m.{n}", "genre", "m.drama") for n in range(1, 7)] + [
        ("m.1", "director", "m.d"),
        ("m.2", "director", "m.d"),
    ]
    facts += [("m.7", "director", "m.lonely"), ("m.3", "sequel", "m.4"), ("m.drama", "parent", "m.art")]
    summary = report(facts, items, {"m.drama": "Drama", "m.gone": "Gone"}, hub_share=0.5)
    assert [tuple(row.values()) for row in rows(tmp_path, "hubs", HUBS)] == [
        ("m.drama", "Drama", "thing", 7, 6, 6 / 8, "genre")
    ]
    isolated = {row["entity_id"]: (row["kind"], row["name"]) for row in rows(tmp_path, "isolated", ISOLATED)}
    assert isolated == {
        "m.gone": ("no fact", "Gone"), "m.8": ("no fact", "Film 8"), "m.7": ("no other item", "Film 7"),
        "m.5": ("hubs only", "Film 5"), "m.6": ("hubs only", "Film 6"),
    }  # fmt: skip
    counts = {key: summary[key] for key in summary if key.startswith(("items", "entities", "hubs"))}
    assert counts == {
        "hubs": 1, "entities_without_fact": 1, "items_without_fact": 1, "items_without_company": 1,
        "items_over_hubs_only": 2, "entities_of_one_fact": 2,
    }  # fmt: skip
    assert summary["degree"] == {"median": 2.0, "p99": 7, "max": 7}


def test_remarks(report: Any, tmp_path: Path) -> None:
    items = [str(n) for n in range(40)]
    facts = [(f"m.{n}", "x.genre", f"m.g{n % 3}") for n in range(40)]
    facts += [(f"m.{n}", "y.genre", f"m.g{n % 3}") for n in range(40) if n]
    facts += [(f"m.g{n % 3}", "x.films", f"m.{n}") for n in range(30)]
    facts += [(f"m.{n}", "x.language", "m.en") for n in range(40)]
    facts += [(f"m.{n}", "z.neighbour", f"m.{(n + k) % 40}") for n in range(40) for k in (1, 2, 5)]
    facts += [(f"m.{n}", "x.sequel", f"m.{n + 1}") for n in range(0, 40, 2)]
    facts += [("m.1", "x.similar_to", "m.2"), ("m.1", "x.award", "m.mtv"), ("m.2", "x.award", "m.oscar")]
    facts += [("m.3", "x.award", "m.unknown")]
    gone = pa.table({"relation": ["type.x"], "facts": [9], "pattern": ["type.*"], "reason": ["why"]}, schema=DROPPED)
    names = {"m.mtv": "MTV Movie Award for Best Kiss", "m.oscar": "Academy Award", "m.4": "An MTV Movie Award Story"}
    summary = report(facts, items, names, dropped=gone)
    table = {row["relation"]: row for row in rows(tmp_path, "relations", QUALITY)}
    suspected = {name: (row["leaking"], row["leak"]) for name, row in table.items() if row["leak"]}
    assert suspected == {
        "x.award": (
            1, "an award by the vote of viewers of MTV; 1 more cannot be judged for want of a name"
        ),
        "x.similar_to": (1, "likeness computed from what users chose together"),
        "z.neighbour": (
            120, "leads from items to items, mostly 3 from each: looks like a computed list of neighbours"
        ),
    }  # fmt: skip
    assert summary["relations_suspected"] == 3
    assert summary["triples_suspected"] == 122
    assert summary["relations_stated_twice"] == 3  # x.genre (39 of 40), y.genre, and x.sequel among the neighbours
    assert summary["relations_with_inverse"] == 3  # the genres, and x.films
    assert summary["relations_constant"] == 1
    assert rows(tmp_path, "dropped", DROPPED) == gone.to_pylist()
    with open(tmp_path / "quality" / "relations.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["relation"] for line in lines][:3] == ["z.neighbour", "x.genre", "x.language"]
    assert float(lines[1]["functionality"]) == 1.0
    assert (tmp_path / "quality" / "plots" / "relations.png").read_bytes()[:4] == b"\x89PNG"


def test_equal_runs_give_equal_bytes(report: Any, tmp_path: Path) -> None:
    facts = [(f"m.{n}", f"r{n % 3}", f"m.e{n % 7}") for n in range(200)] + [("m.1", "r1", "m.e1")]
    digests = []
    for _ in range(2):
        report(facts, [str(n) for n in range(200)])
        files = sorted(path for path in (tmp_path / "quality").rglob("*") if path.is_file())
        digests.append([(path.name, sha256_file(path)) for path in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph", "items.parquet", "links.parquet", "quality"]


def test_bad_input(report: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"triples\.parquet: holds no triple"):
        report([], ["1"])
    (tmp_path / "graph" / "triples.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"triples\.parquet: cannot be read as the Parquet table"):
        relation_report(
            tmp_path / "graph",
            tmp_path / "items.parquet",
            tmp_path / "links.parquet",
            tmp_path / "q",
            QualitySettings(),
        )
    with pytest.raises(DataError, match="no such file"):
        relation_report(
            tmp_path, tmp_path / "items.parquet", tmp_path / "links.parquet", tmp_path / "q", QualitySettings()
        )


nodes = st.sampled_from(["m.1", "m.2", "item:u3", "m.a", "m.b", "m.c"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.lists(st.tuples(nodes, st.sampled_from("pqr"), nodes), min_size=1, max_size=25))
def test_against_a_slow_second_way(facts: Facts, tmp_path_factory: pytest.TempPathFactory, write_items: Any) -> None:
    folder = tmp_path_factory.mktemp("quality")
    with patch("kgrec.kg.quality.plot_relations"):
        write_report(folder, write_items, sorted(set(facts)), ["1", "2", "u3", "4"], {})
    items = {"m.1", "m.2", "item:u3", "m.4"}
    pairs: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for h, r, t in facts:
        pairs[r].add((h, t))
    for row in rows(folder, "relations", QUALITY):
        mine = pairs[row["relation"]]
        proper = {(h, t) for h, t in mine if h != t}
        assert row["triples"] == len(mine)
        assert row["functionality"] == len({h for h, _ in mine}) / len(mine)
        assert row["inverse_functionality"] == len({t for _, t in mine}) / len(mine)
        reached = {node for pair in mine for node in pair if node in items}
        assert row["item_share"] == len(reached) / 4
        joined = {
            item for item in reached
            for h, t in mine
            if (h == item and (t in items or any(x != item and x in items for x, y in mine if y == t)))
            or (t == item and (h in items or any(y != item and y in items for x, y in mine if x == h)))
        }  # fmt: skip
        assert row["joined_share"] == len(joined) / 4
        doubles = [len(proper & pairs[r]) / len(mine) for r in pairs if r != row["relation"]]
        assert row["double_share"] == max([0.0, *doubles])
        inverses = [len(proper & {(t, h) for h, t in pairs[r]}) / len(mine) for r in pairs]
        assert row["inverse_share"] == max(inverses)
