"""Encoders are named ``<library>:<model>``; those that come as Python packages go by the model's name alone.

A family's module is imported when one of its encoders is asked for: libraries of clips or of other models cost nothing
until then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import torch

from kgrec.device import find_device
from kgrec.features.encoders.base import Encoder, Modality, Precision, unavailable

_Opener = Callable[[str, torch.device, "int | None", Precision], Encoder]

#: (name or prefix, modality) -> module beside this one, class in it
FAMILIES: dict[tuple[str, Modality], tuple[str, str]] = {
    ("efficientnet-lite0", "image"): ("efficientnet", "EfficientNetLite0"),
    ("all-MiniLM-L6-v2", "text"): ("minilm", "MiniLM"),
    ("open_clip:", "image"): ("openclip", "OpenClipImage"),
    ("open_clip:", "text"): ("openclip", "OpenClipText"),
    ("transformers:", "image"): ("transformers_models", "TransformersImage"),
    ("transformers:", "text"): ("transformers_models", "TransformersText"),
    ("transformers:", "audio"): ("audio", "TransformersAudio"),
    ("timm:", "image"): ("timm_models", "TimmImage"),
    ("mel-cnn", "audio"): ("audio", "MelCnn"),
    ("video-cnn", "video"): ("video", "VideoCnn"),
    ("frames:", "video"): ("video", "FrameMean"),
}


def open_encoder(
    name: str, modality: Modality, device: str = "auto", batch_size: int | None = None, precision: Precision = "float32"
) -> Encoder:
    """Load an encoder with its weights.

    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:<n>``
    :param batch_size: rows per batch; None: 8 pictures or 16 texts on a CPU, 128 on a GPU
    :param precision: see :class:`~kgrec.features.encoders.base.Encoder`; ``auto`` is settled here
    :raises EncoderUnavailable: if it cannot be had; the message names the encoder, the reason and the choices
    """
    family = _family(name)
    if (family, modality) not in FAMILIES:
        others = [m for f, m in FAMILIES if f == family]
        raise unavailable(name, f"it encodes {others[0]}s, not {modality}s" if others else "no encoder has this name")
    module, attribute = FAMILIES[family, modality]
    opener: _Opener = getattr(_module(module), attribute)
    encoder = opener(name, find_device(device), batch_size, precision)
    encoder.settle()
    return encoder


def _family(name: str) -> str:
    """``open_clip:`` of ``open_clip:ViT-B-32/openai``, ``mel-cnn`` of ``mel-cnn/random-0`` and of ``mel-cnn@<file>``."""
    head, colon, _ = name.partition(":")
    return head + colon if colon and head + colon in {family for family, _ in FAMILIES} else re.split("[/@]", name)[0]


def _module(name: str) -> ModuleType:
    return import_module(f"kgrec.features.encoders.{name}")


@dataclass(frozen=True)
class EncoderChoice:
    """Whether a family of encoders can be had on this machine. ``note`` says why not, or what it still needs."""

    name: str
    modalities: tuple[Modality, ...]
    available: bool
    note: str


_UNTRAINED = "random weights, for trying out; trained ones come from a file"
#: encoder to show for a family, its module, and the hub model whose weights it needs, or what to know if it needs none
_SHOWN: tuple[tuple[str, str, tuple[str, ...] | str], ...] = (
    ("efficientnet-lite0", "efficientnet", "installed as a package"),
    ("all-MiniLM-L6-v2", "minilm", "installed as a package"),
    ("open_clip:ViT-B-32/openai", "openclip", ("ViT-B-32", "openai")),
    ("transformers:openai/clip-vit-base-patch32", "transformers_models", ("openai/clip-vit-base-patch32",)),
    ("timm:vit_small_patch14_dinov2.lvd142m", "timm_models", ("vit_small_patch14_dinov2.lvd142m",)),
    ("mel-cnn/random-0", "audio", _UNTRAINED),
    ("video-cnn/random-0", "video", _UNTRAINED),
)


def available_encoders() -> list[EncoderChoice]:
    """What can be had here, found out without loading weights and without the network."""
    choices = []
    for name, place, weights in _SHOWN:
        modalities = tuple(m for (f, m), (module, _) in FAMILIES.items() if f == _family(name) and module == place)
        module = _module(place)
        reason = module.missing_packages()
        if isinstance(weights, str):
            choices.append(EncoderChoice(name, modalities, not reason, reason or weights))
            continue
        ready = not reason and module.is_cached(*weights)
        note = "in the local hub cache" if ready else "weights come from the hub at first use, or name a file"
        choices.append(EncoderChoice(name, modalities, ready, reason or note))
    return choices
