"""The precision of a link file is the share of its links that are right, estimated from evidence and not from known answers.

A link is of one of three kinds. It is *right*; or a *lookalike*, another work of nearly the same title; or *stray*, any other
pair, as where a file numbers other items. Its evidence is more usual among right links than among stray ones by the
likelihood ratio ``r``, and among lookalikes by ``s``. With shares ``p`` of right links and ``q`` of lookalikes the file has
the likelihood

    l(p, q) = sum over links of log(p r + q s + 1 - p - q),                                                          (1)

which is concave; its maximum is the estimate. The 95 % interval holds the ``p`` whose likelihood, with the best ``q``, lies
less than 1.92 below (likelihood ratio, one degree of freedom). A link is then right with probability

    p r / (p r + q s + 1 - p - q).                                                                                   (2)

A part of the evidence is said at three levels, ``same``, ``near`` and ``differs``. How often right links have each level is
set (``Expected``); how often stray ones have it is counted on the file itself, its items and entities paired anew at random.
Lookalikes have the title of right links and all else of stray ones. Parts count as independent, as in Fellegi and Sunter, *A
Theory for Record Linkage* (1969); counting on random pairs is usual in record linkage, and as "decoys" in proteomics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import model_validator

from kgrec.config import Settings

Floats = npt.NDArray[np.float64]

#: half of the 95 % quantile of chi-square with one degree of freedom
_DROP = 1.9207
_CLIP = 30.0
#: pairs at random that the shares below are worth beside those counted
_WEIGHT = 50.0


class Levels(NamedTuple):
    """Shares of links at each level of one part; they add up to 1."""

    same: float
    near: float
    differs: float


class Expected(Settings):
    """How often right links have each level of a part; measured shares are in docs/audit.md."""

    title: Levels = Levels(0.93, 0.03, 0.04)
    """One title in common, titles alike, others; titles of right links differ where one side is in another language."""
    year: Levels = Levels(0.79, 0.18, 0.03)
    """The same year, within the tolerance (two of three years), beyond."""
    ids: Levels = Levels(0.97, 0.01, 0.02)
    """A shared id elsewhere, (no near), other ids."""
    creators: Levels = Levels(0.86, 0.07, 0.07)
    """Directors or authors: all of the shorter list, half of it, fewer."""
    cast: Levels = Levels(0.5, 0.4, 0.1)
    """Actors, likewise."""
    type: Levels = Levels(0.98, 0.0, 0.02)
    """One of the wanted types, (no near), none. Any other entity of the kind has it too, so it only speaks against a link."""
    others: Levels = Levels(0.998, 0.0, 0.002)
    """No other item or entity fits surely better, (no near), one does."""

    @model_validator(mode="after")
    def _add_up(self) -> Expected:
        for part, levels in self:
            if min(levels) < 0 or abs(sum(levels) - 1) > 1e-6:
                raise ValueError(f"{part}: the three shares must add up to 1")
        return self


#: the same shares among random pairs, before any is counted
_BEFORE = {
    "title": Levels(0.001, 0.009, 0.99), "year": Levels(0.06, 0.2, 0.74), "ids": Levels(0.001, 0.0, 0.999),
    "creators": Levels(0.004, 0.004, 0.992), "cast": Levels(0.005, 0.035, 0.96), "others": Levels(0.3, 0.0, 0.7),
}  # fmt: skip


#: levels of lookalikes where they are not those of stray links
_LOOKALIKE = {"title": Levels(0.8, 0.19, 0.01), "others": Levels(0.3, 0.0, 0.7)}

#: agreement from which on a part is the same, and from which on it is near; the scales are those of linking's evidence
_CUTS = {
    "title": (0.8, 0.5), "year": (0.99, 0.3), "ids": (0.5, 0.5), "creators": (0.8, 0.4), "cast": (0.8, 0.4),
    "type": (0.5, 0.5), "others": (0.5, 0.5),
}  # fmt: skip


def levels(part: str, agreement: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """0 same, 1 near, 2 differs, -1 unknown, of agreements in [0, 1] or null."""
    values = agreement.to_numpy(zero_copy_only=False).astype(np.float64)
    same, near = _CUTS[part]
    found = np.where(values >= same, 0, np.where(values >= near, 1, 2))
    return np.where(np.isnan(values), -1, found)


def level(part: str, agreement: float | None) -> str:
    """``same``, ``near``, ``differs`` or ``unknown``."""
    at = int(levels(part, pa.array([agreement], pa.float64()))[0])
    return (*Levels._fields, "unknown")[at]


class Estimate(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


class Shares(NamedTuple):
    """The kinds of a file's links."""

    right: Estimate
    #: share of lookalikes; the rest is stray
    lookalikes: float
    #: links the shares were estimated from
    links: int


