"""A paired test asks whether two models differ for the same users by more than the choice of users explains.

Two tests stand side by side, the paired t test on the mean difference and Wilcoxon's signed-rank test on its sign and
rank, with a bootstrap interval of the mean difference. Several metrics are tested at once, so Holm's correction is
added. A test over users says nothing of another seed or split: for that, train with several seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from kgrec.errors import DataError


def paired_tests(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> list[dict[str, Any]]:
    """Compare two models on every metric both have.

    :param first: metrics of every user, shape: (B,) each, the same users in the same order as in ``second``
    :return: per metric: both means, their ``difference`` (first minus second) with its interval ``low``..``high``, the
        two tests' p values with and without Holm's correction over the metrics, and for how many users the first is
        ``better``, ``worse`` or ``equal``
    :raises DataError: if the users differ in number, or no metric is shared
    """
    metrics = [name for name in first if name in second]
    if not metrics:
        raise DataError("the two models share no metric; evaluate both with the same settings")
    if any(first[name].shape != second[name].shape for name in metrics):
        raise DataError("the two models were evaluated on different users; evaluate both on the same split")
    differences = np.stack([first[name] - second[name] for name in metrics], axis=1)
    low, high = _interval(differences, bootstrap, confidence, seed)
    rows = []
    for index, name in enumerate(metrics):
        delta = differences[:, index]
        rows.append(
            {
                "metric": name,
                "first": float(first[name].mean()),
                "second": float(second[name].mean()),
                "difference": float(delta.mean()),
                "low": float(low[index]),
                "high": float(high[index]),
                "p_t": _t_test(delta),
                "p_wilcoxon": _wilcoxon(delta),
                "better": int((delta > 0).sum()),
                "worse": int((delta < 0).sum()),
                "equal": int((delta == 0).sum()),
                "users": len(delta),
            }
        )
    for test in ("p_t", "p_wilcoxon"):
        for row, p in zip(rows, holm(np.array([row[test] for row in rows])), strict=True):
            row[f"{test}_holm"] = float(p)
    return rows


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: the i-th smallest of m p values is multiplied by m - i + 1, and none may fall below
    a smaller one's."""
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def _t_test(delta: np.ndarray) -> float:
    """Two-sided p of the paired t test; 1 where no user differs or there is one user only, which is no sample."""
    if len(delta) < 2 or not delta.any():
        return 1.0
    if np.ptp(delta) == 0:
        return 0.0  # every user differs by the same amount: the limit of the test
    return float(stats.ttest_1samp(delta, 0.0).pvalue)


def _wilcoxon(delta: np.ndarray) -> float:
    """Two-sided p of the signed-rank test; users without a difference are left out; 1 where none differs."""
    return float(stats.wilcoxon(delta).pvalue) if delta.any() else 1.0


def _interval(differences: np.ndarray, bootstrap: int, confidence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of the mean of every column; all columns share the resamples."""
    generator = np.random.default_rng(seed)
    n_users = len(differences)
    means = np.empty((bootstrap, differences.shape[1]))
    for index in range(bootstrap):
        drawn = np.bincount(generator.integers(0, n_users, n_users), minlength=n_users)
        means[index] = drawn @ differences / n_users
    tail = (1 - confidence) / 2
    return np.quantile(means, tail, axis=0), np.quantile(means, 1 - tail, axis=0)
