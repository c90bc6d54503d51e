"""An encoder turns a picture or a text into one vector, the same vector whatever else is encoded beside it.

Floating-point sums depend on the shape of a batch, so shapes are fixed: every batch has ``batch_size`` rows (a short
one is filled by repeating its first row) and texts are padded to one of a few lengths that depend on the text alone.
"""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import PIL
import torch
from PIL import Image
from torch import Tensor, nn

from kgrec.errors import EncoderUnavailable

Modality = Literal["image", "text"]


class Encoder(ABC):
    """One pretrained model with its own preprocessing.

    :param name: as it stands in the settings
    :param model: in evaluation mode, on ``device``
    :param batch_size: rows of every batch; None leaves the choice to the encoder
    """

    modality: ClassVar[Modality]

    def __init__(self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None) -> None:
        self.name, self.device = name, device
        self.model = model.eval().requires_grad_(False)
        self.batch_size = batch_size or self._usual_batch_size()

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of a vector."""

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """All that happens to the content before the model sees it, as JSON values."""

    @abstractmethod
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries whose code decides the vector, torch apart."""

    @abstractmethod
    def padded_length(self, content: Any) -> int:
        """What decides the shape of the content's row; contents of one length may share a batch."""

    @abstractmethod
    def collate(self, contents: Sequence[Any], length: int) -> dict[str, Tensor]:
        """Preprocess a batch on the CPU; called in worker threads.

        :param contents: at most ``batch_size`` picture files (bytes) or texts (str)
        :param length: their common :meth:`padded_length`
        :return: tensors of ``batch_size`` rows
        :raises ValueError: if a content cannot be preprocessed
        """

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Vectors of a batch on the encoder's device. shape: (batch_size, width), float32"""

    @torch.inference_mode()
    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Vectors of a batch. shape: (batch_size, width), float32, on the CPU"""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        return self.forward(moved).float().cpu()

    def _usual_batch_size(self) -> int:
        if self.device.type == "cpu":
            return 8 if self.modality == "image" else 16  # activations stay in the processor's cache
        return 128

    @cached_property
    def description(self) -> dict[str, Any]:
        """Everything a vector depends on besides the content, as JSON values."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "encoder": self.name, "modality": self.modality, "width": self.width, "weights": hash_weights(self.model),
            "preprocessing": self.preprocessing(), "libraries": {"torch": torch.__version__} | self.libraries(),
            "device": device, "batch_size": self.batch_size,
        }  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of :attr:`description`."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()


class ImageEncoder(Encoder):
    """Base of image encoders: decodes, transforms each picture, stacks.

    :param transform: RGB picture -> float32 tensor (3, height, width)
    :param side: shorter side, in pixels, that ``transform`` scales to
    """

    modality: ClassVar[Modality] = "image"

    def __init__(
        self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None,
        *, transform: Callable[[Image.Image], Tensor], side: int,
    ) -> None:  # fmt: skip
        super().__init__(name, model, device, batch_size)
        self.transform, self.side = transform, side

    def padded_length(self, content: bytes) -> int:
        return 0

    def collate(self, contents: Sequence[bytes], length: int) -> dict[str, Tensor]:
        rows = [self.transform(decode(content, self.side)) for content in contents]
        return {"pixels": torch.stack(rows + rows[:1] * (self.batch_size - len(rows)))}

    def libraries(self) -> dict[str, str]:
        return {"pillow": PIL.__version__}


class TextEncoder(Encoder):
    """Base of text encoders: tokenises, pads to one of ``lengths``.

    :param tokenise: text -> token ids with the special ones, cut to ``lengths[-1]``
    :param lengths: rising padded lengths, in tokens
    :param tokeniser_hash: what names the tokeniser's vocabulary and rules
    """

    modality: ClassVar[Modality] = "text"

    def __init__(
        self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None,
        *, tokenise: Callable[[str], list[int]], lengths: Sequence[int], pad: int, tokeniser_hash: str,
    ) -> None:  # fmt: skip
        super().__init__(name, model, device, batch_size)
        self.tokenise, self.lengths, self.pad, self.tokeniser_hash = tokenise, tuple(lengths), pad, tokeniser_hash

    def padded_length(self, content: str) -> int:
        needed = len(self.tokenise(content))
        return next(length for length in self.lengths if length >= needed)

    def collate(self, contents: Sequence[str], length: int) -> dict[str, Tensor]:
        rows = [self.tokenise(content) for content in contents]
        rows += rows[:1] * (self.batch_size - len(rows))
        tokens = torch.full((len(rows), length), self.pad, dtype=torch.int64)
        mask = torch.zeros_like(tokens)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return {"tokens": tokens, "mask": mask}

    def preprocessing(self) -> dict[str, Any]:
        return {"tokeniser": self.tokeniser_hash, "lengths": list(self.lengths), "pad": self.pad}


def decode(data: bytes, side: int) -> Image.Image:
    """Decode a picture to RGB. A JPEG whose sides exceed ``4 * side`` is decoded at a half, quarter or eighth of its
    size, never below ``2 * side``, so that scaling it to ``side`` still averages; that is several times faster.

    :raises ValueError: if it cannot be decoded
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (2 * side, 2 * side))
        return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise ValueError(str(error)) from error


def hash_weights(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of all parameters and buffers that a state dict holds."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_json(value: Mapping[str, Any]) -> str:
    """SHA-256 of ``value`` as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def unavailable(name: str, reason: str) -> EncoderUnavailable:
    """The error for an encoder that cannot be had: its name, the reason, and the choices."""
    return EncoderUnavailable(f"encoder {name!r} cannot be had: {reason}. {CHOICES}")


CHOICES = (
    "Choices: 'efficientnet-lite0' (image) and 'all-MiniLM-L6-v2' (text), which come as Python packages; "
    "'open_clip:<model>/<tag>' or 'transformers:<owner>/<model>' (both), which load from the Hugging Face hub; "
    "'open_clip:<model>@<file>', 'open_clip:<model>/<tag>@<file>' or 'transformers:<folder>', from local files"
)
