from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import efficientnet, open_encoder


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((300, 444), Image.Resampling.BILINEAR).save(stream, "JPEG")
    return stream.getvalue()


def test_the_vector_is_the_pooled_map_the_classifier_reads() -> None:
    encoder = open_encoder("efficientnet-lite0", "image", "cpu")
    batch = encoder.collate([picture(0), picture(1)], 0)
    assert batch["pixels"].shape == (8, 3, 224, 224)
    pixels = encoder.prepare(batch)["pixels"]
    assert -1 <= pixels.min() <= pixels.max() <= 1.01
    vectors = encoder.encode(batch).vectors
    assert vectors.shape == (8, encoder.width) == (8, 1280)
    with torch.inference_mode():
        logits = encoder.model(pixels)
        torch.testing.assert_close(encoder.model._fc(vectors), logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(vectors[2:], vectors[:1].expand(6, -1))  # a short batch repeats its first row


def test_a_vector_does_not_depend_on_its_neighbours_or_its_place() -> None:
    encoder = open_encoder("efficientnet-lite0", "image", "cpu")
    contents = [picture(i) for i in range(8)]
    together = encoder.encode(encoder.collate(contents, 0)).vectors
    assert torch.equal(encoder.encode(encoder.collate(contents[::-1], 0)).vectors.flip(0), together)
    assert torch.equal(encoder.encode(encoder.collate(contents[5:6], 0)).vectors[0], together[5])


def test_preprocessing_takes_the_middle_of_the_picture() -> None:
    pixels = np.zeros((444, 300, 3), np.uint8)
    pixels[88:356, 16:284] = 254
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    encoder = open_encoder("efficientnet-lite0", "image", "cpu", batch_size=1)
    values = encoder.prepare(encoder.collate([stream.getvalue()], 0))["pixels"]
    assert values.shape == (1, 3, 224, 224)
    assert values.is_contiguous()
    assert values.unique().tolist() == [127 / 128]


def test_tokens_are_places_of_the_map_whose_mean_is_the_vector() -> None:
    encoder = open_encoder("efficientnet-lite0", "image", "cpu", batch_size=2)
    batch = encoder.collate([picture(0), picture(1)], 0)
    encoded = encoder.encode(batch, tokens=True)
    assert encoded.tokens is not None
    assert encoded.token_mask is not None
    assert encoded.tokens.shape == (2, 49, encoder.token_width)
    assert encoded.token_mask.all()
    assert torch.equal(encoded.vectors, encoder.encode(batch).vectors)
    torch.testing.assert_close(encoded.tokens.mean(1), encoded.vectors)
    features = encoder.model.extract_features(encoder.prepare(batch)["pixels"])
    assert torch.equal(encoded.tokens[1, 7 * 2 + 3], features[1, :, 2, 3])  # row 2, column 3


def test_without_its_package_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "_PACKAGES", {"no_such_module": "no-such-package"})
    with pytest.raises(EncoderUnavailable, match=r"'efficientnet-lite0' cannot be had: .*pip install no-such-package"):
        open_encoder("efficientnet-lite0", "image", "cpu")
