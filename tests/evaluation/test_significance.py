from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kgrec.errors import DataError
from kgrec.evaluation.significance import holm, paired_tests


def models(shift, n_users=400, seed=0):
    generator = np.random.default_rng(seed)
    base = generator.random(n_users)
    return {"Recall@20": base + shift + generator.normal(0, 0.2, n_users)}, {"Recall@20": base}


def test_equals_scipy():
    first, second = models(0.02)
    (row,) = paired_tests(first, second)
    a, b = first["Recall@20"], second["Recall@20"]
    assert row["p_t"] == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a, b).pvalue, rel=1e-9)
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    assert (row["better"], row["worse"], row["equal"]) == ((a > b).sum(), (a < b).sum(), 0)
    assert row["users"] == 400


def test_finds_a_real_difference_and_its_sign():
    (row,) = paired_tests(*models(0.1))
    assert row["p_t_holm"] < 1e-6
    assert 0 < row["low"] < row["difference"] < row["high"]
    (back,) = paired_tests(*reversed(models(0.1)))
    assert back["high"] < 0


def test_interval_agrees_with_the_normal_one():
    first, second = models(0.0, n_users=2000)
    (row,) = paired_tests(first, second, bootstrap=4000)
    delta = first["Recall@20"] - second["Recall@20"]
    half = 1.96 * delta.std(ddof=1) / np.sqrt(len(delta))
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.05)


def test_interval_holds_the_truth_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        (row,) = paired_tests(*models(0.03, n_users=60, seed=seed), bootstrap=200, confidence=0.9)
        inside += row["low"] <= 0.03 <= row["high"]
    assert 0.82 <= inside / 200 <= 0.96


def test_same_seed_same_interval():
    rows = [paired_tests(*models(0.0), seed=seed)[0] for seed in (1, 1, 2)]
    assert rows[0] == rows[1]
    assert rows[0]["low"] != rows[2]["low"]


def test_equal_models_do_not_differ():
    first, _ = models(0.0)
    (row,) = paired_tests(first, first)
    assert (row["p_t"], row["p_wilcoxon"], row["low"], row["high"], row["equal"]) == (1.0, 1.0, 0.0, 0.0, 400)


def test_constant_difference_is_certain():
    (row,) = paired_tests({"HR@1": np.ones(30)}, {"HR@1": np.zeros(30)})
    assert row["p_t"] == 0
    assert row["p_wilcoxon"] < 1e-5


def test_one_user_is_no_sample():
    (row,) = paired_tests({"HR@1": np.ones(1)}, {"HR@1": np.zeros(1)})
    assert row["p_t"] == 1


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.2])).tolist() == [0.2]


def test_correction_is_over_metrics():
    first, second = models(0.02)
    for name in ("NDCG@20", "MRR@20"):
        first[name], second[name] = models(0.02, seed=len(name))[0]["Recall@20"], second["Recall@20"]
    rows = paired_tests(first, second)
    smallest = min(rows, key=lambda row: row["p_t"])
    assert smallest["p_t_holm"] == pytest.approx(min(1.0, 3 * smallest["p_t"]))


def test_other_users_are_refused():
    with pytest.raises(DataError, match="different users"):
        paired_tests({"HR@1": np.ones(3)}, {"HR@1": np.ones(4)})
    with pytest.raises(DataError, match="share no metric"):
        paired_tests({"HR@1": np.ones(3)}, {"HR@2": np.ones(3)})
