"""A device is where tensors live. What a person asks for is what they get: an absent GPU is an error, never a silent CPU."""

from __future__ import annotations

import torch

from kgrec.errors import ConfigError


def find_device(name: str) -> torch.device:
    """``auto`` (CUDA if there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:1`` as a device.

    :raises ConfigError: if torch does not know it or does not see it
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is not one torch knows; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {name!r}, but torch sees no CUDA device; use auto or cpu, or see `kgrec doctor`")
    return device
