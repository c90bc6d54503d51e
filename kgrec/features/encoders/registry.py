"""Encoders are named ``<library>:<model>``; the two that come as Python packages go by the model's name alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch

from kgrec.device import find_device
from kgrec.features.encoders import efficientnet, minilm, openclip, transformers_clip
from kgrec.features.encoders.base import Encoder, Modality, unavailable

_Opener = Callable[[str, torch.device, "int | None"], Encoder]
_OPENERS: dict[tuple[str, Modality], _Opener] = {
    (efficientnet.NAME, "image"): efficientnet.EfficientNetLite0,
    (minilm.NAME, "text"): minilm.MiniLM,
    (openclip.PREFIX, "image"): openclip.OpenClipImage,
    (openclip.PREFIX, "text"): openclip.OpenClipText,
    (transformers_clip.PREFIX, "image"): transformers_clip.TransformersClipImage,
    (transformers_clip.PREFIX, "text"): transformers_clip.TransformersClipText,
}


def open_encoder(name: str, modality: Modality, device: str = "auto", batch_size: int | None = None) -> Encoder:
    """Load an encoder with its weights.

    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:<n>``
    :param batch_size: rows per batch; None: 8 pictures or 16 texts on a CPU, 128 on a GPU
    :raises EncoderUnavailable: if it cannot be had; the message names the encoder, the reason and the choices
    """
    family = name.split(":", 1)[0] + ":" if ":" in name else name
    opener = _OPENERS.get((family, modality))
    if opener is None:
        others = [m for f, m in _OPENERS if f == family]
        raise unavailable(name, f"it encodes {others[0]}s, not {modality}s" if others else "no encoder has this name")
    return opener(name, find_device(device), batch_size)


@dataclass(frozen=True)
class EncoderChoice:
    """Whether a family of encoders can be had on this machine. ``note`` says why not, or what it still needs."""

    name: str
    modalities: tuple[Modality, ...]
    available: bool
    note: str


def available_encoders() -> list[EncoderChoice]:
    """What can be had here, found out without loading weights and without the network."""
    choices = []
    packaged: tuple[tuple[ModuleType, Modality], ...] = ((efficientnet, "image"), (minilm, "text"))
    for module, modality in packaged:
        reason = module.missing_packages()
        choices.append(EncoderChoice(module.NAME, (modality,), not reason, reason or "installed as a package"))
    for name, reason, is_there in (
        ("open_clip:ViT-B-32/openai", openclip.missing_packages(), lambda: openclip.is_cached("ViT-B-32", "openai")),
        (
            "transformers:openai/clip-vit-base-patch32",
            transformers_clip.missing_packages(),
            lambda: transformers_clip.is_cached("openai/clip-vit-base-patch32"),
        ),
    ):
        ready = not reason and is_there()
        note = reason or (
            "in the local hub cache" if ready else "weights come from the hub at first use, or name a file"
        )
        choices.append(EncoderChoice(name, ("image", "text"), ready, note))
    return choices
