import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.kg.linking.identifiers import are_isbns, asin, identifiers, imdb_id, isbn, tmdb_id


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0-306-40615-2", "9780306406157"),  # the worked example of the ISBN manual
        ("978-0-306-40615-7", "9780306406157"),
        ("ISBN 080442957x", "9780804429573"),
        ("0306406153", None),
        ("9780306406158", None),
        ("12345", None),
        ("B000FC1PJI", None),
    ],
)
def test_isbn(text: str, code: str | None) -> None:
    assert isbn(text) == code


@given(st.from_regex(r"\d{9}", fullmatch=True))
def test_one_of_eleven_endings_makes_an_isbn(first: str) -> None:
    assert sum(isbn(first + end) is not None for end in "0123456789X") == 1


def test_other_schemes() -> None:
    assert [imdb_id(text) for text in ("tt0114709", "114709", "nm0000001")] == ["tt0114709", "tt0114709", None]
    assert [tmdb_id(text) for text in ("862", "0", "tt862")] == ["862", None, None]
    assert [asin(text) for text in (" b000fc1pji ", "B000")] == ["B000FC1PJI", None]


def test_the_asin_of_a_book_is_its_isbn() -> None:
    found = identifiers([("asin", "0306406152"), ("asin", "B000FC1PJI"), ("imdb_id", None), ("tmdb_id", "none")])
    assert found == {"asin": {"0306406152", "B000FC1PJI"}, "isbn": {"9780306406157"}}


def test_a_catalogue_keyed_by_isbn_is_recognised() -> None:
    assert are_isbns(["0306406152", "080442957X", "B000FC1PJI"])
    assert not are_isbns(["1", "2", "0306406152"])
    assert not are_isbns([])
