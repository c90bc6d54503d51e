from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kgrec.features.encoders.pixels import Middle, half_down, half_to_even
from kgrec.media.images import open_rgb

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP = Middle(224, (224, 224), MEAN, STD)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def resized_then_cropped(image: Image.Image, middle: Middle) -> np.ndarray:
    """As the published preprocessings do it, columns first."""
    assert middle.side is not None
    shorter = min(image.size)
    width, height = (
        middle.side if one == shorter else max(middle.side, middle.length(middle.side * one / shorter))
        for one in image.size
    )
    scaled = image.resize((width, image.height), middle.resample).resize((width, height), middle.resample)
    left, top = middle.offset(width - middle.size[1]), middle.offset(height - middle.size[0])
    return np.asarray(scaled.crop((left, top, left + middle.size[1], top + middle.size[0])), dtype=int)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(20, 500), height=st.integers(20, 500), side=st.sampled_from([32, 48, 64]),
    resample=st.sampled_from([Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS]),
    ways=st.sampled_from([(int, half_to_even), (round, half_down)]),
)  # fmt: skip
def test_one_resampling_is_scaling_and_cropping_to_a_level(
    width: int, height: int, side: int, resample: Image.Resampling, ways: tuple[Any, Any]
) -> None:
    middle = Middle(side, (32, 32), MEAN, STD, resample, length=ways[0], offset=ways[1])
    image = noise(width, height)
    found = middle(image).permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(found - resized_then_cropped(image, middle))
    assert difference.max() <= (1 if min(image.size) >= side else 2)
    assert (difference > 0).mean() < 0.1  # many where bilinear sums end in a half exactly


def test_torchvision_and_open_clip_agree() -> None:
    from kgrec.features.torchvision_compat import prepare_torchvision

    prepare_torchvision()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(mean=MEAN, std=STD), is_train=False)
    for size in ((300, 444), (444, 300), (300, 445), (224, 224), (225, 226), (150, 170)):
        image = noise(*size)
        found = CLIP.normalise(CLIP(image)[None])[0]
        levels = (found - transform(image)).abs() * torch.tensor(STD).view(3, 1, 1) * 255
        assert levels.max() < 1.001, size
        assert levels.mean() < 0.002, size


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    image = noise(224, 224)
    assert np.array_equal(CLIP(image).permute(1, 2, 0).numpy(), np.asarray(image))
    values = CLIP.normalise(CLIP(image)[None])
    assert values.dtype == torch.float32
    expected = (np.asarray(image)[5, 7] / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(values[0, :, 5, 7], expected, rtol=1e-6)


def test_a_whole_picture_is_squeezed() -> None:
    image = noise(300, 200)
    middle = Middle(None, (64, 48), MEAN, STD)
    assert middle.shorter == 64
    expected = image.resize((48, 200), Image.Resampling.BICUBIC).resize((48, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(middle(image).permute(1, 2, 0).numpy(), np.asarray(expected))


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="a side of 224 holds no 256 x 256"):
        Middle(224, (256, 256), MEAN, STD)


def test_real_posters_differ_from_the_checkpoints_own_preprocessing_by_a_level_at_most(real_data: Path) -> None:
    """Mean difference in levels of 255 and its worst, over every 40th poster."""
    from kgrec.features.torchvision_compat import prepare_torchvision

    prepare_torchvision()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(mean=MEAN, std=STD), is_train=False)
    means = []
    for poster in sorted((real_data / "ml-1m" / "posters").glob("*.jpg"))[::40]:
        image = open_rgb(poster.read_bytes())
        found = CLIP.normalise(CLIP(image)[None])[0]
        levels = (found - transform(image)).abs() * torch.tensor(STD).view(3, 1, 1) * 255
        assert levels.max() < 1.001, poster.name
        means.append(float(levels.mean()))
    assert np.mean(means) < 0.001
