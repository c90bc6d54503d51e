"""Two lists of people agree by the share of the shorter list that the other one has, under some spelling of the name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from anyascii import anyascii
from rapidfuzz import fuzz

_WORD = re.compile(r"[a-z]+")
_LIKE = 90.0


@lru_cache(maxsize=1 << 18)
def person(name: str) -> tuple[str, ...]:
    """Words of a name in ASCII and lower case, sorted, initials left out unless nothing else is left."""
    words = _WORD.findall((name if name.isascii() else anyascii(name)).lower().replace("'", ""))
    long = [word for word in words if len(word) > 1]
    return tuple(sorted(long or words))


def same_person(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether two names (of ``person``) are spellings of one: equal, one within the other, or nearly equal letters."""
    if left == right:
        return True
    few, many = sorted((set(left), set(right)), key=len)
    if len(few) > 1 and few <= many:
        return True
    return fuzz.ratio(" ".join(left), " ".join(right), score_cutoff=_LIKE) >= _LIKE


def people_agreement(left: Iterable[str], right: Iterable[str]) -> float | None:
    """Share in [0, 1] of the shorter list's people that the other list has; None where a list names nobody."""
    some = list({person(name) for name in left} - {()})
    others = {person(name) for name in right} - {()}
    if not some or not others:
        return None
    exact = set(some) & others
    rest, pool = [one for one in some if one not in exact], others - exact
    found = len(exact) + sum(any(same_person(one, other) for other in pool) for one in rest)
    return min(1.0, found / min(len(some), len(others)))
