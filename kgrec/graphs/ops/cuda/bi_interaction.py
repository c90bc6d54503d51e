"""The element-wise work of bi-interaction in single passes, with the dropout mask of the CPU: a hash of (seed, row, column).

Bound, b bytes per number, N D numbers: combine 4 b, activate 3 b, activate backward 5 b, combine backward 6 b bytes each.
"""

# mypy: allow-incomplete-defs
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kgrec.graphs.ops.cuda.hashing import halves, sixteen_bits, splitmix64, whole
from kgrec.graphs.ops.cuda.spans import accumulator


@triton.jit
def _kept(rows, i, j, keep16, seed_low, seed_high, inside, HAS_ROWS: tl.constexpr):
    """Which elements dropout keeps. shape: (rows, columns)"""
    key = i
    if HAS_ROWS:
        key = tl.load(rows + i, mask=inside, other=0).to(tl.int64)
    row_key = (splitmix64(whole(seed_low, seed_high), key.to(tl.uint64)) >> 32).to(tl.uint32)
    return sixteen_bits(row_key[:, None], j.to(tl.uint32)[None, :]).to(tl.int32) < keep16


@triton.jit(do_not_specialize=["n", "keep16", "seed_low", "seed_high"])
def _activate(
    a, b, rows, out, n, width, keep16, seed_low, seed_high,
    SLOPE: tl.constexpr, SCALE: tl.constexpr, HAS_ROWS: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    at, here = i[:, None] * width + j[None, :], (i < n)[:, None] & (j < width)[None, :]
    one = tl.full((BLOCK_R, BLOCK_D), 1.0, ACC)
    slope, scale = tl.full((BLOCK_R, BLOCK_D), SLOPE, ACC), tl.full((BLOCK_R, BLOCK_D), SCALE, ACC)
    x = tl.load(a + at, mask=here, other=0).to(ACC)
    y = tl.load(b + at, mask=here, other=0).to(ACC)
    value = x * tl.where(x > 0, one, slope) + y * tl.where(y > 0, one, slope)
    kept = _kept(rows, i, j, keep16, seed_low, seed_high, i < n, HAS_ROWS)
    tl.store(out + at, value * tl.where(kept, scale, 0.0), mask=here)


@triton.jit(do_not_specialize=["n", "keep16", "seed_low", "seed_high"])
def _activate_backward(
    a, b, g, rows, g_a, g_b, n, width, keep16, seed_low, seed_high,
    SLOPE: tl.constexpr, SCALE: tl.constexpr, HAS_ROWS: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    j = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    at, here = i[:, None] * width + j[None, :], (i < n)[:, None] & (j < width)[None, :]
    one = tl.full((BLOCK_R, BLOCK_D), 1.0, ACC)
    slope, scale = tl.full((BLOCK_R, BLOCK_D), SLOPE, ACC), tl.full((BLOCK_R, BLOCK_D), SCALE, ACC)
    kept = _kept(rows, i, j, keep16, seed_low, seed_high, i < n, HAS_ROWS)
    value = tl.load(g + at, mask=here, other=0).to(ACC) * tl.where(kept, scale, 0.0)
    x = tl.load(a + at, mask=here, other=0).to(ACC)
    y = tl.load(b + at, mask=here, other=0).to(ACC)
    tl.store(g_a + at, value * tl.where(x > 0, one, slope), mask=here)
    tl.store(g_b + at, value * tl.where(y > 0, one, slope), mask=here)


@triton.jit
def _combine(h, n, total, product, size, BLOCK: tl.constexpr, ACC: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    left = tl.load(h + at, mask=at < size, other=0).to(ACC)
    right = tl.load(n + at, mask=at < size, other=0).to(ACC)
    tl.store(total + at, left + right, mask=at < size)
    tl.store(product + at, left * right, mask=at < size)


@triton.jit
def _combine_backward(h, n, g_total, g_product, g_h, g_n, size, BLOCK: tl.constexpr, ACC: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    left = tl.load(h + at, mask=at < size, other=0).to(ACC)
    right = tl.load(n + at, mask=at < size, other=0).to(ACC)
    s = tl.load(g_total + at, mask=at < size, other=0).to(ACC)
    p = tl.load(g_product + at, mask=at < size, other=0).to(ACC)
    tl.store(g_h + at, s + p * right, mask=at < size)
    tl.store(g_n + at, s + p * left, mask=at < size)


def _shape(width: int) -> dict[str, int]:
    block_d = min(max(triton.next_power_of_2(width), 16), 256)
    return {"BLOCK_R": 2048 // block_d, "BLOCK_D": block_d}


def bi_activate(
    a: Tensor, b: Tensor, slope: float, keep16: int, scale: float, seed: int, rows: Tensor | None = None
) -> Tensor:
    """``dropout(LeakyReLU(a) + LeakyReLU(b))``.

    :param a, b: shape: (N, D)
    :param slope: of LeakyReLU below zero
    :param keep16: of 65536 elements, how many dropout keeps; 65536 keeps all
    :param scale: of the kept elements
    :param rows: shape: (N,), key of each row's mask; its number if None
    :return: shape: (N, D)
    """
    a, b = a.contiguous(), b.contiguous()
    out, (n, width) = torch.empty_like(a), a.shape
    if out.numel():
        shape = _shape(width)
        with torch.cuda.device_of(a):
            _activate[(triton.cdiv(n, shape["BLOCK_R"]), triton.cdiv(width, shape["BLOCK_D"]))](
                a, b, a if rows is None else rows, out, n, width, int(keep16), *halves(int(seed)),
                SLOPE=float(slope), SCALE=float(scale), HAS_ROWS=rows is not None, ACC=accumulator(a.dtype), **shape,
            )  # fmt: skip
    return out


def bi_activate_backward(
    a: Tensor, b: Tensor, g: Tensor, slope: float, keep16: int, scale: float, seed: int, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of ``a`` and ``b``; the mask is drawn again.

    :param g: shape: (N, D), gradient of :func:`bi_activate`'s result
    """
    a, b, g = a.contiguous(), b.contiguous(), g.contiguous()
    g_a, g_b, (n, width) = torch.empty_like(a), torch.empty_like(b), a.shape
    if a.numel():
        shape = _shape(width)
        with torch.cuda.device_of(a):
            _activate_backward[(triton.cdiv(n, shape["BLOCK_R"]), triton.cdiv(width, shape["BLOCK_D"]))](
                a, b, g, a if rows is None else rows, g_a, g_b, n, width, int(keep16), *halves(int(seed)),
                SLOPE=float(slope), SCALE=float(scale), HAS_ROWS=rows is not None, ACC=accumulator(a.dtype), **shape,
            )  # fmt: skip
    return g_a, g_b


def bi_combine(h: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """``h + n`` and ``h * n`` in one pass. shapes: (N, D)"""
    h, n = h.contiguous(), n.contiguous()
    total, product = torch.empty_like(h), torch.empty_like(h)
    if h.numel():
        with torch.cuda.device_of(h):
            _combine[(triton.cdiv(h.numel(), 2048),)](
                h, n, total, product, h.numel(), BLOCK=2048, ACC=accumulator(h.dtype)
            )
    return total, product


def bi_combine_backward(h: Tensor, n: Tensor, g_total: Tensor, g_product: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``h`` and ``n`` from those of :func:`bi_combine`'s two results. shapes: (N, D)"""
    h, n, g_total, g_product = h.contiguous(), n.contiguous(), g_total.contiguous(), g_product.contiguous()
    g_h, g_n = torch.empty_like(h), torch.empty_like(n)
    if h.numel():
        with torch.cuda.device_of(h):
            _combine_backward[(triton.cdiv(h.numel(), 2048),)](
                h, n, g_total, g_product, g_h, g_n, h.numel(), BLOCK=2048, ACC=accumulator(h.dtype)
            )
    return g_h, g_n
