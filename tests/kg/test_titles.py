import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.kg.titles import plain, same_title, title_agreement, title_forms


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Phantom, The", "The Phantom"),
        ("Misérables, Les", "LES MISERABLES!"),
        ("Avventura, L'", "L'avventura"),
        ("Quest, The", "The_Quest"),
        ("Godfather: Part II, The", "The Godfather Part 2"),
        ("Godfather, The: Part II", "The Godfather, Part II"),
        ("Kill Bill: Vol. 1", "Kill Bill Volume One"),
        ("Rocky II", "Rocky 2"),
        ("Star Trek V: The Final Frontier", "Star Trek 5 - The Final Frontier"),
        ("Twelve Monkeys", "12 Monkeys"),
        ("One Hundred and One Dalmatians", "101 Dalmatians"),
        ("20,000 Leagues Under the Sea", "Twenty Thousand Leagues Under the Sea"),
        ("Twenty-One", "21"),
        ("E.T. the Extra-Terrestrial", "ET: The Extra Terrestrial"),
        ("Schindler’s List", "Schindlers list"),
        ("Bonnie & Clyde", "Bonnie and Clyde"),
        ("Солярис", "Solyaris"),
        ("I, Robot", "I Robot"),
    ],
)  # fmt: skip
def test_one_form_of_two_spellings(title: str, name: str) -> None:
    assert plain(title) == plain(name)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Rocky II", "Rocky III"),
        ("Toy Story", "Toy Story 2"),
        ("I", "1"),
        ("Seven", "Seventeen"),
        ("The Thing", "The Things"),
        ("Die Hard", "Hard"),
        ("L.A. Story", "Story"),
        ("Part One", "One"),
        ("Two for the Road", "Two Hundred for the Road"),
    ],
)
def test_two_forms(title: str, name: str) -> None:
    assert plain(title) != plain(name)


@pytest.mark.parametrize(
    ("title", "forms", "parts"),
    [
        ("Postino, Il (The Postman)", {"il postino", "postman"}, set()),
        ("Lost Children, The (Enfants perdus, Les)", {"lost children", "les enfants perdus"}, set()),
        ("Seven (a.k.a. Se7en)", {"7", "se7en"}, set()),
        ("Phantom, The (1996 film)", {"phantom"}, set()),
        ("Solaris [Solyaris]", {"solaris", "solyaris"}, set()),
        ("Star Wars: Episode IV - A New Hope", {"star wars 4 a new hope"}, {"star wars", "new hope"}),
        ("Heat (V)", {"heat"}, set()),
        ("(500) Days", {"days", "500"}, set()),
        ("???", set(), set()),
    ],
)  # fmt: skip
def test_forms_and_parts(title: str, forms: set[str], parts: set[str]) -> None:
    found = title_forms(title)
    assert (set(found.forms), set(found.parts)) == (forms, parts)


def test_a_subtitle_after_or_is_another_form() -> None:
    forms = title_forms("Dr. Strangelove or: How I Learned to Stop Worrying").forms
    # "I" is 1 wherever it stands behind another word: on both sides of a comparison
    assert forms == (
        "dr strangelove or how 1 learned to stop worrying",
        "dr strangelove",
        "how 1 learned to stop worrying",
    )


@given(st.text(max_size=40))
def test_any_text_has_forms_of_plain_words(text: str) -> None:
    for form in (*title_forms(text).forms, *title_forms(text).parts):
        assert form == " ".join(form.split())
        assert form.isascii()
        assert form == form.lower()


@given(st.text("abcdefgh ", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_a_form_is_its_own_form(text: str) -> None:
    assert plain(plain(text)) == plain(text)


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
def test_one_film_under_two_titles(title: str, name: str) -> None:
    assert same_title(title, name)


@pytest.mark.parametrize(
    ("title", "name"), [("Titanic", "The Swan Princess"), ("The Matrix", "The Piano"), ("", "Alien")]
)
def test_two_films(title: str, name: str) -> None:
    assert not same_title(title, name)


def test_pairs_without_a_name_are_not_compared() -> None:
    assert title_agreement([("Alien", "Alien"), ("Alien", ""), ("", "Alien"), ("Heat", "Ran")]) == (1, 2)
