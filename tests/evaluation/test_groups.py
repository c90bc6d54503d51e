from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kgrec.evaluation.groups import Groups, activity_rows, popularity_rows, quartiles
from kgrec.evaluation.ranking import UserItems


def test_quartiles_of_distinct_counts():
    groups = quartiles(np.array([8, 7, 6, 5, 4, 3, 2, 1]))
    assert groups.names == ["1-2", "3-4", "5-6", "7-8"]
    assert groups.of.tolist() == [3, 3, 2, 2, 1, 1, 0, 0]


def test_equal_counts_share_a_group():
    groups = quartiles(np.array([5] * 9 + [70]))
    assert groups.names == ["5", "70"]
    assert quartiles(np.array([3, 3])).names == ["3"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_groups_are_intervals_of_counts(counts):
    counts = np.array(counts)
    groups = quartiles(counts)
    bounds = [(counts[groups.of == g].min(), counts[groups.of == g].max()) for g in range(len(groups.names))]
    assert all(before[1] < after[0] for before, after in pairwise(bounds))
    assert len(groups.names) <= 4


def test_activity_rows():
    groups = Groups(["1", "2-9"], np.array([0, 1, 1, 0]))
    rows = list(activity_rows(np.array([0, 1, 2]), {"Recall@1": np.array([1.0, 0.0, 0.5])}, groups))
    assert rows == [
        {"group": "1", "metric": "Recall@1", "value": 1.0, "users": 1},
        {"group": "2-9", "metric": "Recall@1", "value": 0.25, "users": 2},
    ]


def test_popularity_rows():
    """Items 0 and 1 are rare, 2 and 3 popular."""
    groups = Groups(["rare", "popular"], np.array([0, 0, 1, 1]))
    relevant = UserItems.from_pairs(np.array([0, 0, 1]), np.array([0, 2, 3]), 2)
    lists = np.array([[2, 1], [3, -1]])
    rows = {
        (row["group"], row["metric"]): row for row in popularity_rows(lists, np.array([0, 1]), relevant, groups, (1, 2))
    }
    assert rows["rare", "Recall@2"] == {"group": "rare", "metric": "Recall@2", "value": 0.0, "users": 1}
    assert rows["popular", "Recall@1"]["value"] == 1.0
    assert rows["popular", "Recall@1"]["users"] == 2
    assert rows["rare", "Share@1"]["value"] == 0.0
    assert rows["rare", "Share@2"]["value"] == 1 / 3  # of the three places that are filled
    assert rows["popular", "Share@2"]["value"] == 2 / 3
