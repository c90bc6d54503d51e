import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.kg.literals import unescape


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ('"Alien"@en', "Alien"),
        ('"say \\"no\\"\\tto\\\\ it"@en', 'say "no"\tto\\ it'),
        ('"caf\\u00e9 \\U0001F3AC"@en', "café 🎬"),
        ('"\\uD83C\\uDFAC"', "🎬"),
        ('"1979"^^<http://www.w3.org/2001/XMLSchema#gYear>', "1979"),
    ],
)
def test_escapes(literal: str, text: str) -> None:
    assert unescape(literal) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaping_round_trips(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    assert unescape(f'"{escaped}"@en') == text
