"""The demo world is a small invented film industry whose audience has a taste that we planted and therefore know.

Each film has a director and actors, a *look* (how its poster is drawn) and a *theme* (the words of its plot). Each
user is of one kind, and the kind says which films the user likes:

===============  ===========================================================================
``people``       films by a few followed directors or with a few followed actors
``look``         films whose poster has one of two looks
``words``        films whose plot has one of two themes
``people_look``  films by one director, with one of two actors, or with one look
``agreement``    films whose look *and* theme are both among three liked ones: no single
                 modality suffices
``crowd``        acclaimed films, whatever they are about
===============  ===========================================================================

Genres follow the theme only a little. Popularity falls with a power of the rank. *Late* films come out when most users
have already rated, so only the last fifth of users can rate them: such films have few ratings, and there only people,
pictures and words can help.

Random numbers come from ``numpy.random.RandomState``, whose streams never change between NumPy versions, one stream
per part of the world (and per film), so that a change of one part leaves the others as they were.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from pydantic import Field, model_validator

from kgrec.config import Settings
from kgrec.data.demo import words
from kgrec.data.demo.posters import LOOKS

Kind = Literal["people", "look", "words", "people_look", "agreement", "crowd"]
PosterState = Literal["drawn", "grey", "missing", "placeholder", "truncated"]

#: MovieLens' genres.
GENRES = ("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
          "Film-Noir",
          "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western")  # fmt: skip
COUNTRIES = {"USA": "English", "France": "French", "Sweden": "Swedish", "Germany": "German", "Japan": "Japanese",
             "Spain": "Spanish", "UK": "English"}  # fmt: skip
CERTIFICATES = ("G", "PG", "PG-13", "R")

#: Chance of 1, 2, 3, 4 and 5 stars for a film the user likes, and for another one.
_STARS_LIKED = (0.02, 0.04, 0.18, 0.38, 0.38)
_STARS_OTHER = (0.30, 0.38, 0.20, 0.09, 0.03)
_FIRST_SECOND = 1_500_000_000  # 14 July 2017, UTC
_JOINING_SECONDS = 2 * 365 * 86_400
_RATING_SECONDS = 90 * 86_400  # mean time between a user's first and last rating
#: Share of users who join after the late films, of January 2019, are out.
_NEWCOMERS = 0.2
_LATE_YEAR = 2019


class TasteMix(Settings):
    """How many users there are of each kind, as weights; they need not sum to one."""

    people: float = Field(0.24, ge=0)
    """Followers of directors and actors."""
    look: float = Field(0.18, ge=0)
    """Users who like the look of posters."""
    words: float = Field(0.18, ge=0)
    """Users who like the theme of plots."""
    people_look: float = Field(0.12, ge=0)
    """Users who like people or a look."""
    agreement: float = Field(0.2, ge=0)
    """Users who like a film only when look and theme are both right."""
    crowd: float = Field(0.08, ge=0)
    """Users who like what is acclaimed."""

    @model_validator(mode="after")
    def _some(self) -> TasteMix:
        if sum(self.model_dump().values()) <= 0:
            raise ValueError("at least one kind of user needs a weight above 0")
        return self


class DemoSettings(Settings):
    """Size and taste of the demo world. Equal settings give equal files."""

    seed: int = Field(42, ge=0)
    """Seed of everything in the world."""
    users: int = Field(600, ge=20, le=20_000)
    """Number of users, all of whom rate."""
    items: int = Field(500, ge=60, le=10_000)
    """Number of films in the catalogue; a few of them have no rating."""
    ratings_per_user: float = Field(47.0, ge=5)
    """Mean number of ratings of a user (at least half of it each, a fifth of the catalogue at most)."""
    focus: float = Field(0.8, ge=0, le=1)
    """Share of a user's picks that follow the planted taste; the rest follow popularity alone."""
    popularity: float = Field(0.7, ge=0)
    """Exponent of the power law between a film's rank and how often it is picked."""
    late: float = Field(0.3, ge=0, le=0.5)
    """Share of films that come out last and have few ratings."""
    taste: TasteMix = Field(default_factory=lambda: TasteMix.model_validate({}))
    """The mix of users."""


