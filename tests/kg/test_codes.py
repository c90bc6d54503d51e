from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.kg.codes import ALPHABET, decode, encode

letters = st.text(alphabet=ALPHABET.decode())
mids = st.builds("{}.{}".format, st.sampled_from("mg"), letters.filter(bool))
ids = st.one_of(mids, st.builds("Q{}".format, st.integers(0, 10**19)), st.text(max_size=40))


def back(codes: np.ndarray) -> list[str]:
    offsets, text = decode(codes)
    return [bytes(text[a:b]).decode() for a, b in pairwise(offsets)]


@settings(deadline=None)
@given(st.lists(ids))
def test_a_code_that_is_not_negative_turns_back_into_its_id(given_ids: list[str]) -> None:
    codes = encode(given_ids)
    for text, code, found in zip(given_ids, codes, back(codes), strict=True):
        assert found == (text if code >= 0 else "")


@settings(deadline=None)
@given(st.sets(ids, max_size=50))
def test_different_ids_have_different_codes(given_ids: set[str]) -> None:
    assert len(set(encode(sorted(given_ids)).tolist())) == len(given_ids)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("m.0dyb1", True), ("m." + "z" * 8, True), ("m." + "_" * 9, True), ("m." + "_" * 12, True), ("m." + "0" * 13, False),
        ("g.11b7fv4k6q", True), ("g." + "_" * 11, True), ("g." + "_" * 12, False), ("m.", False), ("m.É", False), ("m.A", False),
        ("Q42", True), ("Q" + "9" * 17, True), ("Q" + "1" * 18, False), ("Q042", False), ("Q0", False), ("Q", False), ("", False),
        ("x.0dyb1", False), ("film.film", False), ("m/0dyb1", False),
    ],
)  # fmt: skip
def test_which_ids_are_numbers(text: str, fits: bool) -> None:
    assert (encode([text])[0] >= 0) == fits


def test_short_ids_sort_as_their_texts() -> None:
    some = sorted(["m.0", "m.01", "m.0dyb1", "m.0dyb2", "m.1", "m.zzzzzzzz", "m._"])
    assert np.all(np.diff(encode(some)) > 0)


def test_codes_do_not_change_between_versions() -> None:
    """Stores on disk hold them."""
    assert (
        encode(["m.0dyb1", "g.1213ts_l", "g.11b7fv4k6q", "m.0zfdb00d6d80", "Q42", "http://example.org/é"]).tolist()
        == GOLDEN
    )


GOLDEN = [
    27465586353111040, 99863741643681772, 7100268109316593628, 641386739731499134, 7400000000000000042, -7726127397458060243,
]  # fmt: skip
