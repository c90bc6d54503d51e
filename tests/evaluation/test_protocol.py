from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from kgrec.config import parse_settings
from kgrec.errors import ConfigError, DataError
from kgrec.evaluation.protocol import EvaluateSettings, evaluate, evaluated_users
from kgrec.evaluation.ranking import UserItems

SEEN = UserItems.from_pairs(np.array([0, 1]), np.array([0, 1]), 3)
RELEVANT = UserItems.from_pairs(np.array([0, 0, 2]), np.array([1, 3, 0]), 3)


def test_mean_is_over_users_with_a_relevant_item(table):
    model = table([[9, 3, 2, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
    found = evaluate(model, None, SEEN, RELEVANT, EvaluateSettings(topk=(1, 4), metrics=("Recall", "MRR")))
    # user 0 sees 1, 2, 3: hits in places 1 and 3; user 2 sees 3, 2, 1, 0: a hit in place 4; user 1 does not count
    assert found == pytest.approx({"Recall@1": 1 / 4, "MRR@1": 1 / 2, "Recall@4": 1, "MRR@4": (1 + 1 / 4) / 2})


def test_users_can_be_chosen(table):
    model = table([[9, 3, 2, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
    only = EvaluateSettings(topk=(4,), metrics=("MRR",))
    assert evaluate(model, torch.tensor([1, 2]), SEEN, RELEVANT, only) == {"MRR@4": 0.25}
    assert evaluated_users(RELEVANT).tolist() == [0, 2]


def test_nobody_to_evaluate_is_an_error(table):
    with pytest.raises(DataError, match="no user has an interaction to evaluate on"):
        evaluate(table(np.zeros((3, 4))), [1], SEEN, RELEVANT, EvaluateSettings())


def test_ranks_in_evaluation_mode_and_gives_the_mode_back(table):
    model = table(np.zeros((3, 4)))
    modes = []
    lookup = model.full_scores
    model.full_scores = lambda users: modes.append(model.training) or lookup(users)
    model.train()
    evaluate(model, None, SEEN, RELEVANT, EvaluateSettings(topk=(2,)))
    assert set(modes) == {False}
    assert model.training
    assert not model.scores.requires_grad


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topk": [0]}, "greater than or equal to 1"),
        ({"topk": []}, "at least 1"),
        ({"topk": [10, 10]}, "twice"),
        ({"metrics": ["Recal"]}, "'Recall'"),
        ({"metric_profile": "kgat"}, "kgat2019"),
        ({"mask": "none"}, "train"),
        ({"top_k": [5]}, "did you mean 'topk'"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings(EvaluateSettings, values)


def test_movielens_1m_size_in_seconds(table):
    """6,039 users and 3,588 items; 1 s on a free machine, with room for a busy one."""
    generator = np.random.default_rng(0)
    model = table(generator.standard_normal((6039, 3588)))
    users = np.repeat(np.arange(6039), 100)
    items = generator.integers(0, 3588, len(users))
    seen, relevant = UserItems.from_pairs(users, items, 6039), UserItems.from_pairs(users[::9], items[::9], 6039)
    started = time.perf_counter()
    evaluate(model, None, seen, relevant, EvaluateSettings(topk=(20,)))
    assert time.perf_counter() - started < 6
