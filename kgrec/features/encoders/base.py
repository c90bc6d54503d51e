"""An encoder turns one content (a picture, a text, a clip) into one vector, the same vector whatever else is encoded
beside it.

Floating-point sums depend on the shape of a batch, so shapes are fixed: every batch has ``batch_size`` rows (a short
one is filled by repeating its first row) and texts are padded to one of a few lengths that depend on the text alone.
Shapes: B rows of a batch, T tokens of a content.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor, nn

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import sentences
from kgrec.media.images import open_rgb

#: "image", "text", "audio", "video"
Modality = str

Precision = Literal["float32", "bfloat16", "auto"]

#: smallest cosine, over the probe, between a vector and its bfloat16 twin at which ``auto`` takes bfloat16
EQUAL_COSINE = 0.9999


@dataclass(frozen=True)
class Encoded:
    """What a batch became, on the CPU."""

    vectors: Tensor
    """shape: (B, width), float32"""
    tokens: Tensor | None = None
    """shape: (B, T, token_width), float32; None unless asked for"""
    token_mask: Tensor | None = None
    """shape: (B, T), bool; which tokens are the content's, not padding"""


class Encoder(ABC):
    """One pretrained model with its own preprocessing.

    :param name: as it stands in the settings
    :param model: in evaluation mode, on ``device``, float32
    :param batch_size: rows of every batch; None leaves the choice to the encoder
    :param precision: ``bfloat16`` runs a CPU model with bfloat16 weights and inputs (autocast is slower there than
        float32) and a GPU model under autocast; ``auto`` is settled by :meth:`settle`
    """

    modality: ClassVar[Modality]

    def __init__(
        self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        self.name, self.device, self.precision = name, device, precision
        self.model = model.eval().requires_grad_(False)
        self.batch_size = batch_size or self._usual_batch_size()
        if precision == "bfloat16":
            self._to_bfloat16()

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of a vector."""

    @property
    def token_width(self) -> int | None:
        """Length of a token's vector; None: the encoder has none."""
        return None

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

        :param contents: at most ``batch_size`` files (bytes: pictures, clips) or texts (str)
        :param length: their common :meth:`padded_length`
        :return: tensors of ``batch_size`` rows
        :raises ValueError: if a content cannot be preprocessed
        """

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Vectors of a batch that :meth:`prepare` put on the device. shape: (B, width)"""

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors, tokens and mask of a batch. shapes: (B, width), (B, T, token_width), (B, T) bool

        :raises EncoderUnavailable: if the encoder has no token outputs
        """
        raise EncoderUnavailable(f"encoder {self.name!r} has no token outputs; leave {self.modality} out of `tokens`")

    def cut(self, content: Any) -> int:
        """How many tokens of ``content`` are left out because it is too long; 0 for all but texts."""
        return 0

    def probe(self) -> Sequence[Any]:
        """A few contents, always the same, on which ``auto`` compares precisions; none: it stays with float32."""
        return ()

    def prepare(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A collated batch on the device, as :meth:`forward` wants it."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        if self.precision == "bfloat16" and self.device.type == "cpu":
            return {name: t.bfloat16() if t.is_floating_point() else t for name, t in moved.items()}
        return moved

    @torch.inference_mode()
    def begin(self, batch: dict[str, Tensor], tokens: bool = False) -> Callable[[], Encoded]:
        """Start on a batch; the function returned waits for what it became.

        On a GPU the work and the copy back are queued, so that the next batch can be begun meanwhile; a CPU is done
        when this returns.

        :param batch: from :meth:`collate`; in pinned memory it is copied while the GPU computes
        :param tokens: whether :meth:`forward_tokens` is wanted
        """
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocasts)
        with autocast:
            ready = self.prepare(batch)
            results = self.forward_tokens(ready) if tokens else (self.forward(ready),)
        results = tuple(result if result.dtype == torch.bool else result.float() for result in results)
        if self.device.type != "cuda":
            return lambda: Encoded(*results)
        stream = torch.cuda.current_stream(self.device)
        with torch.cuda.device(self.device):
            copies = [torch.empty(r.shape, dtype=r.dtype, pin_memory=True).copy_(r, non_blocking=True) for r in results]
            done = stream.record_event()

        def wait() -> Encoded:
            done.synchronize()
            return Encoded(*copies)

        return wait

    def encode(self, batch: dict[str, Tensor], tokens: bool = False) -> Encoded:
        """What a collated batch becomes. See :meth:`begin`."""
        return self.begin(batch, tokens)()

    def settle(self) -> None:
        """Replace precision ``auto`` by bfloat16 where it gives the same vectors faster, else float32.

        Faster: on a GPU, and on a CPU with bfloat16 instructions. The same: on the CPU, cosine to the float32 vector at
        least ``EQUAL_COSINE`` for each content of :meth:`probe`.
        """
        if self.precision != "auto":
            return
        self.precision = "float32"
        if self.device.type != "cpu":
            self.precision = "bfloat16"
        elif has_bfloat16() and (cosine := self.bfloat16_cosine()) is not None and cosine >= EQUAL_COSINE:
            self._to_bfloat16()

    def bfloat16_cosine(self) -> float | None:
        """Smallest cosine over the probe between the vectors of a float32 encoder and of its bfloat16 twin."""
        contents = self.probe()[: self.batch_size]
        if not contents:
            return None
        batch = self.collate(contents, max(self.padded_length(content) for content in contents))
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin._to_bfloat16()
        exact, rounded = (one.encode(batch).vectors[: len(contents)].double() for one in (self, twin))
        return float(nn.functional.cosine_similarity(exact, rounded).min())

    def _to_bfloat16(self) -> None:
        self.precision = "bfloat16"
        if self.device.type == "cpu":
            self.model = self.model.bfloat16()

    @property
    def _autocasts(self) -> bool:
        return self.precision == "bfloat16" and self.device.type != "cpu"

    def _usual_batch_size(self) -> int:
        if self.device.type == "cpu":
            return 8 if self.modality == "image" else 16  # activations stay in the processor's cache
        return 128

    @cached_property
    def description(self) -> dict[str, Any]:
        """Everything a vector depends on besides the content, as JSON values."""
        self.settle()
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "encoder": self.name, "modality": self.modality, "width": self.width, "weights": hash_weights(self.model),
            "preprocessing": self.preprocessing(), "libraries": {"torch": torch.__version__} | self.libraries(),
            "device": device, "batch_size": self.batch_size, "precision": self.precision,
        }  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of :attr:`description`."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()


class Measured(Encoder):
    """Base of encoders that learn both widths from one forward pass, when they are opened."""

    _width: int
    _token_width: int

    @property
    def width(self) -> int:
        return self._width

    @property
    def token_width(self) -> int:
        return self._token_width


class ImageEncoder(Encoder):
    """Base of image encoders: decodes, transforms each picture, stacks.

    :param transform: RGB picture -> tensor (3, height, width), float32, or uint8 with ``normalise``
    :param side: shorter side, in pixels, that ``transform`` scales to
    :param normalise: uint8 (B, 3, height, width) -> float32 of that shape; runs on the device
    """

    modality: ClassVar[Modality] = "image"

    def __init__(
        self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None,
        precision: Precision = "float32", *, transform: Callable[[Image.Image], Tensor], side: int,
        normalise: Callable[[Tensor], Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, model, device, batch_size, precision)
        self.transform, self.side, self.normalise = transform, side, normalise

    def padded_length(self, content: bytes) -> int:
        return 0

    def collate(self, contents: Sequence[bytes], length: int) -> dict[str, Tensor]:
        rows = [self.transform(open_rgb(content, self.side)) for content in contents]
        return {"pixels": torch.stack(rows + rows[:1] * (self.batch_size - len(rows)))}

    def prepare(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        pixels = batch["pixels"].to(self.device, non_blocking=True)
        return super().prepare(batch | {"pixels": self.normalise(pixels) if self.normalise else pixels})

    def probe(self) -> Sequence[bytes]:
        return probe_pictures()

    def libraries(self) -> dict[str, str]:
        return {"pillow": PIL.__version__}


class TextEncoder(Encoder):
    """Base of text encoders: cuts what is too long, tokenises, pads to one of ``lengths``.

    :param tokenise: text -> token ids with the special ones, cut to ``lengths[-1]``
    :param lengths: rising padded lengths, in tokens
    :param tokeniser_hash: what names the tokeniser's vocabulary and rules
    :param count: text -> number of its token ids, special ones too, if nothing were cut; with it, over-long texts are
        cut at the end of a sentence, else at a token
    """

    modality: ClassVar[Modality] = "text"

    def __init__(
        self, name: str, model: nn.Module, device: torch.device, batch_size: int | None = None,
        precision: Precision = "float32", *, tokenise: Callable[[str], list[int]], lengths: Sequence[int], pad: int,
        tokeniser_hash: str, count: Callable[[str], int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, model, device, batch_size, precision)
        self.lengths, self.pad, self.tokeniser_hash, self.count = tuple(lengths), pad, tokeniser_hash, count
        self._tokenise_cut = tokenise
        # remembered, because a text is asked for its length, for what is cut and for its ids, one after another
        self._tokenised = lru_cache(4096)(self._tokenise_whole_sentences)

    def tokenise(self, content: str) -> list[int]:
        """Token ids with the special ones, at most ``lengths[-1]``."""
        return self._tokenised(content)[0]

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

    def cut(self, content: str) -> int:
        return self._tokenised(content)[1]

    def _tokenise_whole_sentences(self, text: str) -> tuple[list[int], int]:
        """Token ids, and how many are left out."""
        ids = self._tokenise_cut(text)
        if self.count is None or len(ids) < self.lengths[-1]:  # it cannot be too long, and need not be counted
            return ids, 0
        kept, left_out = sentences.fit(text, self.count, self.lengths[-1])
        return (ids if kept == text else self._tokenise_cut(kept)), left_out

    def probe(self) -> Sequence[str]:
        return PROBE_TEXTS

    def preprocessing(self) -> dict[str, Any]:
        cut = sentences.rule() if self.count else {}
        return {"tokeniser": self.tokeniser_hash, "lengths": list(self.lengths), "pad": self.pad} | cut


PROBE_TEXTS = (
    "Toy Story", "Tom Hanks", "A cowboy doll is profoundly threatened when a new spaceman figure supplants him.",
    "In a dark future a detective hunts machines that look like people, and begins to doubt what he is.",
    "Comedy, romance", "Two friends drive across the country to deliver a letter nobody wants to read.",
    "Ein Dorf am Meer wartet auf ein Schiff.", "A documentary about the people who count birds.",
)  # fmt: skip


@cache
def probe_pictures() -> tuple[bytes, ...]:
    """Eight BMP files of 300 x 444 pixels: coarse blocks of colour, scaled up smoothly."""
    pictures = []
    for seed in range(8):
        blocks = np.random.default_rng(seed).integers(0, 256, (4 + 2 * seed, 3 + 2 * seed, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((300, 444), Image.Resampling.BICUBIC).save(stream, "BMP")
        pictures.append(stream.getvalue())
    return tuple(pictures)


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)


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
    "'open_clip:<model>/<tag>' or 'transformers:<owner>/<model>' (both) and 'timm:<model>' (image), which load from the "
    "Hugging Face hub; 'open_clip:<model>@<file>', 'open_clip:<model>/<tag>@<file>', 'open_clip:<folder>' or "
    "'transformers:<folder>', from local files; 'mel-cnn@<file>' (audio), 'video-cnn@<file>' and 'frames:<image encoder>' (video)"
)
