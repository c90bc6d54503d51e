"""The middle of a picture, scaled: what nearly every image model wants, in one resampling.

Published preprocessings scale the shorter side to a length and then crop. :class:`Middle` computes the crop in the
picture's own coordinates and resamples only that (Pillow's ``box``; the filter still sees the pixels around it), columns
first and rows after them. Pillow rounds between the two, so their order shows, by up to some 20 levels at an edge; models
were trained on columns first, while Pillow 13 chooses by the sizes. Against scaling and then cropping in this order a
value differs by at most one of 255 levels (two where a picture is enlarged), in real posters one value in ten thousand:
the box is held in float32. Pixels stay bytes until they are on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def half_to_even(excess: int) -> int:
    """Where torchvision and open_clip begin the crop, of ``excess`` pixels that are cut off in all."""
    return round(excess / 2)


def half_down(excess: int) -> int:
    """Where TensorFlow's and transformers' processors begin it."""
    return excess // 2


#: pixels of the scaled picture that a filter reaches to either side
_SUPPORT = {Image.Resampling.BILINEAR: 1.0, Image.Resampling.BICUBIC: 2.0, Image.Resampling.LANCZOS: 3.0}


@dataclass(frozen=True)
class Middle:
    """RGB picture -> the middle of it as bytes; and bytes -> what the model takes.

    :param side: what the shorter side is scaled to, at least the longer side of ``size``; None: the whole picture is
        squeezed to ``size``
    :param size: height and width of the result
    :param mean: by channel, of the values over ``unit``, taken off them
    :param std: by channel; they are divided by it then
    :param unit: 255 where mean and std are those of values between 0 and 1
    :param length: how the scaled longer side becomes an integer
    :param offset: see :func:`half_to_even`
    """

    side: int | None
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: Image.Resampling = Image.Resampling.BICUBIC
    unit: float = 255.0
    length: Callable[[float], int] = int
    offset: Callable[[int], int] = half_to_even

    def __post_init__(self) -> None:
        if self.side is not None and self.side < max(self.size):
            raise ValueError(f"a side of {self.side} holds no {self.size[0]} x {self.size[1]}")

    @property
    def shorter(self) -> int:
        """What the picture's shorter side is scaled to, for choosing the size it is decoded at."""
        return self.side or max(self.size)

    def __call__(self, image: Image.Image) -> Tensor:
        """The middle of an RGB picture. shape: (3, height, width), uint8"""
        height, width = self.size
        left, top, right, bottom = self.box(*image.size)
        reach = _SUPPORT[self.resample] * max(1.0, (bottom - top) / height) + 1
        first, last = max(0, int(top - reach)), min(image.height, int(bottom + reach) + 1)
        columns = image.crop((0, first, image.width, last))
        columns = columns.resize((width, last - first), self.resample, (left, 0, right, last - first))
        both = columns.resize((width, height), self.resample, (0, top - first, width, bottom - first))
        return torch.from_numpy(np.array(both)).permute(2, 0, 1)

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """What of a picture of ``width`` x ``height`` is kept: left, top, right, bottom in its pixels."""
        if self.side is None:
            return 0.0, 0.0, float(width), float(height)
        shorter = min(width, height)
        edges = []
        for original, kept in ((width, self.size[1]), (height, self.size[0])):
            scaled = self.side if original == shorter else max(self.side, self.length(self.side * original / shorter))
            begin = self.offset(scaled - kept)
            edges.append((begin * original / scaled, min((begin + kept) * original / scaled, original)))
        (left, right), (top, bottom) = edges
        return left, top, right, bottom

    def normalise(self, pixels: Tensor) -> Tensor:
        """:param pixels: shape: (B, 3, height, width), uint8
        :return: shape: the same, float32"""
        mean, std = (pixels.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (self.mean, self.std))
        values = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        return values.div_(self.unit).sub_(mean).div_(std)

    def description(self) -> dict[str, Any]:
        """For a fingerprint, as JSON values."""
        return {
            "side": self.side, "size": list(self.size), "mean": list(self.mean), "std": list(self.std),
            "unit": self.unit, "filter": self.resample.name.lower(), "length": self.length.__name__,
            "offset": self.offset.__name__, "draft": 2, "resampled": "once",
        }  # fmt: skip
