"""A clip is encoded part by part (windows of a sound, stretches or frames of a video), and its vector is the mean over
the parts.

Parts are of one shape and go through the model one from each clip at a time, so that a vector does not depend on how
many parts its neighbours have. The parts' own vectors are the encoder's tokens. Shapes: B clips, P parts.
"""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from importlib.metadata import version

import torch
from torch import Tensor, nn

from kgrec.features.encoders.base import Encoder, unavailable


class PartsEncoder(Encoder):
    """Base of audio and video encoders."""

    @abstractmethod
    def parts(self, content: bytes) -> dict[str, Tensor]:
        """What the model takes, for each part of a clip. shapes: (P, …)

        :raises ValueError: if the clip cannot be decoded
        """

    @abstractmethod
    def forward_part(self, batch: dict[str, Tensor]) -> Tensor:
        """Vectors of one part of each clip. shapes: (B, …) -> (B, width)"""

    def _usual_batch_size(self) -> int:
        return usual_batch_size(self.device)

    def padded_length(self, content: bytes) -> int:
        return 0

    def collate(self, contents: Sequence[bytes], length: int) -> dict[str, Tensor]:
        rows = [self.parts(content) for content in contents]
        rows += rows[:1] * (self.batch_size - len(rows))
        batch = {name: nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True) for name in rows[0]}
        return batch | {"count": torch.tensor([len(next(iter(row.values()))) for row in rows])}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.forward_tokens(batch)[0]

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        count_B = batch["count"]
        inputs = {name: tensor for name, tensor in batch.items() if name != "count"}
        length = next(iter(inputs.values())).shape[1]
        mask_BP = torch.arange(length, device=count_B.device) < count_B[:, None]
        vectors = [
            self.forward_part({name: tensor[:, part].contiguous() for name, tensor in inputs.items()}).float()
            for part in range(length)
        ]
        total = torch.zeros_like(vectors[0])
        for part, vector in enumerate(vectors):  # one after another: the order of a sum must not depend on its length
            total += torch.where(mask_BP[:, part, None], vector, 0.0)
        return total / count_B[:, None], torch.stack(vectors, dim=1), mask_BP

    @property
    def token_width(self) -> int:
        return self.width

    def libraries(self) -> dict[str, str]:
        import av

        return {"av": version("av")} | {
            name: ".".join(map(str, number)) for name, number in av.library_versions.items() if name in _DECIDING
        }


_NEEDED = ("av", "librosa")
#: FFmpeg's libraries that take part in decoding
_DECIDING = ("libavcodec", "libavformat", "libswresample", "libswscale")


def usual_batch_size(device: torch.device) -> int:
    """Clips per batch; fewer than pictures, because each has many parts."""
    return 8 if device.type == "cpu" else 32


def missing_packages() -> str:
    """Why audio and video encoders cannot be had here; empty if they can."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed; pip install 'kgrec[clips]'" if missing else ""


def check_packages(name: str) -> None:
    """:raises EncoderUnavailable: if a package of the extra ``clips`` is missing"""
    if reason := missing_packages():
        raise unavailable(name, reason)
