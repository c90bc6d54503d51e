from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.features.encoders.base import decode, hash_weights


def jpeg(size: tuple[int, int], mode: str = "RGB") -> bytes:
    x = np.linspace(0, 255, size[0], dtype=np.uint8)[None, :, None]
    stream = io.BytesIO()
    Image.fromarray(np.broadcast_to(x, (size[1], size[0], 3)).copy()).convert(mode).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def test_a_poster_of_usual_size_is_decoded_as_it_is() -> None:
    image = decode(jpeg((300, 444)), 256)
    assert image.size == (300, 444)
    assert image.mode == "RGB"


def test_a_huge_jpeg_is_decoded_smaller_but_never_below_twice_the_side() -> None:
    image = decode(jpeg((4096, 3000)), 256)
    assert image.size == (1024, 750)
    assert min(image.size) >= 512
    full = Image.open(io.BytesIO(jpeg((4096, 3000)))).convert("RGB").resize(image.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(full, int) - np.asarray(image, int)).max() <= 4


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    assert decode(jpeg((300, 444), mode), 256).mode == "RGB"


def test_what_cannot_be_decoded_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot identify"):
        decode(b"nothing", 256)


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
