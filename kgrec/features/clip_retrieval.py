"""Retrieval asks of each caption whether its own picture is the nearest of all, and of each picture the same; chance is
the answer of vectors that know nothing.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

DEPTHS = (1, 5, 10)


def retrieval(images_ND: Tensor, texts_ND: Tensor) -> dict[str, Any]:
    """How well captions find their pictures and pictures their captions, among N.

    Row i of one belongs to row i of the other. Candidates of equal similarity share the mean of their ranks.

    :param images_ND: vectors of length 1. shape: (N, D)
    :param texts_ND: likewise
    :return: ``candidates`` (N), and for ``text_to_image`` and ``image_to_text`` each: ``recall@k`` with its ``chance``, its
        one-sided 95 % lower bound ``at_least`` (Clopper and Pearson) and the ``p`` of as many hits by chance (binomial);
        ``percentile``, the mean share of the other candidates that are farther than the right one (chance 0.5), with its
        ``p`` (normal); ``median_rank``, from 1
    """
    scores = images_ND.double() @ texts_ND.double().T
    return {
        "candidates": len(scores),
        "text_to_image": _direction(scores.T),
        "image_to_text": _direction(scores),
    }


def ranks(scores: Tensor) -> Tensor:
    """Rank of each row's diagonal element among its row, from 1; ties count half. shape: (N, N) -> (N,)"""
    right = scores.diagonal()[:, None]
    return 1 + (scores > right).sum(1) + ((scores == right).sum(1) - 1) / 2


def _direction(scores: Tensor) -> dict[str, Any]:
    from scipy.stats import binomtest, norm

    found, n = ranks(scores), len(scores)
    result: dict[str, Any] = {}
    for k in DEPTHS:
        if k >= n:
            continue
        hits = int((found <= k).sum())
        test = binomtest(hits, n, k / n, alternative="greater")
        result[f"recall@{k}"] = {
            "value": hits / n, "chance": k / n, "at_least": float(test.proportion_ci(0.95).low), "p": float(test.pvalue),
        }  # fmt: skip
    percentile = float(((n - found) / (n - 1)).mean())
    deviation = ((n + 1) / (12 * (n - 1) * n)) ** 0.5  # of the mean of n ranks drawn evenly from 1 to n
    result["percentile"] = {"value": percentile, "chance": 0.5, "p": float(norm.sf((percentile - 0.5) / deviation))}
    return result | {"median_rank": float(found.median())}
