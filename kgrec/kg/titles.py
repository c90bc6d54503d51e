"""Title agreement is the share of linked items whose title looks like the name of their entity.

Two catalogues that both number their items 1, 2, 3 … share ids without sharing items: RecBole's ML-100K link file
carries MovieLens-20M ids, and 3 of its 1,598 links name the right film. Counting ids cannot see that; names can.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_ARTICLES = {"the", "a", "an", "le", "la", "les", "l", "el", "los", "il", "das", "der", "die"}
_BRACKETS = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[^\W_]+")


def title_words(title: str) -> frozenset[str]:
    """Words of a title without accents, case, articles, and what stands in brackets (years, other titles)."""
    plain = (
        unicodedata.normalize("NFKD", title.replace("_", " "))
        .encode("ascii", "ignore")
        .decode()
        .lower()
        .replace("'", "")
    )
    words = _WORD.findall(_BRACKETS.sub(" ", plain)) or _WORD.findall(plain)
    return frozenset(word for word in words if word not in _ARTICLES) or frozenset(words)


def same_title(title: str, name: str) -> bool:
    """Whether two titles share at least half of the words of the shorter one."""
    left, right = title_words(title), title_words(name)
    return bool(left and right) and 2 * len(left & right) >= min(len(left), len(right))


def title_agreement(pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """``(agreeing, compared)`` over pairs of item title and entity name; pairs with an empty side are not compared."""
    compared = [same_title(title, name) for title, name in pairs if title and name and title_words(name)]
    return sum(compared), len(compared)
