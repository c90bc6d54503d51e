import pytest

from kgrec.kg.titles import same_title, title_agreement


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Phantom, The", "The Phantom"),
        ("Misérables, Les", "Les Miserables"),
        ("Quest, The", "The_Quest_(film)"),
        ("Monty Python's Life of Brian", "Life of Brian"),
        ("1900", "1900"),
        ("The The", "The The"),
    ],
)
def test_one_film_under_two_spellings(title: str, name: str) -> None:
    assert same_title(title, name)


@pytest.mark.parametrize(
    ("title", "name"), [("Titanic", "The Swan Princess"), ("The Matrix", "The Piano"), ("", "Alien")]
)
def test_two_films(title: str, name: str) -> None:
    assert not same_title(title, name)


def test_pairs_without_a_name_are_not_compared() -> None:
    assert title_agreement([("Alien", "Alien"), ("Alien", ""), ("", "Alien"), ("Heat", "Ran")]) == (1, 2)
