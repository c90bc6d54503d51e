"""A video is seen as frames: each through an image encoder, or stretches of frames through a 3D convolution, which also
sees how they move.

* ``frames:<image encoder>`` (``frames:open_clip:ViT-B-32/openai``): the mean of the vectors of :data:`FRAMES` frames,
  evenly spread. It is not scaled to length 1 again, so that its length says how alike the frames are
* ``video-cnn/random-<seed>`` (untrained) and ``video-cnn@<file>``: see
  :mod:`~kgrec.features.encoders.convolutions`; the mean over :data:`STRETCHES` stretches of a second. Channels 8, 16
  and 32: MGNN's video network at the size that fits a processor

Frames are found by their time, exactly, and seen upright with square pixels.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from torch import Tensor

from kgrec.features.encoders.base import Precision
from kgrec.features.encoders.convolutions import load
from kgrec.features.encoders.parts import PartsEncoder, check_packages, missing_packages, usual_batch_size
from kgrec.features.encoders.registry import open_encoder
from kgrec.media.clips import frames

__all__ = ["FrameMean", "VideoCnn", "missing_packages"]

PREFIX = "frames:"
#: frames of a video that an image encoder sees
FRAMES = 8
#: of a video that the 3D network sees: stretches, frames in each, frames a second, and the side of a frame in pixels
STRETCHES, STRETCH_FRAMES, PER_SECOND, SIDE = 4, 8, 8, 112
CHANNELS = (3, 8, 16, 32)


def spread_moments(seconds: float) -> list[float]:
    """The middles of :data:`FRAMES` equal parts of a video, in seconds."""
    return [(part + 0.5) / FRAMES * seconds for part in range(FRAMES)]


def stretch_moments(seconds: float) -> list[float]:
    """:data:`STRETCHES` runs of moments, evenly spread; a video shorter than a stretch stands still at its end."""
    long = STRETCH_FRAMES / PER_SECOND
    moments = []
    for stretch in range(STRETCHES):
        middle = (stretch + 0.5) / STRETCHES * seconds
        start = min(max(0.0, middle - long / 2), max(0.0, seconds - long))
        moments += [start + (frame + 0.5) / PER_SECOND for frame in range(STRETCH_FRAMES)]
    return moments


class FrameMean(PartsEncoder):
    """Mean over frames of an image encoder's vectors; the frames' vectors are its tokens.

    :raises EncoderUnavailable: if the image encoder or the extra ``clips`` cannot be had
    """

    modality = "video"

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        check_packages(name)
        rows = batch_size or usual_batch_size(device)
        self.pictures = open_encoder(name.removeprefix(PREFIX), "image", str(device), rows, precision)
        super().__init__(name, self.pictures.model, device, rows, self.pictures.precision)

    @property
    def width(self) -> int:
        return self.pictures.width

    def parts(self, content: bytes) -> dict[str, Tensor]:
        files = [_as_file(image) for image in frames(content, spread_moments)]
        batches = []
        for start in range(0, FRAMES, self.batch_size):
            some = files[start : start + self.batch_size]
            batch = self.pictures.collate(some, self.pictures.padded_length(some[0]))
            batches.append({key: tensor[: len(some)] for key, tensor in batch.items()})
        return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}

    def prepare(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def forward_part(self, batch: dict[str, Tensor]) -> Tensor:
        return self.pictures.forward(self.pictures.prepare(batch))

    def preprocessing(self) -> dict[str, Any]:
        return {"frames": FRAMES, "moments": "middles", "picture": self.pictures.preprocessing()}

    def libraries(self) -> dict[str, str]:
        return super().libraries() | self.pictures.libraries()


class VideoCnn(PartsEncoder):
    """Mean over stretches of a small 3D network's vectors, 32-d.

    :raises EncoderUnavailable: if the weights or the extra ``clips`` cannot be had
    """

    modality = "video"

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        check_packages(name)
        super().__init__(name, load(name, "video-cnn", CHANNELS, 3).to(device), device, batch_size, precision)

    @property
    def width(self) -> int:
        return CHANNELS[-1]

    def parts(self, content: bytes) -> dict[str, Tensor]:
        pixels = [_pixels(image) for image in frames(content, stretch_moments)]
        stretches = torch.from_numpy(np.stack(pixels)).view(STRETCHES, STRETCH_FRAMES, SIDE, SIDE, 3)
        return {"pixels": stretches.permute(0, 4, 1, 2, 3).contiguous()}

    def forward_part(self, batch: dict[str, Tensor]) -> Tensor:
        """:param batch: ``pixels``, shape: (B, 3, frames, SIDE, SIDE), uint8"""
        pixels = batch["pixels"].to(next(self.model.parameters()).dtype)
        vectors: Tensor = self.model(pixels / 127.5 - 1)
        return vectors

    def preprocessing(self) -> dict[str, Any]:
        return {
            "stretches": STRETCHES, "frames": STRETCH_FRAMES, "per_second": PER_SECOND, "side": SIDE,
            "fit": "crop to a square, bilinear", "scale": "to -1 .. 1",
        }  # fmt: skip

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"pillow": PIL.__version__}


def _pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BILINEAR))


def _as_file(image: Image.Image) -> bytes:
    """A lossless picture file, which is what image encoders take."""
    stream = io.BytesIO()
    image.save(stream, "BMP")
    return stream.getvalue()
