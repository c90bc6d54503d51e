"""The ranking loss of rows: layers side by side, each scaled to unit length, Bayesian personalised ranking of (user, positive,
negative) triples of these rows, and the squared length of what was looked up (KGAT eqs. (10) to (13), B7, B8).

In one pass over the rows and one over the triples each way; neither the joined rows nor the vectors of the triples are written.
Bound: 4 bytes for each number of the layers forward, 8 backward, and 3 B D of each from the cache.
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

_kernel = numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


@_kernel
def _scale(x, normalise, scale, square):
    """What each row of a layer is multiplied by, and its squared length then, added to ``square``."""
    for row in numba.prange(len(x)):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[row, j] * x[row, j]
        factor = x.dtype.type(1)
        if normalise:
            factor /= max(np.sqrt(total), x.dtype.type(_SHORTEST))
        scale[row] = factor
        square[row] += factor * factor * total


@_kernel
def _differences(x, scale, position, y):
    """Add a layer's part of ``y_un - y_up`` of every triple."""
    count = len(y)
    for b in numba.prange(count):
        user, positive, negative = position[b], position[count + b], position[2 * count + b]
        near = far = x.dtype.type(0)
        for j in range(x.shape[1]):
            near += x[user, j] * x[positive, j]
            far += x[user, j] * x[negative, j]
        y[b] += scale[user] * (scale[negative] * far - scale[positive] * near)


@_kernel
def _losses(y, loss, slope):
    """``softplus(y)`` and its derivative."""
    one = y.dtype.type(1)
    for b in numba.prange(len(y)):
        small = np.exp(-abs(y[b]))
        loss[b] = max(y[b], y.dtype.type(0)) + np.log1p(small)
        slope[b] = (one if y[b] >= 0 else small) / (one + small)


@numba.njit(nogil=True, cache=True)
def _sort(position, starts, order):
    """Places in ``position`` by row: those of a row are ``order[starts[row] : starts[row + 1]]``, ascending."""
    starts[:] = 0
    for row in position:
        starts[row + 1] += 1
    for row in range(1, len(starts)):
        starts[row] += starts[row - 1]
    next_place = starts[:-1].copy()
    for place, row in enumerate(position):
        order[next_place[row]] = place
        next_place[row] += 1


@_kernel
def _gradient(x, scale, normalise, position, starts, order, slope, l2, out):
    """Gradient of one layer; a row's is added up in the order of the triples."""
    count = len(slope)
    for row in numba.prange(len(out)):
        own, g, factor = x[row], out[row], scale[row]
        share = l2 * factor * x.dtype.type(starts[row + 1] - starts[row])
        for j in range(len(g)):
            g[j] = share * own[j]
        for k in range(starts[row], starts[row + 1]):
            place = order[k]
            b = place % count
            if place < count:
                positive, negative = position[count + b], position[2 * count + b]
                far, near = slope[b] * scale[negative], slope[b] * scale[positive]
                for j in range(len(g)):
                    g[j] += far * x[negative, j] - near * x[positive, j]
            else:
                user = position[b]
                push = slope[b] * scale[user]
                push = -push if place < 2 * count else push
                for j in range(len(g)):
                    g[j] += push * x[user, j]
        along = x.dtype.type(0)
        # a row that was too short was divided by a constant
        if normalise and factor * x.dtype.type(_SHORTEST) < x.dtype.type(1):
            for j in range(len(g)):
                along += own[j] * g[j]
            along *= factor * factor
        for j in range(len(g)):
            g[j] = factor * (g[j] - along * own[j])


class _RankLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, position: Tensor, normalise: Sequence[bool], *layers: Tensor) -> tuple[Tensor, Tensor]:
        layers = tuple(x.contiguous() for x in layers)
        rows, count = len(layers[0]), len(position) // 3
        y, square, scales = (
            layers[0].new_zeros(count),
            layers[0].new_zeros(rows),
            layers[0].new_empty(len(layers), rows),
        )
        at = numpy_view(position)
        for x, flag, scale in zip(layers, normalise, scales, strict=True):
            _scale(numpy_view(x), flag, numpy_view(scale), numpy_view(square))
            _differences(numpy_view(x), numpy_view(scale), at, numpy_view(y))
        loss, slope = y.new_empty(2, count)
        _losses(*map(numpy_view, (y, loss, slope)))
        starts, order = np.empty(rows + 1, np.int64), np.empty(len(at), np.int64)
        _sort(at, starts, order)
        ctx.save_for_backward(position, slope, scales, *layers)
        ctx.normalise, ctx.places = normalise, (starts, order)
        times = torch.from_numpy(np.diff(starts)).to(y.dtype)
        return loss.mean(), torch.dot(times, square) / (2 * count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        position, slope, scales, *layers = ctx.saved_tensors
        of_loss, of_l2 = (float(g) for g in gradients)
        real, count = np.float64 if slope.dtype == torch.float64 else np.float32, len(slope)
        slope = numpy_view(slope * (of_loss / count))
        at, out = numpy_view(position), [torch.empty_like(x) for x in layers]
        for x, flag, scale, g in zip(layers, ctx.normalise, scales, out, strict=True):
            share = real(of_l2 / count)
            _gradient(numpy_view(x), numpy_view(scale), flag, at, *ctx.places, slope, share, numpy_view(g))
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
