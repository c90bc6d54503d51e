"""Leaks are named in written graphs and on the real one; facts about the films themselves are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.data.interactions import InteractionsSettings, build_interactions
from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ENTITIES, LINKS, TRIPLES
from kgrec.errors import DataError
from kgrec.kg.build import KGSettings, build_kg
from kgrec.kg.leaks import SUSPECTS, leaks_of_graph
from kgrec.kg.store import ExtractSettings, build_store

AWARD = "award.award_nominated_work.award_nominations..award.award_nomination.award"


def write_graph(folder: Path, facts: list[tuple[str, str, str]], **names: str) -> Path:
    triples = [dict(zip(TRIPLES.names, fact, strict=True)) for fact in facts]
    write_parquet(pa.Table.from_pylist(triples, schema=TRIPLES), folder / "triples.parquet")
    entities = [{"entity_id": node, "name": name} for node, name in names.items()]
    write_parquet(pa.Table.from_pylist(entities, schema=ENTITIES), folder / "entities.parquet")
    return folder


def suspects(table: pa.Table) -> dict[tuple[str, str], int]:
    assert table.schema == SUSPECTS
    return {(row["relation"], row["pattern"]): row["leaking"] for row in table.to_pylist()}


def test_by_name_of_relation_and_of_award(tmp_path: Path) -> None:
    facts = [
        ("a", "also_bought", "b"), ("a", "genre", "g"), ("a", AWARD, "kids"), ("b", AWARD, "kids"), ("b", AWARD, "oscar"),
        ("b", AWARD, "sundance"), ("kids", "presented_at", "mtv"),
    ]  # fmt: skip
    names = {"kids": "Nickelodeon Kids’ Choice Award", "oscar": "Academy Award", "sundance": "Sundance Audience Award"}
    found = suspects(leaks_of_graph(write_graph(tmp_path, facts, **names, mtv="1999 MTV Movie Awards")))
    assert found == {
        ("also_bought", "*also_bought*"): 1,
        (AWARD, "*kids' choice*"): 2,
        (AWARD, "*audience award*"): 1,
        ("presented_at", "*kids' choice*"): 1,  # one fact under one pattern
    }


def test_a_computed_list_needs_items(tmp_path: Path) -> None:
    facts = [(f"e{n}", "near", f"e{(n + k) % 30}") for n in range(30) for k in (1, 2, 3, 4)]
    facts += [(f"e{n}", "cast", f"a{k}") for n in range(30) for k in (1, 2, 3, 4)]  # as many of each, but no items
    facts += [(f"e{n}", "remake", f"e{n + 1}") for n in range(25)]  # items, but one each
    graph = write_graph(tmp_path, facts)
    assert suspects(leaks_of_graph(graph)) == {}
    links = [{"item_id": str(n), "entity_id": f"e{n}", "method": "x", "score": 1.0} for n in range(30)]
    write_parquet(pa.Table.from_pylist(links, schema=LINKS), tmp_path / "elsewhere.parquet")
    assert suspects(leaks_of_graph(graph, tmp_path / "elsewhere.parquet")) == {("near", ""): 120}
    write_parquet(pa.Table.from_pylist(links, schema=LINKS), graph / "links.parquet")
    assert suspects(leaks_of_graph(graph)) == {("near", ""): 120}


def test_unlinked_items_count_as_items(tmp_path: Path) -> None:
    facts = [(f"item:{n}", "near", f"item:{(n + k) % 30}") for n in range(30) for k in (1, 2, 3)]
    assert suspects(leaks_of_graph(write_graph(tmp_path, facts))) == {("near", ""): 90}


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        leaks_of_graph(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"triples\.parquet: no such file"):
        leaks_of_graph(tmp_path)
    write_parquet(pa.table({"head": ["a"]}), tmp_path / "triples.parquet")
    with pytest.raises(DataError, match="lacks column"):
        leaks_of_graph(tmp_path)


def test_on_the_real_graph(real_data: Path, tmp_path: Path) -> None:
    """ML-1M with every relation of the dump let in: what leaks is found, and nothing that says what a film is."""
    build_interactions(
        real_data / "ml-1m", real_data / "imdb-ml-1m", tmp_path, InteractionsSettings(format="movielens")
    )
    known = set(read_parquet(tmp_path / "items.parquet")["item_id"].to_pylist())
    pairs = [line.split() for line in (real_data / "freebase" / "ml2fb.txt").read_text().splitlines()]
    rows = [{"item_id": i, "entity_id": e, "method": "kb4rec", "score": 1.0} for i, e in pairs if i in known]
    links, store, kg, graph = (tmp_path / name for name in ("links.parquet", "store", "kg", "graph"))
    write_parquet(pa.Table.from_pylist(rows, schema=LINKS), links)
    kg.mkdir()
    build_store([real_data / "freebase" / "freebase-film-rdf.gz"], store, ExtractSettings())
    bare = KGSettings(relations_deny=(), drop_voted_awards=False)
    build_kg(tmp_path / "items.parquet", links, store, kg, graph, bare)
    found = leaks_of_graph(graph, links).to_pylist()
    whole = {row["relation"] for row in found if row["leaking"] == row["triples"]}
    assert whole == {
        "media_common.netflix_genre.titles",
        "award.ranked_item.appears_in_ranked_lists..award.ranking.list",
    }
    part: dict[str, Any] = {row["relation"]: row for row in found if row["relation"] not in whole}
    assert part.keys() == {
        AWARD, "award.award_winning_work.awards_won..award.award_honor.award",
        "film.film.award_nomination", "film.film.award_won",
    }  # fmt: skip
    assert all(row["pattern"] == "*mtv movie award*" and row["leaking"] < row["triples"] / 10 for row in part.values())
    assert part[AWARD]["leaking"] == 190
    counts = build_kg(tmp_path / "items.parquet", links, store, kg, graph, KGSettings())
    assert counts["voted"]["voted_awards"] == 10
    assert leaks_of_graph(graph, links).num_rows == 0
    left_out = set(read_parquet(graph / "quality" / "dropped.parquet")["pattern"].to_pylist())
    assert "*mtv movie award*" in left_out
