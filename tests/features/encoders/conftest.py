"""What the tests of both CLIP families encode, and how."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.features.encoders import open_encoder


@pytest.fixture
def sentences() -> list[str]:
    return ["Toy Story. A cowboy doll is profoundly threatened.", "Tom Hanks", "x", "long words " * 200, "café — naïve"]


@pytest.fixture
def pictures() -> list[bytes]:
    out = []
    for seed, (mode, kind) in enumerate([("RGB", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("P", "GIF")]):
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((90, 130), Image.Resampling.BILINEAR).convert(mode).save(stream, kind)
        out.append(stream.getvalue())
    return out


def encode_alone(name: str, modality: Any, contents: list[Any]) -> torch.Tensor:
    """Vectors of ``contents``, each encoded in a batch of its own."""
    encoder = open_encoder(name, modality, "cpu", batch_size=4)
    rows = []
    for content in contents:
        rows.append(encoder.encode(encoder.collate([content], encoder.padded_length(content))).vectors[0])
    return torch.stack(rows)


@pytest.fixture
def alone() -> Callable[[str, Any, list[Any]], torch.Tensor]:
    return encode_alone
