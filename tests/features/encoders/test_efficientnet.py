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
    assert -1 <= batch["pixels"].min() <= batch["pixels"].max() <= 1.01
    vectors = encoder.encode(batch).vectors
    assert vectors.shape == (8, encoder.width) == (8, 1280)
    with torch.inference_mode():
        logits = encoder.model(batch["pixels"])
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
    values = efficientnet._transform(Image.fromarray(pixels))
    assert values.shape == (3, 224, 224)
    assert values.unique().tolist() == [127 / 128]


def test_without_its_package_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "_PACKAGES", {"no_such_module": "no-such-package"})
    with pytest.raises(EncoderUnavailable, match=r"'efficientnet-lite0' cannot be had: .*pip install no-such-package"):
        open_encoder("efficientnet-lite0", "image", "cpu")
