"""A title's forms are what is left of it when spelling is taken away, so that two catalogues' spellings of one work meet.

``Misérables, Les``, ``Les Miserables`` and ``LES MISÉRABLES!`` have one form, as have ``Twelve Monkeys`` and ``12 Monkeys``,
``Rocky II`` and ``Rocky 2``, ``Солярис`` and ``Solyaris``. A title with a second title in brackets, after a slash, or after
"a.k.a." has several forms; what stands before or after a colon is a *part*, weaker than a form.

Two catalogues that both number their items 1, 2, 3 … share ids without sharing items: RecBole's ML-100K link file
carries MovieLens-20M ids, and 3 of its 1,598 links name the right film. Counting ids cannot see that; titles can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from anyascii import anyascii

#: articles of European languages, which catalogues move behind a comma: "Phantom, The", "Misérables, Les", "Avventura, L'"
_ARTICLES = {
    *("the", "a", "an", "le", "la", "les", "l", "un", "une", "el", "los", "las", "lo", "una", "il", "gli", "i", "uno"),
    *("der", "die", "das", "den", "ein", "eine", "de", "het", "een", "en", "ett", "o", "os", "as", "um", "uma"),
}
#: the articles a title loses; in others "Die Hard" and "L.A. Story" would lose a word
_DROPPED = {"the", "a", "an"}
_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_NOT_A_TITLE = re.compile(
    r"\d{4}|\d{4} (?:\w+ )?(?:film|movie|novel|series)|film|movie|novel|book|series|tv|v|vg|short|documentary|miniseries|tv series|"
    r"tv film|video|unfinished|[ivx]+",
    re.I,
)
_ALSO = re.compile(r"^\W*(?:a\.?\s?k\.?\s?a\b\.?|also known as|or\b\s*[:,]|originally)\s*:?", re.I)
_SEVERAL = re.compile(r"\s+/\s+|\s+a\.?k\.?a\.?\s+|\s*;\s+or,?\s+|[:,]\s+or,?\s+|\s+or:\s+", re.I)
_PART = re.compile(r"\s*:\s+|\s+[-–—]+\s+")
_MOVED = re.compile(r"^(.*?),\s*(?:([A-Za-zÀ-ÿ]{1,4})|([Ll]['’`]))(\s*(?::|\s[-–—]).*)?$")
_INITIALS = re.compile(r"(?<=\b\w)\.\s*(?=\w\b\.?)|(?<=\b\w)\.(?=\W|$)")
_DIGIT_COMMA = re.compile(r"(?<=\d)[,.](?=\d{3}\b)")
_WORD = re.compile(r"[a-z0-9]+")
#: a title without any of these has one form and no parts
_FANCY = re.compile(r"[()\[\]/:;–—]| -|\b[Oo][Rr]\b|[Aa]\.?[Kk]")
_MARKS = {ord("'"): None, ord("`"): None, ord("_"): " "}

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: n for n, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_SCALES = {"hundred": 100, "thousand": 1000}
_NUMBERED = {"part", "pt", "vol", "volume", "chapter", "episode", "no", "number"}
_ROMANS = {
    roman + unit: 10 * tens + at
    for tens, roman in enumerate(("", "x", "xx", "xxx"))
    for at, unit in enumerate(("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"))
    if roman + unit
}
#: a title without these words has its numbers as digits already
_SPELLED = {*_NUMBERS, *_SCALES, *_NUMBERED, *_ROMANS}


class Title(NamedTuple):
    """The forms of one title, each a string of plain words."""

    #: the whole title, then what it is also called
    forms: tuple[str, ...]
    #: what stands before and after a colon or dash
    parts: tuple[str, ...]


def plain(text: str) -> str:
    """Lower-case ASCII words of ``text``: transliterated, numbers as digits, a moved article in front, English ones dropped.

    >>> plain("Godfather: Part II, The"), plain("Twelve Monkeys"), plain("Солярис")
    ('godfather 2', '12 monkeys', 'solyaris')
    """
    text = _article_first(text.strip())
    text = (text if text.isascii() else anyascii(text)).lower().replace("&", " and ").translate(_MARKS)
    if "." in text:
        text = _INITIALS.sub("", text)
    if "." in text or "," in text:
        text = _DIGIT_COMMA.sub("", text)
    words = _WORD.findall(text)
    while len(words) > 1 and words[0] in _DROPPED:
        words = words[1:]
    return " ".join(words if _SPELLED.isdisjoint(words) else _numbers(words))


@lru_cache(maxsize=1 << 18)
def title_forms(title: str) -> Title:
    """The forms and parts of a title; both are empty where the title has no letter or digit."""
    if not _FANCY.search(title):
        return Title(_distinct([plain(title)]), ())
    inside = [a or b for a, b in _BRACKETS.findall(title)]
    outside = _BRACKETS.sub(" ", title).strip()
    texts = _SEVERAL.split(outside) if outside else []
    whole = [outside] if len(texts) > 1 else []
    for text in inside:
        if not _NOT_A_TITLE.fullmatch(text.strip()):
            texts += _SEVERAL.split(_ALSO.sub("", text).strip())
    forms = _distinct(plain(text) for text in [*whole, *texts])
    if not forms:
        forms = _distinct([plain(title)])
    parts = _distinct(plain(part) for text in texts for part in _split(text))
    return Title(forms, tuple(part for part in parts if part not in forms))


def title_words(title: str) -> frozenset[str]:
    """Words of a title without accents, case, articles, and what stands in brackets (years, other titles)."""
    words = plain(_BRACKETS.sub(" ", title)).split() or plain(title).split()
    return frozenset(word for word in words if word not in _ARTICLES) or frozenset(words)


def same_title(title: str, name: str) -> bool:
    """Whether two titles share at least half of the words of the shorter one."""
    left, right = title_words(title), title_words(name)
    return bool(left and right) and 2 * len(left & right) >= min(len(left), len(right))


def title_agreement(pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """``(agreeing, compared)`` over pairs of item title and entity name; pairs with an empty side are not compared."""
    compared = [same_title(title, name) for title, name in pairs if title and name and title_words(name)]
    return sum(compared), len(compared)


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _article_first(text: str) -> str:
    """``Phantom, The`` as ``The Phantom``."""
    moved = _MOVED.match(text) if "," in text else None
    if not moved or (moved[2] and moved[2].lower() not in _ARTICLES):
        return text
    return f"{moved[3] or moved[2] + ' '}{moved[1]}{moved[4] or ''}"


def _split(text: str) -> list[str]:
    """What stands before the first and behind the last colon or dash of a title."""
    pieces = _PART.split(_article_first(text))
    return [pieces[0], pieces[-1]] if len(pieces) > 1 else []


def _numbers(words: list[str]) -> list[str]:
    """Number words and Roman numerals as digits; "part 2" and "vol 2" as 2."""
    out: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word in _NUMBERS or (word in _SCALES and at + 1 < len(words) and words[at + 1] in _NUMBERS):
            value, at = _spelled(words, at)
            word = str(value)
        else:
            at += 1
            # a first word such as I is a word; a later one may be too ("The King and I"), but then it is one on both sides
            if out:
                word = str(_ROMANS.get(word, word))
        if word.isdigit() and len(out) > 1 and out[-1] in _NUMBERED:
            out.pop()
        out.append(word)
    return out


def _spelled(words: list[str], at: int) -> tuple[int, int]:
    """``(value, next index)`` of the number spelled from ``words[at]`` on: units, tens, hundreds, thousands."""
    total = current = 0
    last = 1000
    while at < len(words):
        word = words[at]
        if word in _NUMBERS:
            value = _NUMBERS[word]
            if not (last >= 100 or (last >= 20 and value < 10)):
                break
            current, last = current + value, value if value else 1
        elif word in _SCALES:
            current = (current or 1) * _SCALES[word]
            last = _SCALES[word]
            if word == "thousand":
                total, current = total + current, 0
        elif word == "and" and last == 100 and at + 1 < len(words) and words[at + 1] in _NUMBERS:
            pass
        else:
            break
        at += 1
    return total + current, at
