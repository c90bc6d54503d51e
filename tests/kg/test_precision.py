"""The precision of a link file: by hand, by a grid, and by drawing files whose share of right links is known."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.config import parse_settings
from kgrec.errors import ConfigError
from kgrec.kg.precision import (
    Expected,
    Levels,
    level,
    levels,
    log_ratios,
    part_ratios,
    probability,
    share_right,
    type_ratios,
)  # fmt: skip

NONE = Levels(0.0, 0.0, 0.0)


def test_sure_links_are_counted() -> None:
    estimate = share_right(np.array([25.0] * 90 + [-25.0] * 10))
    assert estimate is not None
    assert estimate.value == pytest.approx(0.9, abs=1e-6)

    def likelihood(share: float) -> float:
        return 90 * math.log(share) + 10 * math.log(1 - share)

    for end in (estimate.low, estimate.high):
        assert likelihood(estimate.value) - likelihood(end) == pytest.approx(1.9207, abs=1e-3)
    assert estimate.low < 0.9 < estimate.high


def test_all_right_and_all_wrong() -> None:
    right, wrong = share_right(np.full(100, 25.0)), share_right(np.full(100, -25.0))
    assert right is not None
    assert wrong is not None
    assert (right.value, right.high) == (1.0, 1.0)
    assert right.low == pytest.approx(math.exp(-1.9207 / 100), abs=1e-6)
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - math.exp(-1.9207 / 100), abs=1e-6)
    assert share_right(np.array([])) is None


@given(st.lists(st.floats(-12, 12), min_size=1, max_size=40))
def test_the_estimate_is_the_best_of_a_grid(ratios: list[float]) -> None:
    estimate = share_right(np.array(ratios))
    assert estimate is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    grid = np.linspace(0, 1, 1001)
    likelihood = np.log1p(np.outer(grid, np.exp(ratios) - 1)).sum(axis=1)
    best = np.log1p(estimate.value * (np.exp(ratios) - 1)).sum()
    assert best >= likelihood.max() - 1e-6 * max(1, abs(likelihood.max()))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    right, wrong = np.array([0.9, 0.04, 0.06]), np.array([0.01, 0.09, 0.9])
    held, bias = 0, []
    for _ in range(300):
        truth = random.uniform(0.05, 0.95)
        is_right = random.random(400) < truth
        seen = np.where(is_right, random.choice(3, 400, p=right), random.choice(3, 400, p=wrong))
        estimate = share_right(np.log(right / wrong)[seen])
        assert estimate is not None
        held += estimate.low <= truth <= estimate.high
        bias.append(estimate.value - truth)
    assert 0.91 <= held / 300 <= 0.99
    assert abs(np.mean(bias)) < 0.005


def test_probability_by_hand() -> None:
    assert probability(np.array([math.log(3)]), 0.5) == pytest.approx([0.75])
    assert probability(np.array([math.log(3), 0.0]), 0.9) == pytest.approx([27 / 28, 0.9])
    assert probability(np.array([0.0]), 1.0)[0] > 0.999


def test_levels() -> None:
    assert levels("title", pa.array([1.0, 0.85, 0.6, 0.2, None])).tolist() == [0, 0, 1, 2, -1]
    assert levels("year", pa.array([1.0, 0.75, 0.5, 0.25, 0.0])).tolist() == [0, 1, 1, 2, 2]
    assert [level("ids", one) for one in (1.0, 0.0, None)] == ["same", "differs", "unknown"]


def test_ratios_are_counted_on_random_pairs() -> None:
    right = Levels(0.9, 0.05, 0.05)
    chance = pa.array([0.0] * 9_900 + [0.6] * 75 + [1.0] * 25)
    ratios = part_ratios("title", chance, right, 0.0, NONE)
    # 50 pairs' worth of .001, .009 and .99 stand beside the 10,000 that were counted
    wrong = [(25 + 0.05) / 10_050, (75 + 0.45) / 10_050, (9_900 + 49.5) / 10_050]
    assert ratios == pytest.approx([*(math.log(a / b) for a, b in zip(right, wrong, strict=True)), 0.0])
    apart = part_ratios("title", chance, right, 0.1, Levels(1.0, 0.0, 0.0))
    assert apart[0] == pytest.approx(math.log(0.9 / (0.9 * wrong[0] + 0.1)))
    assert apart[0] < ratios[0]


def test_unknown_and_impossible_levels_say_nothing() -> None:
    ratios = part_ratios("ids", pa.array([0.0] * 100), Levels(0.97, 0.0, 0.03), 0.0, NONE)
    assert ratios[1] == ratios[3] == 0
    parts = {"ids": pa.chunked_array([[1.0, None]], pa.float64())}
    assert log_ratios(parts, {"ids": ratios}) == pytest.approx([ratios[0], 0.0])


def test_the_type_only_speaks_against_a_link() -> None:
    assert type_ratios(Levels(0.98, 0.0, 0.02)) == pytest.approx([0, 0, math.log(0.04), 0])


def test_expected_shares_add_up() -> None:
    with pytest.raises(ConfigError, match="the three shares must add up to 1"):
        parse_settings(Expected, {"title": [0.9, 0.2, 0.1]})