@dataclass(frozen=True)
class Person:
    """A director, actor or producer; ``mid`` is the Freebase-like id, ``named`` whether the dump knows the name."""

    name: str
    mid: str
    country: str
    gender: str
    named: bool


@dataclass(frozen=True)
class Film:
    """A film with what is published about it and, in ``look``, ``theme`` and ``acclaimed``, what is latent.

    ``director``, ``actors`` and ``producer`` index :attr:`World.people`; ``characters`` are names, one per actor, empty
    where the dump has none. ``mid`` is the entity in the dump, ``linked`` whether the link file says so; ``art`` names
    the random stream of the poster.
    """

    item_id: int
    title: str
    year: int
    released: str
    genres: tuple[str, ...]
    director: int
    actors: tuple[int, ...]
    producer: int
    characters: tuple[str, ...]
    country: str
    certificate: str
    runtime: int
    look: int
    theme: int
    acclaimed: bool
    late: bool
    mid: str
    linked: bool
    poster: PosterState
    art: int
    short_plot: str
    full_plot: str

    @property
    def imdb_id(self) -> str:
        """An invented IMDb id, in a range IMDb does not use."""
        return f"tt99{self.item_id:06d}"


@dataclass(frozen=True)
class User:
    """A user and the planted taste; ``people`` are the followed ones. Sets the kind has no use for are empty."""

    user_id: int
    kind: Kind
    people: frozenset[int]
    looks: frozenset[int]
    themes: frozenset[int]


@dataclass(frozen=True)
class World:
    """Everything there is, with the latent taste; F films, U users, R ratings."""

    settings: DemoSettings
    people: tuple[Person, ...]
    films: tuple[Film, ...]
    users: tuple[User, ...]
    #: shape: (R,) index into ``users``; ratings are sorted by user, then time
    rating_user: NDArray[np.int64]
    #: shape: (R,) index into ``films``
    rating_film: NDArray[np.int64]
    #: shape: (R,) 1 to 5 stars
    rating: NDArray[np.int64]
    #: shape: (R,) seconds since 1970, UTC
    timestamp: NDArray[np.int64]

    @cached_property
    def liked(self) -> NDArray[np.bool_]:
        """Shape (U, F): whether the planted taste of a user includes a film."""
        return _liked(self.films, self.users)


def stream(seed: int, *names: object) -> RandomState:
    """The random stream of one part of the world."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return RandomState(np.frombuffer(digest, dtype="<u4").astype(np.int64))


def make_world(settings: DemoSettings) -> World:
    """Invent people, films, users and ratings. Pure: equal settings give an equal world."""
    people, directors, actors = _people(settings)
    films = _films(settings, people, directors, actors)
    users = _users(settings, films)
    rating_user, rating_film, rating, timestamp = _ratings(settings, films, users)
    return World(settings, people, films, users, rating_user, rating_film, rating, timestamp)


def demo_mid(kind: str, number: int) -> str:
    """An id in Freebase's form that Freebase cannot have, since its ids have no vowels."""
    return f"m.0demo_{kind}{number:04d}"


