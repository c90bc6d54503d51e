"""Models with vectors are ranked without all scores, with the ranks of all scores; no model's ranks know the block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec.errors import TrainingError
from kgrec.evaluation.ranking import UserItems, rank_topk
from kgrec.models.registry import build_model
from tests.worlds import make_world


class TwoTables:
    """Vectors, and scores that nobody may ask for."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        self.pair = users, items

    def vectors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pair

    def full_scores(self, users: torch.Tensor) -> torch.Tensor:
        raise AssertionError("all scores are not needed")


@pytest.fixture
def model() -> TwoTables:
    generator = torch.Generator().manual_seed(0)
    return TwoTables(torch.randn(30, 12, generator=generator), torch.randn(400, 12, generator=generator))


@pytest.fixture
def seen() -> UserItems:
    rng = np.random.default_rng(0)
    return UserItems.from_pairs(rng.integers(0, 29, 600), rng.integers(0, 400, 600), 30)  # the last user: nothing


def test_ranks_are_those_of_all_scores_in_any_block_and_order(model: TwoTables, seen: UserItems) -> None:
    users = np.random.default_rng(1).permutation(30)
    left, right = (part.double() for part in model.pair)
    scores = (left @ right.T)[users].float()
    rows, items = seen.select(users)
    scores[rows, items] = -torch.inf
    expected = scores.argsort(dim=1, descending=True, stable=True)[:, :9].numpy()
    for block in (None, 1, 7):
        assert np.array_equal(rank_topk(model, users, seen, 9, block=block), expected)


@pytest.mark.parametrize(
    ("side", "row", "message"), [(0, 3, "user 3 a score"), (1, 5, "item 5 a vector")], ids=["user", "item"]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_an_error(
    model: TwoTables, seen: UserItems, side: int, row: int, message: str, bad: float
) -> None:
    model.pair[side][row, 2] = bad
    with pytest.raises(TrainingError, match=f"TwoTables gives {message} that is not finite"):
        rank_topk(model, np.arange(30), seen, 5, block=4)


def test_score_beyond_float32_is_an_error(model: TwoTables, seen: UserItems) -> None:
    model.pair[0][4] = 1e30
    model.pair[1][:, 0] = 1e30
    with pytest.raises(TrainingError, match="user 4 a score that is not finite"):
        rank_topk(model, np.arange(30), seen, 5)


@pytest.mark.parametrize("name", ["ease", "item_knn", "popularity"])
def test_scores_of_a_user_do_not_depend_on_the_others(name: str) -> None:
    """Sums of many values of different size: any other order of summation shows."""
    world = make_world()
    model = build_model(name, world)
    model.fit(world)
    if name != "popularity":
        torch.manual_seed(0)
        model.item_similarity.copy_(
            torch.randn_like(model.item_similarity) * 10 ** torch.empty(world.n_items).uniform_(-4, 4)
        )
        wide = torch.zeros(world.n_users, world.n_items, dtype=torch.float64)
        wide[world.train_users, world.train_items] = 1
        exact = (wide @ model.item_similarity.double()).float()
        assert torch.allclose(model.full_scores(torch.arange(world.n_users)), exact, rtol=2**-22, atol=0)
    users = torch.arange(world.n_users)
    whole = model.full_scores(users)
    for size in (1, 3):
        assert torch.equal(torch.cat([model.full_scores(part) for part in users.split(size)]), whole)
    nothing = UserItems.from_pairs(np.zeros(0), np.zeros(0), world.n_users)
    lists = rank_topk(model, users.numpy(), nothing, 5)
    assert np.array_equal(rank_topk(model, users.numpy(), nothing, 5, block=2), lists)
