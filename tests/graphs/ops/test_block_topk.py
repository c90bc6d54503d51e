"""Block top-k against sorting all exact scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.graphs.ops import block_topk
from kgrec.graphs.ops.block_topk import BlockTopK, fast_kind

KINDS = ("int8", "float32")


def exact_scores(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Summed in float64 column by column, rounded once."""
    total = np.zeros((len(users), len(items)))
    for left, right in zip(users.T.astype(np.float64), items.T.astype(np.float64), strict=True):
        total += np.outer(left, right)
    return total.astype(np.float32) + np.float32(0)


def sorted_lists(users: np.ndarray, items: np.ndarray, seen: list[list[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
    scores = exact_scores(users, items)
    best, values = np.full((len(users), k), -1), np.full((len(users), k), -np.inf, np.float32)
    for row, left_out in enumerate(seen):
        order = np.lexsort((np.arange(len(items)), -scores[row].astype(np.float64)))
        order = order[~np.isin(order, left_out)][:k]
        best[row, : len(order)], values[row, : len(order)] = order, scores[row, order]
    return best, values


def rank(
    users: np.ndarray, items: np.ndarray, seen: list[list[int]], k: int, kind: Any = None, tile: int = 64, **given: Any
) -> tuple[np.ndarray, np.ndarray]:
    start = np.cumsum([0] + [len(part) for part in seen])
    flat = np.array([item for part in seen for item in sorted(part)], np.int64)
    find = BlockTopK(torch.from_numpy(items), kind, tile)
    return find(torch.from_numpy(users), np.arange(len(users)), start, flat, k, **given)


def check(users: np.ndarray, items: np.ndarray, k: int, seen: list[list[int]] | None = None, **given: Any) -> None:
    users, items = users.astype(np.float32), items.astype(np.float32)
    seen = seen or [[] for _ in users]
    best, values = sorted_lists(users, items, seen, k)
    for kind in KINDS:
        found, scores = rank(users, items, seen, k, kind, **given)
        assert np.array_equal(found, best), kind
        assert np.array_equal(scores, values), kind


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Users and items that could mislead a cheap score."""
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((5, 24)), rng.standard_normal((700, 24))
    one = rng.standard_normal(24)
    steps = np.nextafter(np.float32(1), np.float32(2)) - 1
    return {
        "normal": (users, items),
        "near ties": (users, one * (1 + steps * rng.integers(0, 4, (700, 1)))),
        "huge range": (
            users * 10.0 ** rng.integers(-12, 12, (5, 24)),
            items * 10.0 ** rng.integers(-12, 12, (700, 24)),
        ),
        "norms of items differ": (users, items * 10.0 ** rng.uniform(-15, 15, (700, 1))),
        "negative only": (np.abs(users), -np.abs(items)),
        "equal vectors": (users, np.repeat(one[None], 700, 0)),
        "many equal best": (np.abs(users), np.concatenate([np.full((650, 24), 9.0), items[:50]])),
        "zero users": (users * 0, items),
        "zero items": (users, items * (rng.random((700, 1)) < 0.5)),
        "zero and negative": (np.abs(users), -np.abs(items) * (rng.random((700, 1)) < 0.5)),
        "denormals": (users, items * 1e-42),
        "products underflow": (users * 1e-25, items * 1e-22),
        "one column": (users[:, :1], items[:, :1]),
        "one spike": (users, items + 1e6 * (rng.random((700, 24)) < 0.01)),
        "orthogonal": (users * (np.arange(24) < 12), items * (np.arange(24) >= 12)),
        "no items": (users, items[:0]),
        "no users": (users[:0], items),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("k", [1, 20, 705])
def test_equals_sorting(name: str, k: int) -> None:
    check(*cases()[name], k)


@pytest.mark.parametrize("room", [80, 100, 512])
def test_lists_may_overflow(room: int) -> None:
    """Ascending scores fill every list again and again; equal ones do not fit and are scored in full."""
    items = np.arange(1000, dtype=np.float32)[:, None] / 1000
    check(np.ones((2, 1)), items, 20, room=room)
    check(np.ones((2, 1)), np.ones((1000, 1)), 20, seen=[[0, 3], list(range(990))], room=room)


def test_seen_items() -> None:
    rng = np.random.default_rng(1)
    users, items = rng.standard_normal((4, 8)), rng.standard_normal((90, 8))
    check(users, items, 10, seen=[[], list(range(90)), list(range(85)), [7, 88]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 200), st.integers(1, 30), st.booleans())
def test_random_worlds(seed: int, width: int, n_items: int, k: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    users, items = rng.standard_normal((3, width)), rng.standard_normal((n_items, width))
    if coarse:  # small integers: many ties
        users, items = users.round(), items.round()
    seen = [np.flatnonzero(rng.random(n_items) < share).tolist() for share in (0, 0.3, 1)]
    check(users, items, k, seen)


def test_bound_holds() -> None:
    """The cheap score of every pair lies within (1) of the exact one."""
    for users, items in cases().values():
        users, items = users.astype(np.float32), items.astype(np.float32)
        if not len(users) or not len(items):
            continue
        total = users.astype(np.float64) @ items.astype(np.float64).T
        for kind in KINDS:
            u, v = (block_topk._quantized(torch.from_numpy(x), kind) for x in (users, items))
            as_summed = torch.float32 if kind == "float32" else torch.int32
            cheap = (torch.from_numpy(u.q).to(as_summed) @ torch.from_numpy(v.q).to(as_summed).T).double().numpy()
            slack = np.outer(u.rest, v.norm + v.rest) + np.outer(u.norm, v.rest)
            units = np.outer(u.scale, v.scale)
            lengths = [np.linalg.norm(x.astype(np.float64), axis=1) for x in (users, items)]
            rounding = 1e-14 * np.outer(*lengths)  # of the sum compared with
            assert (np.abs(total - cheap * units) <= slack * units + rounding).all()


def test_blocks_tiles_kinds_and_threads_give_the_same_bits() -> None:
    rng = np.random.default_rng(2)
    users = rng.standard_normal((40, 33)).astype(np.float32)
    items = (rng.standard_normal((900, 33)) * rng.lognormal(size=(900, 1))).astype(np.float32)
    seen = [rng.choice(900, 50, replace=False).tolist() for _ in users]
    best, scores = rank(users, items, seen, 15, "float32", 1024)
    for kind in KINDS:
        for tile in (1, 128, 4096):
            found = rank(users, items, seen, 15, kind, tile)
            assert np.array_equal(found[0], best)
            assert np.array_equal(found[1], scores)
        for rows in ([0], [7, 3, 39], list(range(20, 40))):
            found = rank(users[rows], items, [seen[row] for row in rows], 15, kind)
            assert np.array_equal(found[0], best[rows])
            assert np.array_equal(found[1], scores[rows])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert np.array_equal(rank(users, items, seen, 15)[1], scores)
    finally:
        torch.set_num_threads(threads)


def test_lower_precision_asked_for_products_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    users, items = rng.standard_normal((4, 64)), rng.standard_normal((500, 64))
    torch.set_float32_matmul_precision("medium")
    try:
        check(users, items, 20)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_order_of_summation_is_settled() -> None:
    """Where two orders of summation round to different float32, the first-to-last one counts."""
    half = np.float64(2.0**-24)
    vector = np.array([1, half / 2**12, half, -half / 2**12] + [2.0**-40] * 60, np.float32)
    ones = np.ones_like(vector)
    for shift in range(64):
        rolled = np.roll(vector, shift)
        expected = exact_scores(rolled[None], ones[None])[0, 0]
        assert block_topk._score(rolled, ones, 64.0) == expected


def test_fast_kind_is_one_of_the_kinds() -> None:
    assert fast_kind() in KINDS
