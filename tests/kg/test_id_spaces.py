"""Numberings recognised by their landmarks, by their form, and by their relation to the catalogue's."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from kgrec.kg.id_spaces import SPACES, describe_ids, recognise, relation

Known = dict[str, tuple[Iterable[str], Iterable[int]]]

OLD, NEW = SPACES


def known(space: dict[str, tuple[str, int]]) -> Known:
    return {one: ([title], [year]) for one, (title, year) in space.items()}


def test_each_numbering_is_recognised_by_its_own_landmarks() -> None:
    for space in SPACES:
        found = recognise(known(dict(space.landmarks)))
        assert found is not None
        assert (found.space, found.agreeing, found.checked) == (space, len(space.landmarks), len(space.landmarks))


def test_titles_may_be_spelt_otherwise_and_a_few_may_be_missing_or_wrong() -> None:
    landmarks = known(dict(NEW.landmarks))
    landmarks["593"] = (["Silence of the Lambs, The"], [1991])
    landmarks["318"] = (["Die Verurteilten", "Shawshank Redemption, The"], [1995])
    landmarks["858"] = (["El padrino"], [1972])
    del landmarks["527"]
    found = recognise(landmarks)
    assert found is not None
    assert (found.agreeing, found.checked) == (len(NEW.landmarks) - 2, len(NEW.landmarks) - 1)


def test_other_films_under_these_numbers_are_no_landmarks() -> None:
    titles = [title for title, _ in OLD.landmarks.values()]
    mixed = random.Random(1).sample(titles, len(titles))
    assert recognise({one: ([title], []) for one, title in zip(OLD.landmarks, mixed, strict=True)}) is None
    assert recognise({}) is None
    few = dict(list(known(dict(NEW.landmarks)).items())[:4])
    assert recognise(few) is None


def test_a_remake_of_the_title_is_not_the_landmark() -> None:
    assert recognise({one: ([title], [year + 20]) for one, (title, year) in NEW.landmarks.items()}) is None


def test_ids_beyond_a_release() -> None:
    assert NEW.reach(["1", "3952", "x"]) == ""
    assert NEW.reach(["1", "131262"]) == ", up to 131262, beyond MovieLens-1M"


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["1", "2", "3"], "whole numbers from 1 to 3 without gaps"),
        (["7", "2", "10"], "whole numbers from 2 to 10 with gaps"),
        (["tt0114709", "tt10872600"], "IMDb ids"),
        (["0553092626", "B000FA64PK", "097684130X"], "ASINs or ISBN-10s"),
        (["9780553092622"], "ISBN-13s"),
        (["m.0dyb1", "g.11x1nkwrq", "/m/02"], "Freebase ids"),
        (["Q42", "Q11424"], "Wikidata ids"),
        (["http://dbpedia.org/resource/Heat"], "URIs"),
        (["alpha", "beta"], "ids such as 'alpha'"),
        ([], "no ids"),
    ],
)
def test_the_form_of_ids(ids: list[str], words: str) -> None:
    assert describe_ids(ids) == words


CATALOGUE = [str(7 * at + 3) for at in range(60)]


def test_shifted_ids() -> None:
    assert relation([(str(int(one) + 2), one) for one in CATALOGUE], CATALOGUE) == "the catalogue's ids +2"
    assert relation([(str(int(one) - 1), one) for one in CATALOGUE], CATALOGUE) == "the catalogue's ids -1"


def test_positions() -> None:
    words = "positions of the items in the catalogue as the file lists them, counted from 0"
    assert relation([(str(at), one) for at, one in enumerate(CATALOGUE)], CATALOGUE) == words
    listed = random.Random(0).sample(CATALOGUE, len(CATALOGUE))
    words = "positions of the items in the catalogue sorted by id, counted from 1"
    assert relation([(str(at), one) for at, one in enumerate(CATALOGUE, start=1)], listed) == words


def test_the_same_order_and_another_order() -> None:
    closed = [(str(3 * at + at // 20), one) for at, one in enumerate(CATALOGUE)]
    assert relation(closed, CATALOGUE) == "other numbers in the catalogue's order, as when gaps are closed"
    mixed = random.Random(0).sample(CATALOGUE, len(CATALOGUE))
    pairs = list(zip(CATALOGUE, mixed, strict=True))
    assert relation(pairs, CATALOGUE) == "a numbering of its own, in another order"


def test_a_tenth_may_be_otherwise() -> None:
    pairs = [(str(int(one) + 2), one) for one in CATALOGUE]
    pairs[:5] = [(left, "3") for left, _ in pairs[:5]]
    assert relation(pairs, CATALOGUE) == "the catalogue's ids +2"


def test_too_few_pairs_or_no_numbers_tell_nothing() -> None:
    assert relation([("1", "2")] * 19, CATALOGUE) is None
    assert relation([("a", "3")] * 50, CATALOGUE) is None
