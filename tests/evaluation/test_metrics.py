from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.evaluation.metrics import METRICS, coverage, user_metrics


def one(ranked, relevant, k, profile="standard"):
    """Metrics of one list by the definitions, item by item."""
    hits = [item in relevant for item in ranked]
    found = sum(hits[:k])
    gain = sum(1 / math.log2(place + 2) for place in range(k) if hits[place])
    size = sum(hits) if profile == "kgat2019" else len(relevant)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(size, k)))
    precisions = sum(sum(hits[: place + 1]) / (place + 1) for place in range(k) if hits[place])
    divisor = {"standard": len(relevant), "recbole": min(len(relevant), k), "kgat2019": min(sum(hits), k)}[profile]
    return {
        f"Recall@{k}": found / len(relevant),
        f"NDCG@{k}": gain / ideal if ideal else 0.0,
        f"MRR@{k}": next((1 / (place + 1) for place in range(k) if hits[place]), 0.0),
        f"HR@{k}": float(found > 0),
        f"Precision@{k}": found / k,
        f"MAP@{k}": precisions / divisor if divisor else 0.0,
    }


def test_by_hand():
    """Hits in places 2 and 4 of 5; three relevant items."""
    found = user_metrics(np.array([[0, 1, 0, 1, 0]], bool), np.array([3]), [2, 5])
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {
            "Recall@2": 1 / 3, "MRR@2": 1 / 2, "HR@2": 1, "Precision@2": 1 / 2, "MAP@2": 1 / 2 / 3,
            "NDCG@2": 0.6309297535714575 / (1 + 0.6309297535714575),
            "Recall@5": 2 / 3, "MRR@5": 1 / 2, "HR@5": 1, "Precision@5": 2 / 5, "MAP@5": (1 / 2 + 2 / 4) / 3,
            "NDCG@5": (0.6309297535714575 + 0.43067655807339306) / (1 + 0.6309297535714575 + 0.5),
        },
        abs=1e-15,
    )  # fmt: skip


def test_profiles_differ_where_they_say():
    hits, relevant = np.array([[0, 1, 0, 1]], bool), np.array([8])
    standard, recbole, kgat = (
        {name: float(v[0]) for name, v in user_metrics(hits, relevant, [2, 4], profile=profile).items()}
        for profile in ("standard", "recbole", "kgat2019")
    )
    assert {name for name in standard if standard[name] != recbole[name]} == {"MAP@2", "MAP@4"}
    assert {name for name in standard if standard[name] != kgat[name]} == {"MAP@2", "MAP@4", "NDCG@4"}
    assert recbole["MAP@4"] == pytest.approx((1 / 2 + 2 / 4) / 4)
    assert kgat["NDCG@4"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3)))


@settings(max_examples=100, deadline=None)
@given(
    st.permutations(range(12)),
    st.sets(st.integers(0, 20), min_size=1, max_size=12),
    st.sampled_from(["standard", "recbole", "kgat2019"]),
    st.sets(st.integers(1, 12), min_size=1, max_size=3),
)
def test_equals_the_definitions(ranked, relevant, profile, topk):
    hits = np.array([[item in relevant for item in ranked]])
    found = user_metrics(hits, np.array([len(relevant)]), sorted(topk), profile=profile)
    assert list(found) == [f"{metric}@{k}" for k in sorted(topk) for metric in METRICS]
    for k in topk:
        for name, value in one(ranked, relevant, k, profile).items():
            assert found[name][0] == pytest.approx(value, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 10))
def test_orders_between_metrics(hits, missed):
    relevant = max(1, sum(hits) + missed)
    found = {
        name.split("@")[0]: v[0]
        for name, v in user_metrics(np.array([hits]), np.array([relevant]), [len(hits)]).items()
    }
    assert found["HR"] >= max(found["NDCG"], found["MRR"], found["Recall"], found["Precision"])
    assert found["MAP"] <= found["Recall"] + 1e-12
    perfect = all(hits[: min(relevant, len(hits))])
    assert (abs(found["NDCG"] - 1) < 1e-12) == perfect


#: ranx compiles each metric for a minute; without its compiler 60 users take no time
RANX = """
import json, sys
import ranx
qrels, run, names = json.load(sys.stdin)
qrels, run = ranx.Qrels(qrels), ranx.Run(run)
print(json.dumps({name: ranx.evaluate(qrels, run, name, return_mean=False).tolist() for name in names}))
"""


def test_equals_ranx():
    if find_spec("ranx") is None:
        pytest.skip("ranx is not installed")
    generator = np.random.default_rng(0)
    n_users, n_items, n_places = 60, 80, 20
    lists = np.stack([generator.permutation(n_items)[:n_places] for _ in range(n_users)]).tolist()
    relevant = [generator.choice(n_items, generator.integers(1, 40), replace=False).tolist() for _ in range(n_users)]
    hits = np.array([[item in wanted for item in ranked] for ranked, wanted in zip(lists, relevant, strict=True)])
    found = user_metrics(hits, np.array([len(wanted) for wanted in relevant]), [5, 20])
    theirs = {
        "Recall": "recall",
        "NDCG": "ndcg",
        "MRR": "mrr",
        "HR": "hit_rate",
        "Precision": "precision",
        "MAP": "map",
    }
    names = {f"{metric}@{k}": f"{theirs[metric]}@{k}" for metric in METRICS for k in (5, 20)}
    qrels = {f"{user:03}": {f"i{item}": 1 for item in wanted} for user, wanted in enumerate(relevant)}
    run = {
        f"{user:03}": {f"i{item}": float(100 - place) for place, item in enumerate(ranked)}
        for user, ranked in enumerate(lists)
    }
    answer = subprocess.run(
        [sys.executable, "-c", RANX], input=json.dumps([qrels, run, list(names.values())]), text=True,
        capture_output=True, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    expected = json.loads(answer.stdout.splitlines()[-1])
    assert set(found) == set(names)
    for ours, name in names.items():
        assert np.abs(found[ours] - expected[name]).max() < 1e-9, ours


def test_user_without_relevant_items_is_refused():
    with pytest.raises(ValueError, match="leave such users out"):
        user_metrics(np.zeros((2, 3), bool), np.array([1, 0]), [3])


def test_longer_list_than_ranked_is_refused():
    with pytest.raises(ValueError, match="3 places, 5"):
        user_metrics(np.zeros((1, 3), bool), np.array([1]), [3, 5])


def test_coverage():
    lists = np.array([[0, 1, 2], [0, 3, -1]])
    assert coverage(lists, 10, 1) == 0.1
    assert coverage(lists, 10, 3) == 0.4
