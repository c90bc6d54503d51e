"""Negatives avoid what is known, are uniform, and are the numbers their definition gives, by bits and by sorted search alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kgrec.graphs.ops import NegativeItems, NegativeTails, negatives, reference

USERS, ITEMS = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 3, 4, 9])


@pytest.fixture(params=["bits", "sorted search"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sorted search":
        monkeypatch.setattr(negatives, "BITMAP_BYTES", 0)
    return str(request.param)


def by_definition(rows: Tensor, n_values: int, known: set[tuple[int, int]], seed: int) -> list[int]:
    """splitmix64 of (seed, position, try) in plain Python, until the value is not known."""
    mask, drawn = 2**64 - 1, []
    for i, row in enumerate(rows.tolist()):
        for attempt in range(negatives.MAX_TRIES):
            z = (seed + (i * negatives.MAX_TRIES + attempt) * 0x9E3779B97F4A7C15) & mask
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            value = (((z ^ (z >> 31)) >> 32) * n_values) >> 32
            if (row, value) not in known:
                break
        drawn.append(value)
    return drawn


@pytest.mark.parametrize("ids", [torch.int32, torch.int64])
def test_a_draw_is_a_hash_of_seed_position_and_try(search: str, ids: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.randint(20, (400,), generator=generator), torch.randint(70, (400,), generator=generator)
    sampler = NegativeItems(users.to(ids), items.to(ids), 20, 70)
    batch = torch.randint(20, (300,), generator=generator)
    known = set(zip(users.tolist(), items.tolist(), strict=True))
    for seed in (0, 5, 2**63 + 1):
        drawn = sampler.draw(batch.to(ids), seed)
        assert drawn.dtype == torch.int64
        assert drawn.tolist() == by_definition(batch, 70, known, seed)
        assert reference.is_negative(batch, drawn, users, items, 70).all()


def test_items_avoid_positives_and_are_uniform(search: str) -> None:
    sampler = NegativeItems(USERS, ITEMS, 2, 10)
    batch = torch.zeros(70_000, dtype=torch.int64)
    drawn = sampler.draw(batch, seed=5)
    counts = torch.bincount(drawn, minlength=10)
    assert counts[[0, 3, 4]].sum() == 0
    expected = 10_000
    chi_square = float(((counts[counts > 0] - expected) ** 2 / expected).sum())
    assert chi_square < 22.5  # 99.9 % quantile with 6 degrees of freedom
    assert torch.equal(drawn, sampler.draw(batch, seed=5))
    assert not torch.equal(drawn, sampler.draw(batch, seed=6))


def test_tails_keep_types_and_avoid_known_tails(search: str) -> None:
    # 2 users, 3 items, 4 entities: nodes 0-1, 2-4, 5-8
    heads, tails = torch.tensor([0, 2, 2, 2, 5]), torch.tensor([2, 0, 5, 6, 2])
    sampler = NegativeTails(heads, tails, 2, 3, 9)
    for head, tail, allowed in ((0, 2, {3, 4}), (2, 0, {1}), (2, 5, {2, 3, 4, 7, 8}), (5, 2, {3, 4, 5, 6, 7, 8})):
        drawn = sampler.draw(torch.full((500,), head), torch.full((500,), tail), seed=1)
        assert set(drawn.tolist()) == allowed


def test_who_knows_every_candidate_still_gets_one_and_who_knows_nothing_may_get_any(search: str) -> None:
    sampler = NegativeItems(torch.zeros(3, dtype=torch.int64), torch.arange(3), 2, 3)
    assert 0 <= sampler.draw(torch.zeros(1, dtype=torch.int64), seed=0).item() < 3
    assert set(sampler.draw(torch.ones(100, dtype=torch.int64), seed=0).tolist()) == {0, 1, 2}
    assert sampler.draw(torch.zeros(0, dtype=torch.int64), seed=0).shape == (0,)


def test_the_same_numbers_on_any_number_of_threads(search: str, over_threads: Callable[..., list[Any]]) -> None:
    sampler, batch = NegativeItems(USERS, ITEMS, 2, 10), torch.arange(5000) % 2
    first, *others = over_threads(lambda: sampler.draw(batch, seed=3))
    assert all(torch.equal(first, other) for other in others)
