"""The ranking loss of projected triples: a true tail should lie nearer to head plus relation than a false one,
softplus(||h + e_r - t||^2 - ||h + e_r - t'||^2) (TransR in KGAT eq. (2), Multi-KG4Rec eqs. (1) and (2), B2, B3).

One pass over the rows forward and one backward; nothing of their size is written but their gradient.
Bound: 4 bytes for each number of the rows forward, 8 backward.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.gather import gather_rows
from kgrec.graphs.ops.rank_loss import _losses

#: columns whose gradients one thread adds up
_COLUMNS = 16

_kernel = numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


@_kernel
def _differences(x, relation, rels, y, square):
    """Of every triple ``g(h, r, t) - g(h, r, t')``, and the squared length of its three rows."""
    for b in numba.prange(len(y)):
        head, tail, false, e = x[3 * b], x[3 * b + 1], x[3 * b + 2], relation[rels[b]]
        difference = lengths = x.dtype.type(0)
        for j in range(x.shape[1]):
            there, near, far = head[j] + e[j], tail[j], false[j]
            difference += (there - near) * (there - near) - (there - far) * (there - far)
            lengths += head[j] * head[j] + near * near + far * far
        y[b], square[b] = difference, lengths


@_kernel
def _row_gradients(x, relation, rels, slope, l2, g):
    for b in numba.prange(len(slope)):
        head, tail, false, e = x[3 * b], x[3 * b + 1], x[3 * b + 2], relation[rels[b]]
        s = slope[b] + slope[b]
        g_head, g_tail, g_false = g[3 * b], g[3 * b + 1], g[3 * b + 2]
        for j in range(x.shape[1]):
            there = head[j] + e[j]
            near, far = s * (there - tail[j]), s * (there - false[j])
            g_head[j] = near - far + l2 * head[j]
            g_tail[j] = l2 * tail[j] - near
            g_false[j] = l2 * false[j] + far


@_kernel
def _relation_gradients(x, rels, slope, out):
    """Every thread adds up its own columns, in the order of the triples."""
    for part in numba.prange((x.shape[1] + _COLUMNS - 1) // _COLUMNS):
        first, stop = part * _COLUMNS, min((part + 1) * _COLUMNS, x.shape[1])
        for b in range(len(slope)):
            tail, false, g, s = x[3 * b + 1], x[3 * b + 2], out[rels[b]], slope[b] + slope[b]
            for j in range(first, stop):
                g[j] += s * (false[j] - tail[j])


class _TripleLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, relation: Tensor, rels: Tensor) -> tuple[Tensor, Tensor]:
        x, relation = x.contiguous(), relation.contiguous()
        y, loss, slope, square = x.new_empty(4, len(rels))
        _differences(*map(numpy_view, (x, relation, rels, y, square)))
        _losses(*map(numpy_view, (y, loss, slope)))
        ctx.save_for_backward(x, relation, rels, slope)
        return loss.mean(), square.sum() / (2 * len(rels))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, relation, rels, slope = ctx.saved_tensors
        of_loss, of_l2 = (float(g) for g in gradients)
        real = np.float64 if x.dtype == torch.float64 else np.float32
        slope = slope * (of_loss / len(rels))
        g, g_relation = torch.empty_like(x), torch.zeros_like(relation)
        _row_gradients(*map(numpy_view, (x, relation, rels, slope)), real(of_l2 / len(rels)), numpy_view(g))
        _relation_gradients(*map(numpy_view, (x, rels, slope, g_relation)))
        return g, g_relation, None


def triple_loss(x: Tensor, relation: Tensor, rels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of triples whose rows are projected into the space of their relation.

    :param x: shape: (3 B, k), float32 or float64; of each triple its head, its tail and a false tail
    :param relation: shape: (R, k), relation vectors
    :param rels: shape: (B,), int64, relation of each triple
    :return: scalars: the mean of ``softplus(g(h, r, t) - g(h, r, t'))`` with g the squared distance of h + e_r, and half the
        squared lengths of all 3 B rows over B
    """
    if x.device.type == "cpu":
        return _TripleLoss.apply(x, relation, rels)
    head, tail, false = x.view(len(rels), 3, -1).unbind(1)
    translated = head + gather_rows(relation, rels)
    near, far = (translated - tail).square().sum(-1), (translated - false).square().sum(-1)
    return F.softplus(near - far).mean(), x.square().sum() / (2 * len(rels))
