"""A small convolutional network: three times 3-wide convolution, ReLU and halving by maximum, then the mean over all
places.

``<family>/random-<seed>`` has He-normal weights drawn from the seed. It is **not trained**: its vectors tell textures
apart, not meanings, and serve to run every path and as the weakest baseline. ``<family>@<file>`` has the weights of a
safetensors file, as :func:`save` writes them for a network of :func:`network`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from kgrec.features.encoders.base import unavailable

_KINDS = {2: (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d), 3: (nn.Conv3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d)}


def network(channels: Sequence[int], dimensions: int) -> nn.Sequential:
    """The network. shapes: (B, channels[0], …) -> (B, channels[-1])

    :param channels: of the input and after each convolution
    :param dimensions: 2 for a spectrogram, 3 for a video
    """
    convolution, halving, mean = _KINDS[dimensions]
    layers: list[nn.Module] = []
    for taken, given in pairwise(channels):
        layers += [convolution(taken, given, 3, padding=1), nn.ReLU(), halving(2)]
    return nn.Sequential(*layers, mean(1), nn.Flatten())


def save(model: nn.Sequential, path: Path) -> None:
    """Write the weights of :func:`network` for ``<family>@<file>``."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def load(name: str, family: str, channels: Sequence[int], dimensions: int) -> nn.Sequential:
    """The network that ``name`` asks for.

    :raises EncoderUnavailable: if the name has another form, or the file is missing or holds other weights
    """
    model = network(channels, dimensions)
    if match := re.fullmatch(rf"{family}/random-(\d{{1,18}})", name):
        draw(model, int(match[1]))
        return model
    if not name.startswith(f"{family}@"):
        raise unavailable(name, f"the name is not of the form {family}/random-<seed> (untrained) or {family}@<file>")
    path = Path(name.removeprefix(f"{family}@")).expanduser()
    if not path.is_file():
        raise unavailable(name, f"there is no file {path}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        wanted = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in model.state_dict().items())
        raise unavailable(name, f"{path} does not hold the weights {wanted} ({error})") from None
    return model.float()


def draw(model: nn.Module, seed: int) -> None:
    """He-normal weights, from a seed and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.constant_(parameter, 0.01)  # so that nothing at all is still not the zero vector
