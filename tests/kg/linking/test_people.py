import pytest

from kgrec.kg.linking.people import people_agreement, person, same_person


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Samuel L. Jackson", "Samuel Jackson"),
        ("Kurosawa Akira", "Akira Kurosawa"),
        ("François Truffaut", "Francois Truffaut"),
        ("Terrence Malick", "Terence Malick"),
        ("Robert Downey Jr.", "Robert Downey"),
        ("Сергей", "Sergey"),
    ],
)
def test_one_person(one: str, other: str) -> None:
    assert same_person(person(one), person(other))


@pytest.mark.parametrize(("one", "other"), [("Joel Coen", "Ethan Coen"), ("John Ford", "John Woo"), ("Cher", "Sting")])
def test_two_people(one: str, other: str) -> None:
    assert not same_person(person(one), person(other))


def test_the_share_of_the_shorter_list() -> None:
    assert people_agreement(["A. Kurosawa", "Joel Coen"], ["Joel Coen", "Ethan Coen", "Sam Raimi"]) == 0.5
    assert people_agreement(["Joel Coen"], ["Ethan Coen"]) == 0
    assert people_agreement([], ["Ethan Coen"]) is None
    assert people_agreement(["..."], ["Ethan Coen"]) is None