def part_ratios(part: str, chance: pa.ChunkedArray, expected: Expected, unlisted: float) -> Floats:
    """What the levels of a part say; shape (2, 4): ``log r`` and ``log s`` of same, near, differs, and unknown, which is 0.

    :param chance: agreements of random pairs, counted as the stray links' side
    :param unlisted: share in [0, 1] of stray links beside which nothing else fits; it only matters to ``others``
    """
    right = np.array(getattr(expected, part))
    if part == "type":
        # random pairs within a file tell nothing here: entities of another type are taken to be as many as of this one
        said = np.stack([np.minimum(np.log(np.maximum(right, 1e-6) / [0.5, 0.5, 0.5]), 0), np.zeros(3)])
        return np.pad(said, ((0, 0), (0, 1)))
    counted = np.bincount(levels(part, chance) + 1, minlength=4)[1:]
    stray = (counted + _WEIGHT * np.array(_BEFORE[part])) / (counted.sum() + _WEIGHT)
    if part == "others":
        stray = (1 - unlisted) * stray + unlisted * np.array([1.0, 0.0, 0.0])
    like = np.array(_LOOKALIKE.get(part, stray))
    said = np.log(np.maximum([right, like], 1e-6) / np.maximum(stray, 1e-6))
    return np.pad(np.where(right + like + stray < 1e-6, 0.0, said), ((0, 0), (0, 1)))


def log_ratios(parts: Mapping[str, pa.ChunkedArray], ratios: Mapping[str, Floats]) -> Floats:
    """``log r`` and ``log s`` of each row of a table of parts; shape (2, rows).

    :param parts: agreement in [0, 1] or null by part
    :param ratios: of ``part_ratios``, by part
    """
    said: Floats = np.sum([ratios[part][:, levels(part, parts[part])] for part in ratios], axis=0)
    return said


def share_kinds(ratios: Floats) -> Shares | None:
    """Shares of right links and lookalikes, eq. (1); None without links.

    :param ratios: ``log r`` and ``log s`` of the links that have evidence, shape (2, links)
    """
    links = ratios.shape[1]
    if not links:
        return None
    # links of one pattern count together
    patterns, times = np.unique(np.round(np.clip(ratios, -_CLIP, _CLIP), 9), axis=1, return_counts=True)
    right, like = np.exp(patterns)

    def split(share: float) -> tuple[float, Floats]:
        """Best part of lookalikes among wrong links, and the wrong links' likelihood of each pattern."""

        def slope(part: float) -> float:
            return float((times * (like - 1) / (share * right + (1 - share) * (part * like + 1 - part))).sum())

        part = _root(slope, 0.0, 1.0)
        return part, part * like + 1 - part

    def likelihood(share: float) -> float:
        return float((times * np.log(share * right + (1 - share) * split(share)[1])).sum())

    def slope(share: float) -> float:
        wrong = split(share)[1]
        return float((times * (right - wrong) / (share * right + (1 - share) * wrong)).sum())

    best = _root(slope, 0.0, 1.0 - 1e-12)
    best = round(best, 9)
    top = likelihood(best) - _DROP
    low = _root(lambda share: top - likelihood(share), 0.0, best)
    high = _root(lambda share: likelihood(share) - top, best, 1.0)
    return Shares(Estimate(best, low, high), (1 - best) * split(best)[0], links)


def probability(ratios: Floats, shares: Shares | None) -> Floats:
    """Probability that each link is right, eq. (2); shape (links,).

    The shares are taken as if half a link of each kind had been seen besides, so that none is impossible. Without shares
    half of the links count as right, and none as a lookalike.

    :param ratios: ``log r`` and ``log s``, shape (2, links)
    """
    right, like = np.exp(np.clip(ratios, -_CLIP, _CLIP))
    if shares is None:
        return right / (right + 1)
    p, q = ((share * shares.links + 0.5) / (shares.links + 1.5) for share in (shares.right.value, shares.lookalikes))
    said: Floats = p * right / (p * right + q * like + 1 - p - q)
    return said


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by halving; an end where it does not."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
