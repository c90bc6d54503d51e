"""Looking up rows, with a backward pass that adds into the rows looked up instead of sorting them."""

from __future__ import annotations

from typing import Any

import numba
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view


@numba.njit(parallel=True, nogil=True, cache=True)
def _scatter_add(index, g, out):
    """Every thread adds up its own columns, in the order of ``index``."""
    for part in numba.prange((g.shape[1] + 15) // 16):
        first, stop = 16 * part, min(16 * part + 16, g.shape[1])
        for row in range(len(index)):
            for j in range(first, stop):
                out[index[row], j] += g[row, j]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(x)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        g = gradients[0].contiguous()
        if g.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            return cuda.scatter_add_rows(index, g, ctx.rows, torch.are_deterministic_algorithms_enabled()), None
        out = g.new_zeros(ctx.rows, g.shape[1])
        _scatter_add(numpy_view(index), numpy_view(g), numpy_view(out))
        return out, None


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]``. Repeated rows add up in the gradient: in the order of ``index`` on the CPU, on CUDA in a fixed order where
    ``torch.use_deterministic_algorithms`` asks for one.

    :param x: shape: (N, D)
    :param index: shape: (B,), int64
    :return: shape: (B, D)
    """
    return _GatherRows.apply(x, index)
