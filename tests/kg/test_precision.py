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
    Estimate,
    Expected,
    Floats,
    Shares,
    level,
    levels,
    log_ratios,
    part_ratios,
    probability,
    share_kinds,
)  # fmt: skip

EXPECTED = Expected()


def estimate(right: Floats, like: Floats | None = None) -> Shares:
    """Shares of links with ``log r``, and with ``log s`` or no lookalike among them."""
    found = share_kinds(np.stack([right, np.full(len(right), -25.0) if like is None else like]))
    assert found is not None
    return found


def test_sure_links_are_counted() -> None:
    found = estimate(np.array([25.0] * 90 + [-25.0] * 10))
    assert found.right.value == pytest.approx(0.9, abs=1e-6)
    assert found.lookalikes == pytest.approx(0, abs=1e-6)

    def likelihood(share: float) -> float:
        return 90 * math.log(share) + 10 * math.log(1 - share)

    for end in (found.right.low, found.right.high):
        assert likelihood(found.right.value) - likelihood(end) == pytest.approx(1.9207, abs=1e-3)
    assert found.right.low < 0.9 < found.right.high


def test_the_three_kinds_are_told_apart() -> None:
    right, like, stray = [[12.0, 4.0]] * 80, [[-3.0, 4.0]] * 5, [[-8.0, -5.0]] * 15
    found = share_kinds(np.array(right + like + stray).T)
    assert found is not None
    assert found.right.value == pytest.approx(0.8, abs=0.002)
    assert found.lookalikes == pytest.approx(0.05, abs=0.004)
    assert found.links == 100


def test_all_right_and_all_wrong() -> None:
    right, wrong = estimate(np.full(100, 25.0)).right, estimate(np.full(100, -25.0)).right
    assert (right.value, right.high) == (1.0, 1.0)
    assert right.low == pytest.approx(math.exp(-1.9207 / 100), abs=1e-6)
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - math.exp(-1.9207 / 100), abs=1e-6)
    assert share_kinds(np.zeros((2, 0))) is None


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=30))
def test_the_estimate_is_the_best_of_a_grid(rows: list[tuple[float, float]]) -> None:
    ratios = np.array(rows).T
    found = share_kinds(ratios)
    assert found is not None
    assert 0 <= found.right.low <= found.right.value <= found.right.high <= 1
    right, like = np.exp(ratios) - 1

    def likelihood(p: Floats, q: Floats) -> Floats:
        total: Floats = np.log(np.maximum(1 + np.outer(p, right) + np.outer(q, like), 1e-300)).sum(axis=1)
        return total

    p, q = (one.ravel() for one in np.meshgrid(np.linspace(0, 1, 51), np.linspace(0, 1, 51)))
    inside = p + q <= 1
    best = likelihood(np.array([found.right.value]), np.array([found.lookalikes]))[0]
    assert best >= likelihood(p[inside], q[inside]).max() - 1e-5


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    kinds = np.array([[0.9, 0.04, 0.05, 0.01], [0.2, 0.1, 0.1, 0.6], [0.01, 0.04, 0.9, 0.05]])
    held, bias = 0, []
    for _ in range(200):
        truth = random.uniform(0.05, 0.9)
        kind = random.choice(3, 500, p=[truth, 0.1, 0.9 - truth])
        seen = np.array([random.choice(4, p=kinds[one]) for one in kind])
        found = share_kinds(np.log(kinds[:2] / kinds[2])[:, seen])
        assert found is not None
        held += found.right.low <= truth <= found.right.high
        bias.append(found.right.value - truth)
    assert 0.9 <= held / 200 <= 0.99
    assert abs(np.mean(bias)) < 0.01


def test_probability_by_hand() -> None:
    ratios = np.log([[3.0, 1.0], [2.0, 1.0]])
    shares = Shares(Estimate(0.6, 0.5, 0.7), 0.1, 1_000_000_000)
    assert probability(ratios, shares) == pytest.approx([1.8 / (1.8 + 0.2 + 0.3), 0.6])
    assert probability(ratios, None) == pytest.approx([0.75, 0.5])
    # of ten right links the eleventh may be wrong
    few = Shares(Estimate(1.0, 0.8, 1.0), 0.0, 10)
    assert probability(np.zeros((2, 1)), few) == pytest.approx([10.5 / 11.5])


def test_levels() -> None:
    assert levels("title", pa.array([1.0, 0.85, 0.6, 0.2, None])).tolist() == [0, 0, 1, 2, -1]
    assert levels("year", pa.array([1.0, 0.75, 0.5, 0.25, 0.0])).tolist() == [0, 1, 1, 2, 2]
    assert [level("ids", one) for one in (1.0, 0.0, None)] == ["same", "differs", "unknown"]


def test_ratios_are_counted_on_random_pairs() -> None:
    chance = pa.array([0.0] * 9_900 + [0.6] * 75 + [1.0] * 25)
    right, like = part_ratios("title", chance, EXPECTED, 0.1)
    # 50 pairs' worth of .001, .009 and .99 stand beside the 10,000 that were counted
    stray = [(25 + 0.05) / 10_050, (75 + 0.45) / 10_050, (9_900 + 49.5) / 10_050]
    assert right == pytest.approx([*(math.log(a / b) for a, b in zip(EXPECTED.title, stray, strict=True)), 0.0])
    assert like[:2] == pytest.approx([math.log(0.8 / stray[0]), math.log(0.19 / stray[1])])


def test_lookalikes_differ_from_stray_links_in_title_alone() -> None:
    chance = pa.array([0.0] * 900 + [1.0] * 100)
    for part in ("year", "ids", "creators", "cast"):
        assert part_ratios(part, chance, EXPECTED, 0.1)[1] == pytest.approx([0, 0, 0, 0])


def test_some_stray_links_have_nothing_better_beside_them() -> None:
    chance = pa.array([0.0] * 100_000)
    none = part_ratios("others", chance, EXPECTED, 0.0)[0]
    tenth = part_ratios("others", chance, EXPECTED, 0.1)[0]
    assert tenth[0] == pytest.approx(math.log(0.998 / 0.1), abs=0.01)
    assert tenth[0] < none[0]


def test_unknown_and_impossible_levels_say_nothing() -> None:
    ratios = part_ratios("others", pa.array([0.0] * 100), EXPECTED, 0.1)
    assert ratios[:, [1, 3]].tolist() == [[0, 0], [0, 0]]
    parts = {"others": pa.chunked_array([[1.0, None]], pa.float64())}
    assert log_ratios(parts, {"others": ratios})[0] == pytest.approx([ratios[0, 0], 0.0])


def test_the_type_only_speaks_against_a_link() -> None:
    right, like = part_ratios("type", pa.array([], pa.float64()), EXPECTED, 0.1)
    assert right[[0, 2, 3]] == pytest.approx([0, math.log(0.04), 0])
    assert like.tolist() == [0, 0, 0, 0]


def test_expected_shares_add_up() -> None:
    with pytest.raises(ConfigError, match="the three shares must add up to 1"):
        parse_settings(Expected, {"title": [0.9, 0.2, 0.1]})
