"""A text that is too long for its encoder keeps its longest run of leading whole sentences that fits.

An encoder that cuts at a token leaves half a thought, or half a word, at the end. Only where the first sentence alone
is too long is there nothing better. Sentence ends are those of sentencex, which knows the abbreviations of some hundred
languages; the text is never changed otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from importlib.metadata import version
from itertools import accumulate


def fit(text: str, count: Callable[[str], int], limit: int, lang: str | None = None) -> tuple[str, int]:
    """Cut ``text`` after the last sentence that fits.

    :param count: text -> its number of tokens, special ones included, uncut
    :param limit: tokens the encoder takes
    :param lang: ISO 639-1 code; None or an unknown one: the rules of English
    :return: the kept text, and how many tokens are left out. A text that fits, and one whose first sentence alone does
        not, comes back as it is; the latter the tokeniser cuts at ``limit``
    """
    total = count(text)
    if total <= limit:
        return text, 0
    blank = len(text) - len(text.lstrip())
    ends = [end for end in accumulate(map(len, _segment(text, lang))) if end > blank]
    whole = bisect_right(ends, limit, key=lambda end: count(text[:end].rstrip()))
    if whole == 0:
        return text, total - limit
    kept = text[: ends[whole - 1]].rstrip()
    return kept, total - count(kept)


def rule() -> dict[str, str]:
    """What decides a cut, as JSON values; part of a text encoder's fingerprint."""
    return {"cut": "whole sentences", "sentencex": version("sentencex")}


def _segment(text: str, lang: str | None) -> list[str]:
    from sentencex import segment

    return list(segment(lang or "en", text))
