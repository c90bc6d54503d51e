"""Two things' titles agree by the best pair of their forms, in [0, 1].

=================================================  ==================================================================
a form in common                                   1 - .3 / 2^words: a long title says more than "Heat" or "Loaded"
a form in common without blanks                    .05 less
two forms of one are parts of the other            .95
one form is a part of the other's (before or       .85, of one word .7; parts on both sides .6 and .5
behind a colon)
words alike one by one (typing errors)             .9 times how like their letters are
all words of one in the other                      .5 + .3 times their share; .3 if it is one word
words on both sides that the other lacks           at most .3, by the share of words in common
other numbers                                      at most .2: "Rocky II" is not "Rocky III"
=================================================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import fuzz

from kgrec.kg.titles import Title

_ALIKE = 80.0
#: words that carry no title
_SMALL = {
    *(
        "a",
        "an",
        "the",
        "of",
        "and",
        "or",
        "in",
        "on",
        "to",
        "for",
        "with",
        "at",
        "by",
        "from",
        "de",
        "la",
        "le",
        "les",
    ),
    *("el", "los", "las", "il", "lo", "der", "die", "das", "und", "et", "y", "e", "du", "des", "del", "di", "da", "do"),
}


def title_agreement(left: Sequence[Title], right: Sequence[Title]) -> float | None:
    """Best agreement of two things' titles, see the table above; None where a side has none."""
    mine = {form for title in left for form in title.forms}
    theirs = {form for title in right for form in title.forms}
    if not mine or not theirs:
        return None
    if both := mine & theirs:
        return max(_specific(form) for form in both)
    tight = {form.replace(" ", ""): form for form in theirs}
    if close := [max(form, tight[form.replace(" ", "")], key=len) for form in mine if form.replace(" ", "") in tight]:
        return max(_specific(form) for form in close) - 0.05
    my_parts = {part for title in left for part in title.parts}
    their_parts = {part for title in right for part in title.parts}
    best = max(_alike(one, other) for one in mine for other in theirs)
    for whole in (mine & their_parts, my_parts & theirs):
        if len(whole) > 1:
            best = max(best, 0.95)
        for part in whole:
            best = max(best, 0.85 if " " in part else 0.7)
    for part in my_parts & their_parts:
        best = max(best, 0.6 if " " in part else 0.5)
    return best


def _specific(form: str) -> float:
    """Agreement of one form on both sides."""
    return 1 - 0.3 / 2 ** len(form.split())


def _alike(left: str, right: str) -> float:
    """Agreement of two different forms word by word."""
    mine, theirs = _words(left), _words(right)
    if {word for word in mine if word.isdigit()} != {word for word in theirs if word.isdigit()}:
        return min(0.2, 0.2 * len(set(mine) & set(theirs)))
    matched, rest = [word for word in mine if word in theirs], [word for word in theirs if word not in mine]
    ratios = [1.0] * len(matched)
    lacking = 0
    for word in (word for word in mine if word not in theirs):
        near = max(rest, key=lambda other: fuzz.ratio(word, other), default=None)
        if near is not None and fuzz.ratio(word, near) >= _ALIKE:
            rest.remove(near)
            ratios.append(fuzz.ratio(word, near) / 100)
        else:
            lacking += 1
    share = len(ratios) / max(len(mine), len(theirs))
    if not ratios:
        return 0.0
    if not lacking and not rest:
        return 0.9 * sum(ratios) / len(ratios)
    if lacking and rest:
        return 0.3 * share
    return 0.5 + 0.3 * share if len(ratios) > 1 else 0.3


def _words(form: str) -> list[str]:
    """Distinct words that carry the title."""
    words = list(dict.fromkeys(form.split()))
    return [word for word in words if word not in _SMALL] or words
