"""Tensors as the arrays numba's kernels take."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def numpy_view(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor as an array, without a copy and without its gradient."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()
