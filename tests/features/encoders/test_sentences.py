from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kgrec.features.encoders import minilm
from kgrec.features.encoders.sentences import fit, rule
from kgrec.features.torchvision_compat import prepare_torchvision


def words(text: str) -> int:
    return len(text.split())


def test_the_longest_run_of_whole_sentences_is_kept() -> None:
    text = "One two three. Four five!  Six seven eight nine? Ten."
    assert [fit(text, words, limit) for limit in (10, 9, 8, 5, 4, 3)] == [
        (text, 0),
        ("One two three. Four five!  Six seven eight nine?", 1),
        ("One two three. Four five!", 5),
        ("One two three. Four five!", 5),
        ("One two three.", 7),
        ("One two three.", 7),
    ]


def test_a_first_sentence_that_is_too_long_is_left_to_the_tokeniser() -> None:
    assert fit("  One two three four. Five.", words, 3) == ("  One two three four. Five.", 2)


@pytest.mark.parametrize(
    ("lang", "kept"),
    [
        ("en", "Mr. J. Smith saw it."),
        (None, "Mr. J. Smith saw it."),
        ("no such language", "Mr. J. Smith saw it."),
    ],
)
def test_an_abbreviation_ends_no_sentence(lang: str | None, kept: str) -> None:
    assert fit("Mr. J. Smith saw it. He was not amused.", words, 6, lang) == (kept, 4)


def test_the_language_decides_what_an_abbreviation_is() -> None:
    text = "Er kam am 3. Mai nach Hause. Dann schlief er."
    assert fit(text, words, 8, "de") == ("Er kam am 3. Mai nach Hause.", 3)
    text = "他走了。她笑了。他们又见面了。"
    assert fit(text, len, 9, "zh") == ("他走了。她笑了。", 7)


@given(
    st.lists(st.sampled_from(["a", "Bee cee", "Dr. X", "é😀", "U.S.", "x\n\ny", " ", "3."]), max_size=30),
    st.integers(1, 20),
)
def test_what_is_kept_fits_and_begins_the_text(parts: list[str], limit: int) -> None:
    text = ". ".join(parts)
    kept, left_out = fit(text, words, limit)
    assert text.startswith(kept)
    assert left_out == max(0, words(text) - (limit if kept == text else words(kept)))
    assert kept == text or words(kept) <= limit
    assert bool(kept) == bool(text)


def test_a_text_is_tokenised_few_times() -> None:
    calls: list[str] = []

    def count(text: str) -> int:
        calls.append(text)
        return words(text)

    fit("It fits.", count, 9)
    assert len(calls) == 1
    calls.clear()
    kept, _ = fit("A sentence of five words. " * 1000, count, 77)
    assert kept == " ".join(["A sentence of five words."] * 15)
    assert len(calls) <= 13


def test_the_rule_names_the_version_that_decides() -> None:
    assert set(rule()) == {"cut", "sentencex"}


def minilm_count() -> Callable[[str], int]:
    tokenizer = Tokenizer.from_file(str(minilm._folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


def clip_count() -> Callable[[str], int]:
    prepare_torchvision()
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    return lambda text: len(tokenizer.encode(text)) + 2


@pytest.mark.parametrize(
    ("counter", "limit", "too_long", "first_too_long"), [(minilm_count, 256, 198, 0), (clip_count, 77, 2573, 27)]
)
def test_real_plots_end_at_a_sentence(
    real_data: Path, counter: Callable[[], Callable[[str], int]], limit: int, too_long: int, first_too_long: int
) -> None:
    with gzip.open(real_data / "imdb-ml-1m/movies_extrainfos.dat.gz", "rt", encoding="utf-8") as lines:
        plots = {" ".join(line.split("::")[9].split()) for line in lines if line.count("::") == 10}
    count = cache(counter())
    cut = {plot: fit(plot, count, limit) for plot in plots if count(plot) > limit}
    assert len(cut) == too_long
    assert sum(kept == plot for plot, (kept, _) in cut.items()) == first_too_long
    for plot, (kept, left_out) in cut.items():
        if kept != plot:
            assert plot.startswith(kept)
            assert kept[-1] in ".!?:\"')…"
            assert left_out == count(plot) - count(kept)
            assert count(kept) <= limit
