"""An id space is one way of numbering items. Two catalogues may use the same numbers for other items.

Every MovieLens release since 1M numbers its films alike, and MovieLens-100K numbers them otherwise: 50 is *The Usual
Suspects* in one and *Star Wars* in the other. A numbering is recognised by its landmarks: a few well-known films and
their numbers, looked up among the titles of a catalogue or among the names of the entities a link file gives to these
numbers. Where no numbering is known, ids are described by their form, and a file's ids by their relation to the
catalogue's: shifted, positions in the catalogue, in the same order, or in another one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kgrec.kg.titles import title_forms

#: number in MovieLens-100K, number in the later releases, year, title; read off the releases' own files
_BOTH = """
82 480 1993 Jurassic Park
96 589 1991 Terminator 2: Judgment Day
204 1270 1985 Back to the Future
98 593 1991 The Silence of the Lambs
257 1580 1997 Men in Black
174 1198 1981 Raiders of the Lost Ark
100 608 1996 Fargo
22 110 1995 Braveheart
173 1197 1987 The Princess Bride
318 527 1993 Schindler's List
302 1617 1997 L.A. Confidential
202 1265 1993 Groundhog Day
64 318 1994 The Shawshank Redemption
127 858 1972 The Godfather
69 356 1994 Forrest Gump
56 296 1994 Pulp Fiction
195 1240 1984 The Terminator
183 1214 1979 Alien
79 457 1993 The Fugitive
176 1200 1986 Aliens
89 541 1982 Blade Runner
655 1259 1986 Stand by Me
12 50 1995 The Usual Suspects
8 34 1995 Babe
357 1193 1975 One Flew Over the Cuckoo's Nest
132 919 1939 The Wizard of Oz
135 924 1968 2001: A Space Odyssey
164 1127 1989 The Abyss
234 1387 1975 Jaws
483 912 1942 Casablanca
144 1036 1988 Die Hard
265 1610 1990 The Hunt for Red October
216 1307 1989 When Harry Met Sally
272 1704 1997 Good Will Hunting
313 1721 1997 Titanic
97 590 1990 Dances with Wolves
42 223 1994 Clerks
480 908 1959 North by Northwest
185 1219 1960 Psycho
23 111 1976 Taxi Driver
"""

#: films that only the later releases have
_LATER = """
2571 1999 The Matrix
2762 1999 The Sixth Sense
2858 1999 American Beauty
2959 1999 Fight Club
3578 2000 Gladiator
3793 2000 X-Men
4226 2000 Memento
4306 2001 Shrek
4993 2001 The Lord of the Rings: The Fellowship of the Ring
5989 2002 Catch Me If You Can
6377 2003 Finding Nemo
7361 2004 Eternal Sunshine of the Spotless Mind
33794 2005 Batman Begins
48516 2006 The Departed
58559 2008 The Dark Knight
79132 2010 Inception
"""

#: fewest landmarks, and least share of them, that must agree
_LANDMARKS, _AGREE = 5, 0.8


@dataclass(frozen=True)
class IdSpace:
    """A numbering with its landmarks.

    :param landmarks: item id -> title and year
    :param releases: catalogues that use it -> their largest id, ascending; not all of them
    """

    name: str
    landmarks: Mapping[str, tuple[str, int]]
    releases: Mapping[str, int]

    def reach(self, ids: Iterable[str]) -> str:
        """Which release the largest of ``ids`` is beyond, in words; nothing where it is within all of them."""
        highest = max((int(one) for one in ids if one.isascii() and one.isdigit()), default=0)
        passed = [name for name, last in self.releases.items() if last < highest]
        return f", up to {highest}, beyond {passed[-1]}" if passed else ""


@dataclass(frozen=True)
class Recognised:
    """A numbering found among ids: ``agreeing`` of its ``checked`` landmarks are where it puts them."""

    space: IdSpace
    agreeing: int
    checked: int

    def __str__(self) -> str:
        return f"{self.space.name} ({self.agreeing} of {self.checked} films known there)"


def _spaces() -> tuple[IdSpace, ...]:
    both = [line.split(" ", 3) for line in _BOTH.split("\n") if line]
    later = [line.split(" ", 2) for line in _LATER.split("\n") if line]
    old = {one: (title, int(year)) for one, _, year, title in both}
    new = {one: (title, int(year)) for _, one, year, title in both}
    new |= {one: (title, int(year)) for one, year, title in later}
    return (
        IdSpace("MovieLens-100K", old, {"MovieLens-100K": 1682}),
        IdSpace(
            "MovieLens-1M, 10M, 20M, 25M, 32M and latest",
            new,
            {"MovieLens-1M": 3952},
        ),
    )


#: the numberings whose landmarks are known
SPACES = _spaces()


def recognise(known: Mapping[str, tuple[Iterable[str], Iterable[int]]]) -> Recognised | None:
    """The numbering that item ids follow, if their titles are those of its landmarks.

    :param known: item id -> the titles and years it stands for; no years means they are not known
    """
    best: Recognised | None = None
    for space in SPACES:
        here = [one for one in space.landmarks if one in known]
        agreeing = sum(_agrees(known[one], *space.landmarks[one]) for one in here)
        if agreeing >= max(_LANDMARKS, _AGREE * len(here)) and (best is None or agreeing > best.agreeing):
            best = Recognised(space, agreeing, len(here))
    return best


def _agrees(known: tuple[Iterable[str], Iterable[int]], title: str, year: int) -> bool:
    titles, years = known
    wanted = set(title_forms(title).forms)
    near = [abs(year - one) <= 1 for one in years]
    return any(wanted & set(title_forms(one).forms) for one in titles) and (not near or any(near))


_FORMS = (
    ("IMDb ids", re.compile(r"tt\d{7,9}")),
    ("Freebase ids", re.compile(r"[mg]\.[0-9a-z_]+|/[mg]/[0-9a-z_]+")),
    ("Wikidata ids", re.compile(r"Q\d+")),
    ("ISBN-13s", re.compile(r"97[89]\d{10}")),
    ("ASINs or ISBN-10s", re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")),
    ("URIs", re.compile(r"[a-z]+://.*")),
    ("UUIDs", re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")),
)


def describe_ids(ids: Collection[str]) -> str:
    """What a set of ids looks like: ``whole numbers from 1 to 3952 with gaps``, ``ASINs or ISBN-10s``, ``IMDb ids``."""
    if not ids:
        return "no ids"
    for name, form in _FORMS:
        if sum(form.fullmatch(one) is not None for one in ids) >= 0.95 * len(ids):
            return name
    numbers = {int(one) for one in ids if one.isascii() and one.isdigit()}
    if len(numbers) >= 0.95 * len(set(ids)):
        low, high = min(numbers), max(numbers)
        gaps = "without gaps" if len(numbers) == high - low + 1 else "with gaps"
        return f"whole numbers from {low} to {high} {gaps}"
    return f"ids such as {min(ids)!r}"


def relation(pairs: Sequence[tuple[str, str]], catalogue: Sequence[str]) -> str | None:
    """How a file's ids relate to the catalogue's, in words; None where the pairs are too few to tell.

    :param pairs: (id in the file, id in the catalogue of the item that the linked entity names)
    :param catalogue: all item ids of the catalogue in its order
    """
    pairs = [(left, right) for left, right in pairs if left.isascii() and left.isdigit()]
    if len(pairs) < 20:
        return None
    enough = 0.9 * len(pairs)
    numeric = [(int(left), int(right)) for left, right in pairs if right.isascii() and right.isdigit()]
    shift, times = _commonest(right - left for left, right in numeric)
    if times >= enough:
        return f"the catalogue's ids {-shift:+d}"
    for order, words in (
        (catalogue, "as the file lists them"),
        (sorted(catalogue, key=lambda one: (len(one), one)), "sorted by id"),
        (sorted(catalogue), "sorted by id as text"),
    ):
        place = {one: at for at, one in enumerate(order)}
        start, times = _commonest(int(left) - place[right] for left, right in pairs)
        if times >= enough:
            return f"positions of the items in the catalogue {words}, counted from {start}"
    if _ascending([right for _, right in sorted(numeric)]) >= enough:
        return "other numbers in the catalogue's order, as when gaps are closed"
    return "a numbering of its own, in another order"


def _commonest(values: Iterable[int]) -> tuple[int, int]:
    """``(value, times)`` of the commonest value."""
    found = Counter(values).most_common(1)
    return found[0] if found else (0, 0)


def _ascending(values: Sequence[int]) -> int:
    """Length of the longest strictly ascending subsequence, by patience sorting."""
    tops: list[int] = []
    for value in values:
        at = bisect_left(tops, value)
        tops[at : at + 1] = [value]
    return len(tops)
