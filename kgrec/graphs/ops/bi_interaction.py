"""Bi-interaction combines a node with its neighbourhood:
LeakyReLU(W_1 (e_h + e_N) + b_1) + LeakyReLU(W_2 (e_h * e_N) + b_2), then dropout (KGAT eq. (8), Multi-KG4Rec eq. (9), B6).

On the CPU the element-wise work runs in three fused passes over the rows instead of some twenty, and dropout draws its mask
from a hash of (seed, position), so that backward needs no stored mask and a resumed run draws the same one.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view

_U = np.uint64


@numba.njit(inline="always")
def _hash(seed, position):
    """splitmix64 of a counter: 64 well-mixed bits."""
    z = seed + position * _U(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@numba.njit(parallel=True, nogil=True, cache=True)
def _sum_and_product(h, n, total, product):
    for i in numba.prange(h.shape[0]):
        for j in range(h.shape[1]):
            total[i, j] = h[i, j] + n[i, j]
            product[i, j] = h[i, j] * n[i, j]


@numba.njit(inline="always")
def _keep(row_key, j):
    """16 bits for column ``j`` of a row: a 32-bit mixer, so that a row is one vector loop."""
    z = np.uint32(row_key + np.uint32(j) * np.uint32(0x9E3779B9))
    z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x7FEB352D))
    z = np.uint32((z ^ (z >> np.uint32(15))) * np.uint32(0x846CA68B))
    return (z ^ (z >> np.uint32(16))) >> np.uint32(16)


@numba.njit(parallel=True, nogil=True, cache=True)
def _activate(a, b, out, rows, slope, keep16, scale, seed):
    for i in numba.prange(a.shape[0]):
        row_key = np.uint32(_hash(seed, _U(rows[i])) >> _U(32))
        for j in range(a.shape[1]):
            x, y = a[i, j], b[i, j]
            value = x * (out.dtype.type(1) if x > 0 else slope) + y * (out.dtype.type(1) if y > 0 else slope)
            out[i, j] = value * (scale if _keep(row_key, j) < keep16 else out.dtype.type(0))


@numba.njit(parallel=True, nogil=True, cache=True)
def _activate_backward(a, b, g, g_a, g_b, rows, slope, keep16, scale, seed):
    for i in numba.prange(a.shape[0]):
        row_key = np.uint32(_hash(seed, _U(rows[i])) >> _U(32))
        for j in range(a.shape[1]):
            value = g[i, j] * (scale if _keep(row_key, j) < keep16 else g.dtype.type(0))
            g_a[i, j] = value * (g.dtype.type(1) if a[i, j] > 0 else slope)
            g_b[i, j] = value * (g.dtype.type(1) if b[i, j] > 0 else slope)


@numba.njit(parallel=True, nogil=True, cache=True)
def _combine_backward(h, n, g_total, g_product, g_h, g_n):
    for i in numba.prange(h.shape[0]):
        for j in range(h.shape[1]):
            s, p = g_total[i, j], g_product[i, j]
            left = h[i, j]
            g_h[i, j] = s + p * n[i, j]
            g_n[i, j] = s + p * left


class _BiInteraction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, n: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
        slope: float, p: float, seed: int, rows: Tensor | None,
    ) -> Tensor:  # fmt: skip
        h, n = h.contiguous(), n.contiguous()
        ctx.draw, ctx.rows = _draw(h, slope, p, seed), rows
        total, product = _combined(h, n)
        a, b = torch.addmm(b1, total, w1.T), torch.addmm(b2, product, w2.T)
        ctx.save_for_backward(h, n, w1, w2, a, b)
        if h.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            return cuda.bi_activate(a, b, *_plain(ctx.draw, rows))
        out = torch.empty_like(a)
        _activate(numpy_view(a), numpy_view(b), numpy_view(out), _keys(out, rows), *ctx.draw)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, n, w1, w2, a, b = ctx.saved_tensors
        total, product = _combined(h, n)
        g = gradients[0].contiguous()
        if h.device.type != "cpu":
            from kgrec.graphs.ops import cuda

            grad_a, grad_b = cuda.bi_activate_backward(a, b, g, *_plain(ctx.draw, ctx.rows))
        else:
            grad_a, grad_b = torch.empty_like(a), torch.empty_like(b)
            arrays = map(numpy_view, (a, b, g, grad_a, grad_b))
            _activate_backward(*arrays, _keys(a, ctx.rows), *ctx.draw)
        grad_w1, grad_w2 = grad_a.T @ total, grad_b.T @ product
        torch.mm(grad_a, w1, out=total)
        torch.mm(grad_b, w2, out=product)
        if h.device.type != "cpu":
            grad_h, grad_n = cuda.bi_combine_backward(h, n, total, product)
        else:
            grad_h, grad_n = torch.empty_like(h), torch.empty_like(h)
            _combine_backward(*map(numpy_view, (h, n, total, product, grad_h, grad_n)))
        return grad_h, grad_n, grad_w1, grad_a.sum(0), grad_w2, grad_b.sum(0), None, None, None, None


def _combined(h: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and product of nodes and neighbourhoods."""
    if h.device.type != "cpu":
        from kgrec.graphs.ops import cuda

        return cuda.bi_combine(h, n)
    total, product = torch.empty_like(h), torch.empty_like(h)
    _sum_and_product(*map(numpy_view, (h, n, total, product)))
    return total, product


def _keys(like: Tensor, rows: Tensor | None) -> np.ndarray:
    return np.arange(len(like)) if rows is None else numpy_view(rows)


def _plain(draw: tuple[Any, ...], rows: Tensor | None) -> tuple[Any, ...]:
    return *(number.item() for number in draw), rows


def _draw(like: Tensor, slope: float, p: float, seed: int) -> tuple[Any, ...]:
    real = np.float64 if like.dtype == torch.float64 else np.float32
    keep = 65536 if p == 0 else round((1 - p) * 65536)
    return real(slope), np.uint32(keep), real(65536 / keep), _U(seed & 0xFFFFFFFFFFFFFFFF)


def bi_interaction(
    h: Tensor, n: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *,
    negative_slope: float = 0.01, dropout: float = 0.0, seed: int = 0, rows: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Combine node and neighbourhood vectors.

    :param h: shape: (N, D_in), node vectors
    :param n: shape: (N, D_in), aggregated neighbourhoods
    :param w1, w2: shape: (D_out, D_in)
    :param b1, b2: shape: (D_out,)
    :param dropout: share of outputs set to zero, the rest scaled up; in steps of 1/65536
    :param seed: of the dropout mask, which is the same on every device
    :param rows: shape: (N,), int64; the mask of a row is a function of the seed and this number; None: of its position
    :return: shape: (N, D_out)
    """
    return _BiInteraction.apply(h, n, w1, b1, w2, b2, negative_slope, dropout, seed, rows)
