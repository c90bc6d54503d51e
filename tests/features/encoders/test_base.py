from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.features.encoders import Encoder, base, open_encoder
from kgrec.features.encoders.base import EQUAL_COSINE, hash_weights, probe_pictures
from kgrec.media.images import open_rgb


def test_the_hash_of_weights_sees_values_names_and_buffers() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    first = hash_weights(model)
    assert hash_weights(model) == first
    model[1].running_mean += 1
    second = hash_weights(model)
    with torch.no_grad():
        model[0].weight[0, 0] += 1e-7
    assert len({first, second, hash_weights(model)}) == 3


def probed(encoder: Encoder) -> torch.Tensor:
    contents = encoder.probe()[:4]
    return encoder.encode(encoder.collate(contents, max(map(encoder.padded_length, contents)))).vectors[:4]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_bfloat16_rounds_weights_and_inputs_but_not_the_vectors_length(modality: str, tiny: Any) -> None:
    exact, rounded = (
        open_encoder(tiny.open_clip, modality, "cpu", 4, precision)  # type: ignore[arg-type]
        for precision in ("float32", "bfloat16")
    )
    assert {parameter.dtype for parameter in rounded.model.parameters()} == {torch.bfloat16}
    ours, theirs = probed(rounded), probed(exact)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(4))
    cosine = (ours.double() * theirs.double()).sum(1)
    assert 0.999 < cosine.min() < 1 - 1e-8
    assert exact.fingerprint != rounded.fingerprint
    assert (exact.description["precision"], rounded.description["precision"]) == ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("instructions", "cosine", "settled"),
    [
        (True, EQUAL_COSINE, "bfloat16"), (True, EQUAL_COSINE - 1e-6, "float32"),
        (False, 1.0, "float32"), (True, None, "float32"),
    ],
)  # fmt: skip
def test_auto_takes_bfloat16_where_it_is_fast_and_gives_the_same(
    instructions: bool, cosine: float | None, settled: str, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "has_bfloat16", lambda: instructions)
    monkeypatch.setattr(Encoder, "bfloat16_cosine", lambda self: cosine)
    encoder = open_encoder(tiny.open_clip, "image", "cpu", precision="auto")
    assert encoder.precision == settled
    asked = open_encoder(tiny.open_clip, "image", "cpu", precision=settled)  # type: ignore[arg-type]
    assert encoder.fingerprint == asked.fingerprint


def test_comparing_precisions_leaves_the_encoder_as_it_was(tiny: Any) -> None:
    encoder = open_encoder(tiny.open_clip, "image", "cpu", 4)
    before, weights = probed(encoder), hash_weights(encoder.model)
    cosine = encoder.bfloat16_cosine()
    assert cosine is not None
    rounded = probed(open_encoder(tiny.open_clip, "image", "cpu", 4, "bfloat16"))
    expected = torch.nn.functional.cosine_similarity(before.double(), rounded.double()).min()
    assert cosine == pytest.approx(float(expected), abs=1e-9)
    assert hash_weights(encoder.model) == weights
    assert torch.equal(probed(encoder), before)


def test_the_probe_is_always_the_same() -> None:
    assert probe_pictures.__wrapped__() == probe_pictures()
    assert len(set(probe_pictures())) == 8
    assert open_rgb(probe_pictures()[3]).size == (300, 444)


def test_draft_decoding_of_a_large_jpeg_keeps_the_vector() -> None:
    """A JPEG of 1500 x 2220 pixels is decoded at half its size, 750 x 1110, for a side of 256."""
    encoder = open_encoder("efficientnet-lite0", "image", "cpu", batch_size=1)
    for seed in range(2):
        blocks = np.random.default_rng(seed).integers(0, 256, (36, 24, 3), dtype=np.uint8)
        drawn = Image.fromarray(blocks).resize((1500, 2220), Image.Resampling.BICUBIC)
        jpeg, bitmap = io.BytesIO(), io.BytesIO()
        drawn.save(jpeg, "JPEG", quality=90)
        assert open_rgb(jpeg.getvalue(), encoder.side).size == (750, 1110)  # type: ignore[attr-defined]
        open_rgb(jpeg.getvalue()).save(bitmap, "BMP")
        small, whole = (
            encoder.encode(encoder.collate([file.getvalue()], 0)).vectors.double() for file in (jpeg, bitmap)
        )
        assert torch.nn.functional.cosine_similarity(small, whole) > 0.9995
