"""A small KGCN-like model: a user weighs an item's neighbours by their relations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kgrec.config import Settings
from kgrec.evaluation.ranking import UserItems, rank_topk
from kgrec.graphs.data import GraphData
from kgrec.models.pair_scoring import PairScoringRecommender, score_all_pairs


class Weighing(PairScoringRecommender):
    """score(u, i) = u . sum_n softmax_n(u . relation(i, n)) neighbour(i, n)"""

    Settings = Settings

    def __init__(self, data: GraphData) -> None:
        super().__init__(data, Settings())
        generator = torch.Generator().manual_seed(0)
        self.user, self.relation, self.neighbour = (
            torch.randn(n, 4, generator=generator) for n in (data.n_users, 3, data.n_items * 5)
        )
        self.relations = torch.randint(0, 3, (data.n_items, 5), generator=generator)
        self.states: list[int] = []
        self.blocks: list[tuple[int, int]] = []

    def user_state(self, users: Tensor) -> tuple[Tensor, Tensor]:
        self.states.append(len(users))
        return self.user[users], self.user[users] @ self.relation.T

    def score_block(self, state: tuple[Tensor, Tensor], items: Tensor) -> Tensor:
        vectors, weights = state
        self.blocks.append((len(vectors), len(items)))
        attention = weights[:, self.relations[items]].softmax(-1)
        near = self.neighbour.view(-1, 5, 4)[items]
        return torch.einsum("bcn,cnd,bd->bc", attention, near, vectors)


@pytest.fixture
def model(world: GraphData) -> Weighing:
    return Weighing(world)


def test_chunks_give_what_pairs_give(model: Weighing, world: GraphData) -> None:
    users = torch.tensor([3, 0, 3, 1])
    expected = torch.zeros(4, world.n_items)
    for row, user in enumerate(users):
        for item in range(world.n_items):
            weight = torch.stack([model.user[user] @ model.relation[r] for r in model.relations[item]]).softmax(0)
            near = sum(w * model.neighbour[item * 5 + n] for n, w in enumerate(weight))
            expected[row, item] = model.user[user] @ near
    for user_chunk, pairs in ((256, 2**17), (3, 7), (1, 1)):
        scores = score_all_pairs(model, users, user_chunk=user_chunk, pairs=pairs)
        assert torch.allclose(scores, expected, atol=1e-5)
    items = torch.tensor([0, 2, 1, 1])
    assert torch.allclose(model.pair_scores(users, items), expected[range(4), items], atol=1e-5)


def test_what_items_share_is_computed_once_for_each_chunk_of_users(model: Weighing, world: GraphData) -> None:
    score_all_pairs(model, torch.arange(5), user_chunk=2, pairs=6)
    assert model.states == [2, 2, 1]
    assert max(users * items for users, items in model.blocks) <= 6
    assert len(model.blocks) == 2 * -(-world.n_items // 3) + -(-world.n_items // 6)


def test_is_ranked_by_its_scores(model: Weighing, world: GraphData) -> None:
    nothing = UserItems.from_pairs(np.zeros(0), np.zeros(0), world.n_users)
    users = np.arange(3)
    expected = model.full_scores(torch.from_numpy(users)).argsort(descending=True)[:, :4]
    assert rank_topk(model, users, nothing, 4).tolist() == expected.tolist()