def _people(settings: DemoSettings) -> tuple[tuple[Person, ...], range, range]:
    random = stream(settings.seed, "people")
    n_directors, n_actors, n_producers = (
        max(6, settings.items // 7),
        max(12, settings.items // 3),
        max(4, settings.items // 20),
    )
    people: list[Person] = []
    names: set[str] = set()
    while len(people) < n_directors + n_actors + n_producers:
        name = words.person_name(random)
        while name in names:
            name = f"{name} {words.person_name(random).split()[1]}"
        names.add(name)
        number = len(people)
        mid = f"g.11demo_p{number:04d}" if number % 17 == 5 else demo_mid("p", number)
        people.append(
            Person(
                name, mid, words.pick(random, list(COUNTRIES)), words.pick(random, ["Female", "Male"]), number % 41 != 7
            )
        )
    return tuple(people), range(n_directors), range(n_directors, n_directors + n_actors)


def _films(settings: DemoSettings, people: tuple[Person, ...], directors: range, actors: range) -> tuple[Film, ...]:
    random = stream(settings.seed, "films")
    n = settings.items
    gaps = random.rand(n) < 0.04  # MovieLens' ids have holes
    item_ids = np.arange(1, n + 1) + np.cumsum(gaps)
    late = np.arange(n) >= round(n * (1 - settings.late))
    looks = random.permutation(np.arange(n) % len(LOOKS))
    themes = random.permutation(np.arange(n) % len(words.THEMES))
    director_weight, actor_weight = _power(len(directors), 0.6), _power(len(actors), 0.5)
    titles: set[str] = set()
    films = []
    for i in range(n):
        theme = words.THEMES[themes[i]]
        title = words.film_title(random, foreign=i % 45 == 11)
        while title in titles:
            title = f"{words.film_title(random)} {words.pick(random, ['II', 'III', 'Again'])}"
        titles.add(title)
        year = _LATE_YEAR if late[i] else int(random.randint(1961, 2017))
        cast = random.choice(len(actors), size=int(random.randint(3, 6)), replace=False, p=actor_weight)
        own = random.rand(2) < 0.35  # genres know the theme only a little
        genres = {words.pick(random, theme.genres if o else GENRES) for o in own}
        films.append(
            Film(
                item_id=int(item_ids[i]), title=title, year=year, genres=tuple(sorted(genres)),
                released=f"{year}-{1 if late[i] else random.randint(1, 13):02d}-{random.randint(1, 29):02d}",
                director=directors[int(random.choice(len(directors), p=director_weight))],
                actors=tuple(actors[int(a)] for a in cast), producer=int(random.randint(actors.stop, len(people))),
                characters=tuple("" if random.rand() < 0.1 else words.person_name(random) for _ in cast),
                country=words.pick(random, list(COUNTRIES)), certificate=words.pick(random, CERTIFICATES),
                runtime=int(random.randint(78, 165)), look=int(looks[i]), theme=int(themes[i]),
                acclaimed=bool(random.rand() < 0.25), late=bool(late[i]), mid=demo_mid("f", i),
                linked=True,
                poster="drawn", art=int(item_ids[i]),
                short_plot=words.short_plot(theme, random), full_plot=words.full_plot(theme, random),
            )
        )  # fmt: skip
    return _blemishes(settings, films)


def _blemishes(settings: DemoSettings, films: list[Film]) -> tuple[Film, ...]:
    """What is wrong in published data, at fixed places: the last film is an earlier one under a second id (same
    entity, same poster), and some films have no link, no poster, a shared placeholder, a damaged or a grey poster, or
    no plot."""
    films[-1] = replace(films[20], item_id=films[-1].item_id, late=True)
    random = stream(settings.seed, "blemishes")
    free = [int(i) for i in random.permutation(len(films)) if i not in (20, len(films) - 1)]

    def mark(count: int, **changes: object) -> None:
        for _ in range(count):
            i = free.pop()
            films[i] = replace(films[i], **changes)  # type: ignore[arg-type]

    mark(round(len(films) * 0.03), linked=False)
    mark(round(len(films) * 0.04), poster="missing")
    mark(3, poster="placeholder")
    mark(1, poster="truncated")
    mark(1, poster="grey")
    mark(2, short_plot="")
    mark(2, full_plot="")
    mark(max(2, len(films) // 60), short_plot="", full_plot="")
    return tuple(films)


def _users(settings: DemoSettings, films: tuple[Film, ...]) -> tuple[User, ...]:
    random = stream(settings.seed, "users")
    weights = settings.taste.model_dump()
    kinds: list[Kind] = list(weights)  # type: ignore[arg-type]
    shares = np.array([weights[kind] for kind in kinds])
    counts = np.floor(shares / shares.sum() * settings.users).astype(int)
    for i in range(settings.users - int(counts.sum())):
        counts[np.flatnonzero(shares)[i % np.count_nonzero(shares)]] += 1
    order = random.permutation(np.repeat(np.arange(len(kinds)), counts))
    directors = sorted({film.director for film in films})
    actors = sorted({actor for film in films for actor in film.actors})

    def some(values: list[int], size: int) -> frozenset[int]:
        return frozenset(values[int(i)] for i in random.permutation(len(values))[:size])

    looks, themes, nothing = list(range(len(LOOKS))), list(range(len(words.THEMES))), frozenset[int]()
    users = []
    for number, kind_index in enumerate(order, start=1):
        match kind := kinds[kind_index]:
            case "people":
                users.append(User(number, kind, some(directors, 3) | some(actors, 5), nothing, nothing))
            case "look":
                users.append(User(number, kind, nothing, some(looks, 2), nothing))
            case "words":
                users.append(User(number, kind, nothing, nothing, some(themes, 2)))
            case "people_look":
                users.append(User(number, kind, some(directors, 1) | some(actors, 2), some(looks, 1), nothing))
            case "agreement":
                users.append(User(number, kind, nothing, some(looks, 3), some(themes, 3)))
            case "crowd":
                users.append(User(number, kind, nothing, nothing, nothing))
    return tuple(users)


def _liked(films: tuple[Film, ...], users: tuple[User, ...]) -> NDArray[np.bool_]:
    look, theme = np.array([film.look for film in films]), np.array([film.theme for film in films])
    acclaimed = np.array([film.acclaimed for film in films])
    n_people = 1 + max(max(film.director, *film.actors) for film in films)
    credits = np.zeros((n_people, len(films)), dtype=bool)
    for i, film in enumerate(films):
        credits[[film.director, *film.actors], i] = True
    liked = np.empty((len(users), len(films)), dtype=bool)
    for u, user in enumerate(users):
        by_people = credits[sorted(user.people)].any(axis=0)
        by_look, by_theme = np.isin(look, sorted(user.looks)), np.isin(theme, sorted(user.themes))
        match user.kind:
            case "agreement":
                liked[u] = by_look & by_theme
            case "crowd":
                liked[u] = acclaimed
            case _:
                liked[u] = by_people | by_look | by_theme
    return liked


def _ratings(
    settings: DemoSettings, films: tuple[Film, ...], users: tuple[User, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    random = stream(settings.seed, "ratings")
    liked, popularity = _liked(films, users), _popularity(settings, films)
    late = np.array([film.late for film in films])
    mean = settings.ratings_per_user
    sizes = mean * (0.5 + 0.5 * random.standard_exponential(len(users)))
    sizes = np.clip(np.rint(sizes), 1, max(5, len(films) // 5)).astype(int)
    rows = []
    for u in range(len(users)):
        joined = float(random.rand())
        out = popularity * (~late | (joined >= 1 - _NEWCOMERS))
        weight = settings.focus * _share(out * liked[u]) + (1 - settings.focus) * _share(out)
        # a weighted draw without replacement: the smallest of exponential waiting times with rate = weight
        with np.errstate(divide="ignore"):
            waiting = random.standard_exponential(len(films)) / weight
        size = min(sizes[u], np.count_nonzero(weight))
        seen = np.argsort(waiting, kind="stable")[:size]
        stars = np.where(liked[u, seen], _stars(random, _STARS_LIKED, size), _stars(random, _STARS_OTHER, size))
        start = _FIRST_SECOND + int(joined * _JOINING_SECONDS)
        gaps = np.ceil(random.standard_exponential(size) * _RATING_SECONDS / size).astype(np.int64)
        rows.append((np.full(size, u), seen, stars, start + np.cumsum(gaps)))
    user, film, rating, timestamp = (np.concatenate(column).astype(np.int64) for column in zip(*rows, strict=True))
    return user, film, rating, timestamp


def _popularity(settings: DemoSettings, films: tuple[Film, ...]) -> NDArray[np.float64]:
    """How often a film is picked by somebody without taste, up to a factor; four films never are."""
    random = stream(settings.seed, "popularity")
    popularity = np.empty(len(films))
    popularity[random.permutation(len(films))] = _power(len(films), settings.popularity)
    never = [i for i in range(30, len(films)) if films[i].poster == "drawn" and not films[i].late][:4]
    popularity[never] = 0
    return popularity


def _power(n: int, exponent: float) -> NDArray[np.float64]:
    """Shares of ``n`` ranks under a shifted power law; the shift keeps the first rank from taking too much."""
    weight = (np.arange(n) + 8.0) ** -exponent
    return weight / weight.sum()


def _share(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return weight / total if (total := weight.sum()) > 0 else weight


def _stars(random: RandomState, chances: tuple[float, ...], size: int) -> NDArray[np.int64]:
    return 1 + np.searchsorted(np.cumsum(chances)[:-1], random.rand(size), side="right")
