"""The ranking loss of rows: layers side by side, each scaled to unit length, Bayesian personalised ranking of (user, positive,
negative) triples of these rows, and the squared length of what was looked up (KGAT eqs. (10) to (13), B7, B8).

In one pass over the rows and one over the triples each way; the vectors of the triples are never written out.
Bound: 4 bytes for each number of the layers and of their gradients, and 3 B D of each from the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kgrec.graphs.ops.arrays import numpy_view

#: as torch's normalize: shorter vectors are divided by this
_SHORTEST = 1e-12
#: columns whose gradients one thread adds up
_COLUMNS = 16

_kernel = numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


@_kernel
def _join(x, normalise, first, z, scale):
    """``z[:, first : first + width]`` from one layer, and what each row was multiplied by."""
    for row in numba.prange(len(x)):
        factor = z.dtype.type(1)
        if normalise:
            total = z.dtype.type(0)
            for j in range(x.shape[1]):
                total += x[row, j] * x[row, j]
            factor /= max(np.sqrt(total), z.dtype.type(_SHORTEST))
        scale[row] = factor
        for j in range(x.shape[1]):
            z[row, first + j] = factor * x[row, j]


@_kernel
def _losses(z, position, loss, slope):
    """Of every triple ``softplus(y_un - y_up)`` and its derivative."""
    count = len(loss)
    for b in numba.prange(count):
        user, positive, negative = position[b], position[count + b], position[2 * count + b]
        y = z.dtype.type(0)
        for j in range(z.shape[1]):
            y += z[user, j] * (z[negative, j] - z[positive, j])
        small = np.exp(-abs(y))
        loss[b] = max(y, z.dtype.type(0)) + np.log1p(small)
        slope[b] = (z.dtype.type(1) if y >= 0 else small) / (z.dtype.type(1) + small)


@_kernel
def _spread(z, position, slope, times, l2, g):
    """Gradient of the joined rows; every thread adds up its own columns, in the order of the triples."""
    count = len(slope)
    for part in numba.prange((z.shape[1] + _COLUMNS - 1) // _COLUMNS):
        first, stop = part * _COLUMNS, min((part + 1) * _COLUMNS, z.shape[1])
        for row in range(len(z)):
            for j in range(first, stop):
                g[row, j] = l2 * times[row] * z[row, j]
        for b in range(count):
            user, positive, negative, s = position[b], position[count + b], position[2 * count + b], slope[b]
            for j in range(first, stop):
                u = s * z[user, j]
                g[user, j] += s * (z[negative, j] - z[positive, j])
                g[positive, j] -= u
                g[negative, j] += u


@_kernel
def _part(z, g, normalise, first, scale, out):
    """Gradient of one layer from that of the joined rows."""
    for row in numba.prange(len(out)):
        along = out.dtype.type(0)
        # a row that was too short was divided by a constant
        if normalise and scale[row] * out.dtype.type(_SHORTEST) < out.dtype.type(1):
            for j in range(out.shape[1]):
                along += z[row, first + j] * g[row, first + j]
        for j in range(out.shape[1]):
            out[row, j] = scale[row] * (g[row, first + j] - along * z[row, first + j])


class _RankLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, position: Tensor, normalise: Sequence[bool], *layers: Tensor) -> tuple[Tensor, Tensor]:
        rows, count = len(layers[0]), len(position) // 3
        firsts = np.cumsum([0, *(x.shape[1] for x in layers)])
        z = layers[0].new_empty(rows, int(firsts[-1]))
        scales = [z.new_empty(rows) for _ in layers]
        for x, flag, first, scale in zip(layers, normalise, firsts, scales, strict=False):
            _join(numpy_view(x.contiguous()), flag, first, numpy_view(z), numpy_view(scale))
        loss, slope = z.new_empty(count), z.new_empty(count)
        _losses(*map(numpy_view, (z, position, loss, slope)))
        times = torch.bincount(position, minlength=rows).to(z.dtype)
        ctx.save_for_backward(position, z, slope, times, *scales)
        ctx.normalise, ctx.firsts = normalise, firsts
        squares = torch.dot(times, torch.linalg.vecdot(z, z))
        return loss.mean(), squares / (2 * count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        position, z, slope, times, *scales = ctx.saved_tensors
        of_loss, of_l2 = (float(g) for g in gradients)
        real = np.float64 if z.dtype == torch.float64 else np.float32
        g = torch.empty_like(z)
        slope, count = slope * (of_loss / len(slope)), len(slope)
        _spread(*map(numpy_view, (z, position, slope, times)), real(of_l2 / count), numpy_view(g))
        out = []
        for number, scale in enumerate(scales):
            first, stop = ctx.firsts[number : number + 2]
            part = z.new_empty(len(z), stop - first)
            _part(numpy_view(z), numpy_view(g), ctx.normalise[number], first, numpy_view(scale), numpy_view(part))
            out.append(part)
        return None, None, *out


def rank_loss(layers: Sequence[Tensor], normalise: Sequence[bool], position: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of triples of rows, whose representation is the layers side by side.

    :param layers: shapes (R, d_l)
    :param normalise: per layer, whether its rows are scaled to unit length (zero stays zero)
    :param position: shape: (3 B,), int64; rows of the users, then of their positives, then of their negatives
    :return: scalars: the mean of ``softplus(y_un - y_up)``, and half the squared lengths of all 3 B vectors over B
    """
    if layers[0].device.type == "cpu":
        return _RankLoss.apply(position, list(normalise), *layers)
    z = torch.cat([F.normalize(x) if flag else x for x, flag in zip(layers, normalise, strict=True)], 1)
    user, positive, negative = z.index_select(0, position).chunk(3)
    loss = F.softplus((user * (negative - positive)).sum(-1)).mean()
    return loss, (user.square().sum() + positive.square().sum() + negative.square().sum()) / (2 * len(user))
