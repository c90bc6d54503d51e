"""An identifier is one string per thing in somebody else's catalogue, however a source spells it.

IMDb ids become ``tt`` and at least seven digits, ISBNs their 13 digits, ASINs ten capitals and digits. The ASIN of a
printed book is its ISBN-10, so such an ASIN counts as both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

#: schemes in which one work has one id, so that two ids contradict each other; a book has an ISBN per edition
FUNCTIONAL = ("imdb_id", "tmdb_id")

_SEPARATORS = re.compile(r"[\s\-‐-―]+")


def imdb_id(text: str) -> str | None:
    """``tt0114709`` from ``tt0114709``, ``0114709`` or ``114709``; None if it is no IMDb title id."""
    match = re.fullmatch(r"(?:tt)?0*(\d+)", text.strip())
    return f"tt{match[1]:0>7}" if match else None


def tmdb_id(text: str) -> str | None:
    """Digits without leading zeros; None if it is no number."""
    match = re.fullmatch(r"0*([1-9]\d*)", text.strip())
    return match[1] if match else None


def isbn(text: str) -> str | None:
    """The ISBN-13 of an ISBN-10 or ISBN-13 whose check digit is right; None for anything else."""
    code = _SEPARATORS.sub("", text).upper().removeprefix("ISBN").removeprefix(":")
    if re.fullmatch(r"\d{9}[\dX]", code):
        digits = [10 if c == "X" else int(c) for c in code]
        if sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11:
            return None
        return _with_check("978" + code[:9])
    if re.fullmatch(r"97[89]\d{10}", code) and _with_check(code[:12]) == code:
        return code
    return None


def asin(text: str) -> str | None:
    """Ten capitals and digits; None if it is no ASIN."""
    code = text.strip().upper()
    return code if re.fullmatch(r"[0-9A-Z]{10}", code) else None


SCHEMES: dict[str, Callable[[str], str | None]] = {"imdb_id": imdb_id, "tmdb_id": tmdb_id, "isbn": isbn, "asin": asin}


def identifiers(values: Iterable[tuple[str, str | None]]) -> dict[str, frozenset[str]]:
    """Ids by scheme from pairs of scheme and spelling; what is no id of its scheme is left out.

    >>> identifiers([("asin", "0553092626")])
    {'asin': frozenset({'0553092626'}), 'isbn': frozenset({'9780553092622'})}
    """
    found: dict[str, set[str]] = {}
    for scheme, value in values:
        code = SCHEMES[scheme](value) if value else None
        if code:
            found.setdefault(scheme, set()).add(code)
            book = isbn(code) if scheme == "asin" else None
            if book:
                found.setdefault("isbn", set()).add(book)
    return {scheme: frozenset(codes) for scheme, codes in found.items()}


def are_isbns(texts: Iterable[str]) -> bool:
    """Whether at least half of the texts, and at least one, are ISBNs; one in eleven ten-digit numbers is by chance."""
    good = [isbn(text) is not None for text in texts]
    return bool(good) and 2 * sum(good) >= len(good)


def _with_check(first: str) -> str:
    """Twelve digits with the ISBN-13 check digit behind them."""
    return first + str(-sum((3 if at % 2 else 1) * int(digit) for at, digit in enumerate(first)) % 10)
