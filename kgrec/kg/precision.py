"""The precision of a link file is the share of its links that are right, estimated from evidence and not from known answers.

A link is right or wrong; its evidence is more usual among right links or among wrong ones, by the likelihood ratio ``r``.
With a share ``p`` of right links the file's evidence has the likelihood

    l(p) = sum over links of log(p r + 1 - p),                                                                       (1)

which is concave in ``p``; its maximum is the estimate. The 95 % interval holds the ``p`` whose likelihood lies less than
1.92 below (likelihood ratio, one degree of freedom). Given ``p``, a link is right with probability

    p r / (p r + 1 - p).                                                                                             (2)

A part of the evidence is said at three levels, ``same``, ``near`` and ``differs``. How often right links have each level is
set (``Expected``); how often wrong ones have it is counted on the file itself, its items and entities paired anew at random.
Some mistakes are no random pairs (a film of the same title, a work the knowledge base lacks); a small share is set aside for
them. Parts count as independent, as in Fellegi and Sunter, *A Theory for Record Linkage* (1969); counting the wrong links' side on
random pairs is usual in record linkage, and as "decoys" in proteomics.
"""

from __future__ import annotations

import math
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


#: shape (4,): what same, near, differs and unknown (0) say: logarithm of their share among right over that among wrong links
Ratios = Floats


def part_ratios(part: str, chance: pa.ChunkedArray, right: Levels, apart: float, aside: Levels) -> Ratios:
    """What the levels of a part say.

    :param chance: agreements of random pairs
    :param right: shares among right links
    :param apart: share in [0, 1] of wrong links that are not like random pairs
    :param aside: the levels of those
    """
    counted = np.bincount(levels(part, chance) + 1, minlength=4)[1:]
    wrong = (counted + _WEIGHT * np.array(_BEFORE[part])) / (counted.sum() + _WEIGHT)
    wrong = (1 - apart) * wrong + apart * np.array(aside)
    ratios = np.log(np.maximum(right, 1e-6) / np.maximum(wrong, 1e-6))
    return np.append(np.where(np.array(right) + wrong < 1e-6, 0.0, ratios), 0.0)


def type_ratios(right: Levels) -> Ratios:
    """What the levels of the type say: it only speaks against a link, as half of the other entities' types would."""
    return np.array([0.0, 0.0, np.log(max(right.differs, 1e-6) / 0.5), 0.0])


def log_ratios(parts: Mapping[str, pa.ChunkedArray], ratios: Mapping[str, Ratios]) -> Floats:
    """``log r`` of each row of a table of parts; shape (rows,).

    :param parts: agreement in [0, 1] or null by part
    """
    return np.sum([ratios[part][levels(part, parts[part])] for part in ratios], axis=0)


class Estimate(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def share_right(ratios: Floats) -> Estimate | None:
    """Share of right links, eq. (1); None without links.

    :param ratios: ``log r`` of the links that have evidence, shape (links,)
    """
    if not len(ratios):
        return None
    ratios = np.exp(np.clip(ratios, -_CLIP, _CLIP)) - 1

    def likelihood(share: float) -> float:
        with np.errstate(divide="ignore"):
            return float(np.log1p(share * ratios).sum())

    def slope(share: float) -> float:
        return float((ratios / (1 + share * ratios)).sum())

    best = 0.0 if slope(0) <= 0 else 1.0 if slope(1) >= 0 else _root(slope, 0.0, 1.0)
    top = likelihood(best) - _DROP
    low = 0.0 if likelihood(0) >= top else _root(lambda share: top - likelihood(share), 0.0, best)
    high = 1.0 if likelihood(1) >= top else _root(lambda share: likelihood(share) - top, best, 1.0)
    return Estimate(best, low, high)


def probability(ratios: Floats, share: float) -> Floats:
    """Probability that each link is right, eq. (2); shape (links,).

    :param ratios: ``log r``, shape (links,)
    """
    share = min(max(share, 1e-9), 1 - 1e-9)
    odds = np.clip(ratios, -_CLIP, _CLIP) + math.log(share / (1 - share))
    result: Floats = 1 / (1 + np.exp(-odds))
    return result


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
