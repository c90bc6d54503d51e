"""The split: RecBole's rounding, disjoint parts, independence of row order, and the golden counts of real ML-1M."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.config import parse_settings
from kgrec.data.interactions import InteractionsSettings, build_interactions
from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import INTERACTIONS, LINKS
from kgrec.data.split import PARTS, SplitSettings, assign, leave_one_out_sizes, part_sizes, split_interactions
from kgrec.errors import ConfigError, DataError

METHODS = {
    "random_per_user": {}, "random_global": {}, "leave_one_out": {}, "temporal": {},
    "leave_one_out by chance": {"method": "leave_one_out", "leave_one_out_by": "random"},
    "temporal for all": {"method": "temporal", "temporal_by": "global"},
}  # fmt: skip


def protocol(name: str, **more: object) -> SplitSettings:
    return parse_settings(SplitSettings, {"method": name, **METHODS[name], **more})


def table(users: int = 20, seed: int = 0, timestamps: bool = True) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = [(f"u{user}", f"i{item}") for user in range(users) for item in rng.permutation(40)[: 1 + user]]
    times = rng.integers(0, 50, len(rows)) if timestamps else [None] * len(rows)
    return pa.table(
        [[row[0] for row in rows], [row[1] for row in rows], np.full(len(rows), 4.0), pa.array(times, pa.int64())],
        schema=INTERACTIONS,
    )


def links(items: list[str]) -> pa.Table:
    return pa.table([items, [f"m.{item}" for item in items], ["file"] * len(items), [1.0] * len(items)], schema=LINKS)


@pytest.fixture
def run(tmp_path: Path):
    def split(data: pa.Table, chosen: SplitSettings, linked: list[str] | None = None, out: str = "out"):
        write_parquet(data, tmp_path / "interactions.parquet")
        write_parquet(links([f"i{n}" for n in range(40)] if linked is None else linked), tmp_path / "links.parquet")
        counts = split_interactions(
            tmp_path / "interactions.parquet", tmp_path / "links.parquet", tmp_path / out, chosen
        )
        return counts, [read_parquet(tmp_path / out / f"{part}.parquet", INTERACTIONS) for part in PARTS]

    return split


def keys(data: pa.Table) -> set[tuple[str, str]]:
    return set(zip(data["user_id"].to_pylist(), data["item_id"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("n", "sizes"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (9, [7, 1, 1]), (10, [8, 1, 1]),
                     (19, [17, 1, 1]), (20, [16, 2, 2]), (834_268, [667_416, 83_426, 83_426])]
)  # fmt: skip
def test_rounding(n: int, sizes: list[int]) -> None:
    assert part_sizes(np.array([n]), (0.8, 0.1, 0.1)).tolist() == [sizes]
    assert part_sizes(np.array([n]), (8, 1, 1)).tolist() == [sizes]


@given(st.integers(0, 5000), st.tuples(*[st.floats(0.01, 10)] * 3))
def test_rounding_against_the_rule_in_words(n: int, ratios: tuple[float, float, float]) -> None:
    shares = [n * (one / sum(ratios)) for one in ratios]
    valid, test = math.floor(shares[1]), math.floor(shares[2])
    train = n - valid - test
    if train > 1 and 0 < shares[2] < 1:
        train, test = train - 1, 1
    if train > 1 and 0 < shares[1] < 1:
        train, valid = train - 1, 1
    sizes = part_sizes(np.array([n]), ratios)
    assert sizes.tolist() == [[train, valid, test]]
    assert sizes.sum() == n
    assert (sizes >= 0).all()


def test_leave_one_out_sizes() -> None:
    assert leave_one_out_sizes(np.array([1, 2, 3, 9])).tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [7, 1, 1]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.sampled_from(sorted(METHODS)), st.integers(0, 99))
def test_parts_have_their_sizes(sizes: list[int], name: str, seed: int) -> None:
    user = np.repeat(np.arange(len(sizes)), sizes)
    timestamp = np.random.default_rng(seed).integers(0, 9, len(user))
    chosen = protocol(name, seed=seed)
    part = assign(user, timestamp, chosen)
    assert set(part.tolist()) <= {0, 1, 2}
    if chosen.method == "leave_one_out":
        expected = leave_one_out_sizes(np.array(sizes))
    elif chosen.method == "random_global" or chosen.temporal_by == "global":
        user, expected = np.zeros_like(user), part_sizes(np.array([len(user)]), chosen.ratios)
    else:
        expected = part_sizes(np.array(sizes), chosen.ratios)
    got = np.stack([np.bincount(user[part == one], minlength=len(expected)) for one in range(3)], axis=1)
    assert got.tolist() == expected.tolist()
    if name in ("temporal", "leave_one_out", "temporal for all"):
        for one in np.unique(user):
            for earlier, later in ((0, 1), (1, 2)):
                before = timestamp[(user == one) & (part <= earlier)]
                after = timestamp[(user == one) & (part >= later)]
                assert before.max(initial=-1) <= after.min(initial=99)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_disjoint_complete_and_independent_of_row_order(run, name: str) -> None:
    data = table()
    counts, parts = run(data, protocol(name))
    found = [keys(part) for part in parts]
    assert found[0] | found[1] | found[2] == keys(data)
    assert sum(map(len, found)) == data.num_rows == counts["interactions"]
    assert [counts[part] for part in PARTS] == [len(one) for one in found]
    shuffled = data.take(np.random.default_rng(1).permutation(data.num_rows))
    _, again = run(shuffled, protocol(name))
    assert all(one.equals(other) for one, other in zip(parts, again, strict=True))


def test_equal_bytes(run, tmp_path: Path) -> None:
    for out in ("a", "b"):
        run(table(), protocol("random_per_user"), out=out)
    for part in PARTS:
        assert (tmp_path / f"a/{part}.parquet").read_bytes() == (tmp_path / f"b/{part}.parquet").read_bytes()


def test_seed_matters_where_chance_does(run) -> None:
    _, first = run(table(), protocol("random_per_user", seed=1))
    _, second = run(table(), protocol("random_per_user", seed=2))
    assert keys(first[2]) != keys(second[2])
    assert first[2].num_rows == second[2].num_rows


def test_rows_keep_their_values_and_are_sorted(run) -> None:
    data = table()
    _, parts = run(data, protocol("random_per_user"))
    known = {(row["user_id"], row["item_id"]): row for row in data.to_pylist()}
    for part in parts:
        rows = part.to_pylist()
        assert all(known[row["user_id"], row["item_id"]] == row for row in rows)
        assert rows == sorted(rows, key=lambda row: (row["user_id"], row["item_id"]))


def test_unlinked_items_are_left_out_and_counted(run) -> None:
    data = table()
    linked = [f"i{n}" for n in range(30)]
    counts, parts = run(data, protocol("random_per_user"), linked)
    wanted = {key for key in keys(data) if key[1] in set(linked)}
    assert set().union(*map(keys, parts)) == wanted
    assert counts["unlinked"] == {
        "interactions": data.num_rows - len(wanted), "items": len({item for _, item in keys(data)} - set(linked))
    }  # fmt: skip
    counts, parts = run(data, protocol("random_per_user", linked_only=False), linked)
    assert sum(part.num_rows for part in parts) == data.num_rows
    assert counts["unlinked"] == {}


def test_empty_part_is_an_error(run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the valid part .* would be empty \(2 interactions of 2 users\); change"):
        run(table(users=2).slice(0, 2), protocol("random_global"))
    with pytest.raises(DataError, match="none of the items is linked"):
        run(table(), protocol("random_per_user"), [])
    with pytest.raises(DataError, match="no interactions to split"):
        run(INTERACTIONS.empty_table(), protocol("random_per_user", linked_only=False))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["temporal", "leave_one_out"])
def test_time_is_needed(run, name: str) -> None:
    data = table(timestamps=False)
    with pytest.raises(DataError, match=rf"split\.method {name} needs timestamps"):
        run(data, protocol(name))
    run(data, protocol("leave_one_out by chance"))


def test_missing_inputs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"interactions\.parquet: no such file"):
        split_interactions(tmp_path / "interactions.parquet", tmp_path / "l", tmp_path / "out", SplitSettings())


@pytest.mark.parametrize("ratios", [[0.9, 0.1, 0], [0.8, 0.1], [0.8, -0.1, 0.3], [0.8, 0.1, float("nan")]])
def test_ratios_must_be_three_positive_numbers(ratios: list[float]) -> None:
    with pytest.raises(ConfigError, match="ratios"):
        parse_settings(SplitSettings, {"ratios": ratios})


@pytest.fixture(scope="module")
def ml_1m(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ml-1m")
    (folder / "texts").mkdir()
    build_interactions(real_data / "ml-1m", folder / "texts", folder, InteractionsSettings())
    linked = [line.split()[0] for line in (real_data / "freebase/ml2fb.txt").read_text().splitlines()]
    write_parquet(links(linked), folder / "links.parquet")
    return folder


@pytest.mark.parametrize(
    ("method", "sizes"),
    [("random_per_user", (672_850, 80_709, 80_709)), ("random_global", (667_416, 83_426, 83_426))],
)
def test_real_ml_1m(ml_1m: Path, tmp_path: Path, method: str, sizes: tuple[int, int, int]) -> None:
    chosen = SplitSettings(method=method)
    counts = split_interactions(ml_1m / "interactions.parquet", ml_1m / "links.parquet", tmp_path, chosen)
    assert (counts["interactions"], counts["items"], counts["users"]) == (834_268, 3_588, 6_039)
    assert tuple(counts[part] for part in PARTS) == sizes
    assert counts["unlinked"] == {"interactions": 2_210, "items": 40}
    assert round(counts["sparsity"], 4) == 0.9615
    if method == "random_per_user":
        assert counts["users_in"] == {"train": 6_039, "valid": 6_038, "test": 6_038}
