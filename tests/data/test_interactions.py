"""From ratings to the interactions of an experiment; the counts of real ML-1M are golden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.config import parse_settings
from kgrec.data.interactions import InteractionsSettings, build_interactions, k_core, latest_of_each
from kgrec.data.io import read_parquet
from kgrec.data.readers import REJECTS
from kgrec.data.schemas import INTERACTIONS, ITEMS, USERS
from kgrec.errors import ConfigError, DataError

Movielens = Callable[..., Path]


def build(ratings: Path, out: Path, texts: Path | None = None, **settings: object):
    texts = texts or out.parent / "texts"
    texts.mkdir(exist_ok=True)
    counts = build_interactions(ratings, texts, out, parse_settings(InteractionsSettings, settings))
    return counts, read_parquet(out / "interactions.parquet", INTERACTIONS)


def pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def test_small_set(movielens: Movielens, tmp_path: Path) -> None:
    counts, table = build(movielens(), tmp_path / "out")
    assert pairs(table) == [("1", "10"), ("1", "20"), ("3", "30")]
    assert counts["dropped"] == {"older_rating": 0, "below_min_rating": 1, "outside_core": 0}
    assert (counts["ratings"], counts["interactions"], counts["users"], counts["items"]) == (4, 3, 2, 3)
    assert counts["sparsity"] == pytest.approx(1 - 3 / 6)
    assert read_parquet(tmp_path / "out/items.parquet", ITEMS)["item_id"].to_pylist() == ["10", "20", "30"]
    assert read_parquet(tmp_path / "out/users.parquet", USERS)["user_id"].to_pylist() == ["1", "2", "3"]
    assert read_parquet(tmp_path / "out/ledger.parquet", REJECTS).num_rows == 0


def test_threshold_is_inclusive_and_may_be_off(movielens: Movielens, tmp_path: Path) -> None:
    assert pairs(build(movielens(), tmp_path / "a", min_rating=5)[1]) == [("1", "10")]
    assert build(movielens(), tmp_path / "b", min_rating=None)[1].num_rows == 4


def test_items_and_users_missing_from_the_catalogue_get_a_row(movielens: Movielens, tmp_path: Path) -> None:
    counts, _ = build(movielens(ratings="9::99::5::1\n"), tmp_path / "out")
    items = {row["item_id"]: row for row in read_parquet(tmp_path / "out/items.parquet", ITEMS).to_pylist()}
    assert items["99"]["title"] is None
    assert items["99"]["genre"] == []
    assert "9" in read_parquet(tmp_path / "out/users.parquet", USERS)["user_id"].to_pylist()
    assert counts["catalogue"] == {"users": 4, "items": 4, "items_without_title": 1}


def test_latest_rating_of_a_pair_counts(movielens: Movielens, tmp_path: Path) -> None:
    ratings = "1::10::5::200\n1::10::1::300\n2::10::1::100\n2::10::4::100\n3::10::5::9\n3::10::2::1\n"
    counts, table = build(movielens(ratings=ratings), tmp_path / "out")
    assert pairs(table) == [("2", "10"), ("3", "10")]
    assert counts["dropped"]["older_rating"] == 3
    ledger = read_parquet(tmp_path / "out/ledger.parquet", REJECTS).to_pylist()
    assert [(row["file"], row["line"], row["text"]) for row in ledger] == [
        ("ratings.dat", 1, "1\t10\t5\t200"), ("ratings.dat", 3, "2\t10\t1\t100"), ("ratings.dat", 6, "3\t10\t2\t1"),
    ]  # fmt: skip


def test_duplicate_items_are_merged(movielens: Movielens, tmp_path: Path) -> None:
    ratings = "1::10::5::1\n1::20::4::2\n2::30::5::3\n"
    counts, table = build(movielens(ratings=ratings), tmp_path / "out", duplicates={"20": "10", "30": "20"})
    assert pairs(table) == [("1", "10"), ("2", "10")]
    assert table["rating"].to_pylist() == [4.0, 5.0]
    assert read_parquet(tmp_path / "out/items.parquet", ITEMS)["item_id"].to_pylist() == ["10"]
    assert counts["merged_items"] == 2


@pytest.mark.parametrize(
    ("duplicates", "message"),
    [({"10": "20", "20": "10"}, "merged into itself"), ({"10": "77"}, "no item '77'"), ({"77": "10"}, "no item '77'")],
)
def test_wrong_duplicates(movielens: Movielens, tmp_path: Path, duplicates: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"interactions\.duplicates: .*{message}"):
        build(movielens(), tmp_path / "out", duplicates=duplicates)


def test_nothing_left(movielens: Movielens, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 4 ratings is left; lower"):
        build(movielens(), tmp_path / "out", user_min=3)
    assert not list(tmp_path.glob("out/*"))


def test_threshold_needs_ratings(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source({"a.inter": "user_id:token\titem_id:token\n1\t10\n"})
    with pytest.raises(ConfigError, match=r"interactions\.min_rating: the recbole source has no ratings"):
        build(folder, tmp_path / "out")
    assert build(folder, tmp_path / "out", min_rating=None)[1].num_rows == 1


def test_rejects_are_counted_and_written(movielens: Movielens, tmp_path: Path) -> None:
    folder = movielens(ratings="1::10::5::1\nbad\n1::20::5::x\n1::30::5::1\n")
    counts, _ = build(folder, tmp_path / "out", on_bad_row="ledger", max_bad_share=0.5)
    assert sum(counts["rejected"].values()) == 2
    assert read_parquet(tmp_path / "out/ledger.parquet", REJECTS)["line"].to_pylist() == [2, 3]


def test_encoding_is_of_the_ratings_not_of_the_texts(movielens: Movielens, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "omdb_metadata.jsonl").write_text('{"movie_id": 20, "Director": "Bille Åkerö"}\n', "utf-8")
    build(movielens(), tmp_path / "out", tmp_path / "texts", encoding="latin-1")
    items = {row["item_id"]: row for row in read_parquet(tmp_path / "out/items.parquet", ITEMS).to_pylist()}
    assert (items["20"]["title"], items["20"]["director"]) == ("Misérables, Les", ["Bille Åkerö"])


def test_misspelt_key() -> None:
    with pytest.raises(ConfigError, match="unknown key 'min_ratings'; did you mean 'min_rating'"):
        parse_settings(InteractionsSettings, {"min_ratings": 3})


def test_same_input_gives_equal_bytes(movielens: Movielens, tmp_path: Path) -> None:
    folder = movielens()
    for name in ("a", "b"):
        build(folder, tmp_path / name)
    for file in ("interactions", "items", "users", "ledger"):
        assert (tmp_path / f"a/{file}.parquet").read_bytes() == (tmp_path / f"b/{file}.parquet").read_bytes()


edges = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), unique=True, max_size=60)


@given(edges, st.integers(0, 4), st.integers(0, 4))
def test_k_core_is_the_largest_set_with_enough(edges: list, user_min: int, item_min: int) -> None:
    user, item = (np.array([edge[side] for edge in edges], dtype=np.int64) for side in (0, 1))
    left = set(edges)
    while True:
        poor = {
            edge for edge in left
            if sum(one[0] == edge[0] for one in left) < user_min or sum(one[1] == edge[1] for one in left) < item_min
        }  # fmt: skip
        if not poor:
            break
        left -= poor
    mask = k_core(user, item, user_min, item_min)
    assert {edge for edge, kept in zip(edges, mask, strict=True) if kept} == left


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 5))), max_size=40))
def test_latest_of_each(rows: list) -> None:
    best: dict = {}
    for at, (user, item, seconds) in enumerate(rows):
        key = (-1 if seconds is None else seconds, at)
        best[user, item] = max(best.get((user, item), key), key)
    user, item = (np.array([row[side] for row in rows], dtype=np.int64) for side in (0, 1))
    mask = latest_of_each(user, item, pa.chunked_array([pa.array([row[2] for row in rows], pa.int64())]))
    assert sorted(np.flatnonzero(mask).tolist()) == sorted(at for _, at in best.values())


def test_real_ml_1m(real_data: Path, tmp_path: Path) -> None:
    counts, table = build(real_data / "ml-1m", tmp_path / "out", real_data / "imdb-ml-1m")
    assert (table.num_rows, counts["items"], counts["users"]) == (836_478, 3_628, 6_039)
    assert counts["dropped"] == {"older_rating": 0, "below_min_rating": 163_731, "outside_core": 0}
    assert counts["items_with"]["imdb_id"] == 3_883
    assert counts["imdb_ids_used_twice"] == ["tt0109255", "tt0112619", "tt0114736", "tt0115680", "tt0118764"]
    items = {row["item_id"]: row for row in read_parquet(tmp_path / "out/items.parquet", ITEMS).to_pylist()}
    assert items["1"]["director"] == ["John Lasseter"]
    assert items["1"]["writer"][:2] == ["John Lasseter", "Pete Docter"]
    assert items["1"]["genre"] == ["Animation", "Children's", "Comedy"]
    assert items["1"]["country"] == ["USA"]


def test_real_ml_1m_ten_core(real_data: Path, tmp_path: Path) -> None:
    counts, table = build(real_data / "ml-1m", tmp_path / "out", user_min=10, item_min=10)
    assert (table.num_rows, counts["items"], counts["users"]) == (834_449, 3_123, 6_033)
