"""A mismatched torchvision is one whose native library does not load beside the torch installed.

PyPI's torchvision is built for PyPI's (CUDA) torch. Beside a CPU build of torch its library ``_C`` cannot be loaded,
and ``import torchvision`` then fails with "operator torchvision::nms does not exist", although the image transforms,
all that open_clip and transformers use here, are plain Python. Declaring the two operators that torchvision looks up
while it is imported is enough. Where its own library loads, nothing is declared. Both open_clip and transformers import
torchvision, so every encoder calls :func:`prepare_torchvision` before importing either.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch

_OPERATORS = ("nms", "qnms")
_declared: list[Any] = []  # a torch.library.Library withdraws its operators when it is collected


@cache
def prepare_torchvision() -> bool:
    """Make ``import torchvision`` work; call before importing open_clip or transformers.

    :return: whether torchvision's own native library is in use; True as well when torchvision is not installed
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in sorted(Path(spec.origin).parent.glob("_C*")):
        if library.suffix in {".so", ".pyd", ".dylib"}:
            try:
                torch.ops.load_library(str(library))
                return True
            except (OSError, ImportError):
                continue
    declarations = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            declarations.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(declarations)
    return False
