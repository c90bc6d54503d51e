from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kgrec.errors import TrainingError
from kgrec.evaluation.ranking import UserItems, find_hits, rank_topk, stable_topk

few_values = arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.sampled_from([-1, 0, 0.5, 2])
)


def nothing(n_users):
    return UserItems.from_pairs(np.zeros(0), np.zeros(0), n_users)


def brute_force(scores, seen, k):
    """Sort every row by (-score, item), leave out seen items."""
    lists = []
    for row, left_out in zip(scores, seen, strict=True):
        order = sorted((item for item in range(len(row)) if item not in left_out), key=lambda item: (-row[item], item))
        lists.append((order + [-1] * k)[:k])
    return lists


@settings(max_examples=200, deadline=None)
@given(few_values, st.integers(1, 14))
def test_stable_topk_orders_ties_by_column(scores, k):
    values, columns = stable_topk(torch.from_numpy(scores), k)
    expected = brute_force(scores, [()] * len(scores), min(k, scores.shape[1]))
    assert columns.tolist() == expected
    assert torch.equal(values, torch.from_numpy(scores).gather(1, columns))


@settings(max_examples=100, deadline=None)
@given(few_values, st.data())
def test_rank_equals_brute_force_for_any_block(scores, data):
    n_users, n_items = scores.shape
    pairs = data.draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))))
    k = data.draw(st.integers(1, n_items + 2))
    seen = UserItems.from_pairs(*np.array(pairs, np.int64).reshape(-1, 2).T, n_users)
    users = np.array(data.draw(st.permutations(range(n_users))))
    left_out = [{item for user, item in pairs if user == one} for one in users]
    expected = brute_force(scores[users], left_out, k)

    class Model:
        def full_scores(self, ids):
            return torch.from_numpy(scores)[ids]

    for block in (None, 1, 2, 100):
        assert rank_topk(Model(), users, seen, k, block=block).tolist() == expected


def test_seen_items_are_never_recommended_even_if_all_others_score_lower(table):
    seen = UserItems.from_pairs(np.array([0, 0]), np.array([1, 2]), 1)
    assert rank_topk(table([[-5.0, 9.0, 8.0, -7.0]]), np.array([0]), seen, 3).tolist() == [[0, 3, -1]]


def test_model_scores_are_not_changed(table):
    model = table([[1.0, 2.0, 3.0]])
    model.full_scores = lambda users: model.scores  # hands out its own tensor
    rank_topk(model, np.array([0]), UserItems.from_pairs(np.array([0]), np.array([2]), 1), 2)
    assert model.scores.tolist() == [[1, 2, 3]]


def test_never_more_than_a_block_at_once(table):
    model = table(np.zeros((10, 3)))
    rank_topk(model, np.arange(10), nothing(10), 2, block=4)
    assert model.asked == [4, 4, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_score_that_is_not_finite_is_an_error(table, bad):
    scores = np.zeros((3, 4))
    scores[2, 1] = bad
    with pytest.raises(TrainingError, match="Table gives user 2 a score that is not finite"):
        rank_topk(table(scores), np.arange(3), nothing(3), 2, block=2)


def test_no_users_give_no_lists(table):
    assert rank_topk(table(np.zeros((1, 2))), np.zeros(0), nothing(1), 5).shape == (0, 5)


def test_user_items():
    rows = UserItems.from_pairs(np.array([2, 0, 2, 2]), np.array([5, 1, 3, 5]), 4)
    assert rows.counts().tolist() == [1, 0, 2, 0]
    assert [part.tolist() for part in rows.select(np.array([2, 3, 0, 2]))] == [[0, 0, 2, 3, 3], [3, 5, 1, 3, 5]]


def test_user_items_take_tensors():
    rows = UserItems.from_pairs(torch.tensor([1]), torch.tensor([2]), 2)
    assert rows.items.tolist() == [2]


def test_find_hits():
    relevant = UserItems.from_pairs(np.array([0, 0, 2]), np.array([1, 4, 0]), 3)
    lists = np.array([[4, 0, 1], [0, 4, -1], [1, 2, -1]])
    assert find_hits(lists, np.array([0, 2, 1]), relevant).tolist() == [
        [True, False, True],
        [True, False, False],
        [False] * 3,
    ]


def test_find_hits_without_relevant_items():
    assert not find_hits(np.array([[0, 1]]), np.array([0]), nothing(1)).any()
