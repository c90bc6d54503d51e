import pytest

from kgrec.kg.linking.title_match import title_agreement
from kgrec.kg.titles import title_forms


@pytest.mark.parametrize(
    ("title", "name", "agreement"),
    [
        ("Heat", "Heat", 1 - 0.3 / 2),
        ("Godfather, The: Part II", "The Godfather Part 2", 1 - 0.3 / 4),
        ("Postino, Il (The Postman)", "The Postman", 1 - 0.3 / 2),
        ("Postino, Il (The Postman)", "Il Postino: The Postman", 0.95),
        ("Spider Man", "Spiderman", 1 - 0.3 / 4 - 0.05),
        ("Nineteen Eighty-Four", "1984", 1 - 0.3 / 4 - 0.05),
        ("Dr. Strangelove or: How I Learned to Stop Worrying", "Dr. Strangelove", 1 - 0.3 / 4),
        ("Star Wars: Episode IV - A New Hope", "Star Wars", 0.85),
        ("Alien: Resurrection", "Resurrection", 0.7),
        ("Alien: Resurrection", "Alien: Covenant", 0.5),
        ("Colour Purple, The", "The Color Purple", 0.9 * (1 + 10 / 11) / 2),
        ("Monty Python's Life of Brian", "Life of Brian", 0.5 + 0.3 * 2 / 4),
        ("National Lampoon's Vacation", "Vacation", 0.3),
        ("City of the Living Dead", "City of the Walking Dead", 0.3 * 2 / 3),
        ("Rocky II", "Rocky III", 0.2),
        ("Rocky II", "Bambi", 0),
        ("Titanic", "The Swan Princess", 0),
    ],
)
def test_agreement(title: str, name: str, agreement: float) -> None:
    sides = [title_forms(title)], [title_forms(name)]
    assert title_agreement(*sides) == pytest.approx(agreement)
    assert title_agreement(*sides[::-1]) == pytest.approx(agreement)


def test_the_best_of_several_names_counts() -> None:
    names = [title_forms(name) for name in ("Le Fabuleux Destin d'Amélie Poulain", "Amelie", "アメリ")]
    assert title_agreement([title_forms("Amélie")], names) == pytest.approx(0.85)


def test_a_title_without_letters_is_no_evidence() -> None:
    assert title_agreement([title_forms("...")], [title_forms("Heat")]) is None
    assert title_agreement([title_forms("Heat")], []) is None
