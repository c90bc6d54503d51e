"""Propagation runs all layers of an attentive graph encoder in one go and returns the vectors of the rows that are asked for.

A layer is aggregation (eq. (7) of Multi-KG4Rec) and bi-interaction (eq. (9)), x' = drop(LeakyReLU(W_1 (x + n) + b_1) +
LeakyReLU(W_2 (x * n) + b_2)). On the CPU sixteen rows at a time go through all of it while they lie in the nearest cache:
their neighbours are summed, sum and product multiplied, signs and dropout kept as bits. Nothing of the size of the graph is
written but n and x', and backward reads the same. The last layer is computed for the rows asked for alone.

Bound of a layer of M edges, N rows, widths d -> k: forward 4 N d k flops and M (4 d + 8) + 4 N (2 d + k) bytes, most of them
from the caches; backward twice the flops. Sums are taken in an order that depends on the graph alone, never on the threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.adjacency import LAYER_ROW, Adjacency, row_chunks
from kgrec.graphs.ops.arrays import numpy_view
from kgrec.graphs.ops.bi_interaction import _U, _draw, _hash
from kgrec.graphs.ops.simd import (
    LANES,
    add,
    choose,
    fma,
    keep_bits,
    load,
    multiply,
    multiply_tile,
    multiply_tile_transposed,
    positive,
    prefetch,
    spread,
    store,
)

_BLOCK = 16
_AHEAD = 12
_PANEL = 2 * LANES
#: chunks of rows without edges, the unit of a sum of weight gradients
_PARTS = 64


def _make_sum_row(indirect: bool) -> Any:
    @numba.njit(nogil=True, cache=True)
    def sum_row(start, stop, column, position, weight, x, base, own, out, row):
        """``out[row] = base[own] + sum of weight * x[column]`` over the edges ``start..stop - 1``, or of
        ``x[position[column]]``; without ``base[own]`` where there is none."""
        width, last, nothing = x.shape[1], len(column) - 1, spread(np.float32(0))
        j = 0
        while j + 2 * _PANEL <= width:
            s0, s1, s2, s3 = nothing, nothing, nothing, nothing
            if own < len(base):
                s0, s1 = load(base, own, j), load(base, own, j + LANES)
                s2, s3 = load(base, own, j + 2 * LANES), load(base, own, j + 3 * LANES)
            for edge in range(start, stop):
                w = spread(weight[edge])
                if indirect:  # few rows, which lie in the nearer cache
                    source = position[column[edge]]
                else:
                    source, ahead = column[edge], column[min(edge + _AHEAD, last)]
                    prefetch(x, ahead, j)
                    prefetch(x, ahead, j + LANES)
                    prefetch(x, ahead, j + 2 * LANES)
                    prefetch(x, ahead, j + 3 * LANES)
                s0 = fma(w, load(x, source, j), s0)
                s1 = fma(w, load(x, source, j + LANES), s1)
                s2 = fma(w, load(x, source, j + 2 * LANES), s2)
                s3 = fma(w, load(x, source, j + 3 * LANES), s3)
            store(out, row, j, s0)
            store(out, row, j + LANES, s1)
            store(out, row, j + 2 * LANES, s2)
            store(out, row, j + 3 * LANES, s3)
            j += 2 * _PANEL
        while j < width:
            s0, s1 = nothing, nothing
            if own < len(base):
                s0, s1 = load(base, own, j), load(base, own, j + LANES)
            for edge in range(start, stop):
                w = spread(weight[edge])
                if indirect:
                    source = position[column[edge]]
                else:
                    source, ahead = column[edge], column[min(edge + _AHEAD, last)]
                    prefetch(x, ahead, j)
                    prefetch(x, ahead, j + LANES)
                s0 = fma(w, load(x, source, j), s0)
                s1 = fma(w, load(x, source, j + LANES), s1)
            store(out, row, j, s0)
            store(out, row, j + LANES, s1)
            j += _PANEL

    return sum_row


_sum_row = _make_sum_row(False)
_sum_row_through = _make_sum_row(True)


@numba.njit(nogil=True, cache=True)
def _combine(x, row, n, place, total, product, i):
    """Sum and product of a row and its neighbourhood, into the block's row ``i``."""
    for j in range(0, x.shape[1], LANES):
        own, near = load(x, row, j), load(n, place, j)
        store(total, i, j, add(own, near))
        store(product, i, j, multiply(own, near))


@numba.njit(nogil=True, cache=True)
def _multiply(left, right, out, width, depth):
    """``out[:, :width] += left[:, :depth] @ right`` for one block of rows."""
    for j in range(0, width, _PANEL):
        for i in range(0, _BLOCK, 8):
            multiply_tile(out, i, j, left, i, right, depth, 0)


@numba.njit(parallel=True, nogil=True, cache=True)
def _forward(
    indptr, column, weight, x, rows, chunks, w1, b1, w2, b2, n, out, up1, up2, kept, slope, keep16, scale, seed
):
    width_in, width = x.shape[1], out.shape[1]
    padded = w1.shape[1]
    for chunk in numba.prange(len(chunks) - 1):
        total, product = np.zeros((_BLOCK, width_in), np.float32), np.zeros((_BLOCK, width_in), np.float32)
        a, b = np.empty((_BLOCK, padded), np.float32), np.empty((_BLOCK, padded), np.float32)
        low, high, factor = spread(slope), spread(np.float32(1)), spread(scale)
        for first in range(chunks[chunk], chunks[chunk + 1], _BLOCK):
            count = min(_BLOCK, chunks[chunk + 1] - first)
            for i in range(count):
                row = rows[first + i]
                _sum_row(indptr[row], indptr[row + 1], column, column, weight, x, x, len(x), n, first + i)
                _combine(x, row, n, first + i, total, product, i)
            for i in range(_BLOCK):
                for j in range(0, padded, LANES):
                    store(a, i, j, load(b1, 0, j))
                    store(b, i, j, load(b2, 0, j))
            _multiply(total, w1, a, padded, width_in)
            _multiply(product, w2, b, padded, width_in)
            for i in range(count):
                place = first + i
                key = np.uint32(_hash(seed, _U(rows[place])) >> _U(32))
                for v in range(width // LANES):
                    left, right = load(a, i, v * LANES), load(b, i, v * LANES)
                    up_left, up_right = positive(left), positive(right)
                    value = add(
                        multiply(left, choose(up_left, high, low)), multiply(right, choose(up_right, high, low))
                    )
                    keep = keep_bits(key, v * LANES, keep16)
                    store(out, place, v * LANES, choose(keep, multiply(value, factor), spread(np.float32(0))))
                    up1[place, v], up2[place, v], kept[place, v] = up_left, up_right, keep


@numba.njit(parallel=True, nogil=True, cache=True)
def _backward(x, rows, chunks, w1, w2, n, g, up1, up2, kept, g_own, g_w1, g_w2, g_b1, g_b2, slope, scale):
    """Gradients of a layer's rows: of themselves, of their neighbourhoods (in place of ``n``), and per chunk of the weights."""
    width_in, width = x.shape[1], g.shape[1]
    for chunk in numba.prange(len(chunks) - 1):
        total, product = np.zeros((_BLOCK, width_in), np.float32), np.zeros((_BLOCK, width_in), np.float32)
        g_total, g_product = np.empty((_BLOCK, width_in), np.float32), np.empty((_BLOCK, width_in), np.float32)
        a, b = np.zeros((_BLOCK, width), np.float32), np.zeros((_BLOCK, width), np.float32)
        low, high, factor, nothing = spread(slope), spread(np.float32(1)), spread(scale), spread(np.float32(0))
        for first in range(chunks[chunk], chunks[chunk + 1], _BLOCK):
            count = min(_BLOCK, chunks[chunk + 1] - first)
            for i in range(_BLOCK):
                place = first + i
                if i < count:
                    _combine(x, rows[place], n, place, total, product, i)
                    for v in range(width // LANES):
                        value = choose(kept[place, v], multiply(load(g, place, v * LANES), factor), nothing)
                        left = multiply(value, choose(up1[place, v], high, low))
                        right = multiply(value, choose(up2[place, v], high, low))
                        store(a, i, v * LANES, left)
                        store(b, i, v * LANES, right)
                        store(g_b1[chunk], 0, v * LANES, add(load(g_b1[chunk], 0, v * LANES), left))
                        store(g_b2[chunk], 0, v * LANES, add(load(g_b2[chunk], 0, v * LANES), right))
                else:
                    a[i], b[i] = 0, 0
                g_total[i], g_product[i] = 0, 0
            _multiply(a, w1, g_total, width_in, width)
            _multiply(b, w2, g_product, width_in, width)
            for i in range(0, width, 8):
                for j in range(0, width_in, _PANEL):
                    multiply_tile_transposed(g_w1[chunk], i, j, a, i, total, _BLOCK, 0)
                    multiply_tile_transposed(g_w2[chunk], i, j, b, i, product, _BLOCK, 0)
            for i in range(count):
                place = first + i
                for j in range(0, width_in, LANES):
                    s, p = load(g_total, i, j), load(g_product, i, j)
                    near, own = load(n, place, j), load(x, rows[place], j)  # g_own may lie where x does
                    store(g_own, place, j, fma(p, near, s))
                    store(n, place, j, fma(p, own, s))


@numba.njit(parallel=True, nogil=True, cache=True)
def _send_back(t_indptr, t_head, by_tail, position, g_own, g_near, out, chunks, everything):
    """Gradient of all vectors: from the rows they are, and from the rows they are neighbours of."""
    for chunk in numba.prange(len(chunks) - 1):
        for row in range(chunks[chunk], chunks[chunk + 1]):
            start, stop = t_indptr[row], t_indptr[row + 1]
            if everything:
                _sum_row(start, stop, t_head, position, by_tail, g_near, g_own, row, out, row)
            else:
                _sum_row_through(start, stop, t_head, position, by_tail, g_near, g_own, position[row], out, row)


class WeightedGraph(NamedTuple):
    """An adjacency with constant edge weights, made once and used for many steps."""

    adjacency: Adjacency
    #: shape: (M,), in the order of the adjacency's edges, and in the order by tail
    weight: Tensor
    by_tail: Tensor

    @classmethod
    def of(cls, adjacency: Adjacency, weight: Tensor) -> WeightedGraph:
        """Weights of the adjacency's edges, the first M of ``weight``."""
        weight = weight[: adjacency.n_edges]
        return cls(adjacency, weight, weight[adjacency.t_edge])


class Layer(NamedTuple):
    """Weights of one bi-interaction."""

    #: shape: (k, d), (k,), (k, d), (k,)
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


class _Rows(NamedTuple):
    """Rows a layer is computed for."""

    #: shape: (R,), int64, ascending
    rows: Tensor
    #: bounds of chunks of ``rows``
    chunks: Tensor
    #: shape: (C,), int32; place of each row in ``rows``, R where it is absent
    position: Tensor
    #: whether these are all rows there are
    complete: bool


def _all_rows(adjacency: Adjacency) -> _Rows:
    n = adjacency.shape[0]
    return _Rows(torch.arange(n), adjacency.layer_chunks, torch.empty(0, dtype=torch.int32), True)


def _some_rows(adjacency: Adjacency, rows: Tensor) -> _Rows:
    degree = adjacency.indptr[rows + 1] - adjacency.indptr[rows]
    chunks = row_chunks(torch.cat([degree.new_zeros(1), degree.cumsum(0)]), LAYER_ROW)
    position = torch.full((adjacency.shape[1],), len(rows), dtype=torch.int32)
    position[rows] = torch.arange(len(rows), dtype=torch.int32)
    return _Rows(rows, chunks, position, False)


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, graphs: Sequence[WeightedGraph], wanted: Tensor, slope: float, dropout: float, seeds: Sequence[int],
        x: Tensor, *weights: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        layers = [Layer(*weights[k : k + 4]) for k in range(0, len(weights), 4)]
        outputs, steps = [x.index_select(0, wanted)], []
        x = x.contiguous()
        for number, (layer, graph) in enumerate(zip(layers, graphs, strict=True)):
            last = number == len(layers) - 1
            adjacency = graph.adjacency
            rows = _some_rows(adjacency, wanted) if last else _all_rows(adjacency)
            count, width = len(rows.rows), len(layer.b1)
            n, out = x.new_empty(count + 1, x.shape[1]), x.new_empty(count, width)
            n[count] = 0  # what rows that are absent send back
            bits = [torch.empty(count, width // LANES, dtype=torch.uint16) for _ in range(3)]
            draw = _draw(x, slope, dropout, seeds[number])
            _forward(
                numpy_view(adjacency.indptr), numpy_view(adjacency.tail), numpy_view(graph.weight), numpy_view(x),
                numpy_view(rows.rows), numpy_view(rows.chunks), *map(_panels, layer),
                numpy_view(n), numpy_view(out), *map(numpy_view, bits), *draw,
            )  # fmt: skip
            steps.append((x, rows, n, bits, draw))
            x = out
            outputs.append(out if last else out.index_select(0, wanted))
        ctx.layers, ctx.steps, ctx.graphs, ctx.wanted = layers, steps, graphs, wanted
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        g = gradients[-1].contiguous()
        of_weights: list[Tensor] = []
        for number in range(len(ctx.layers) - 1, -1, -1):
            layer, graph, (x, rows, n, bits, draw) = ctx.layers[number], ctx.graphs[number], ctx.steps.pop()
            adjacency = graph.adjacency
            width, width_in = layer.w1.shape
            count, parts = len(rows.rows), _PARTS
            # a row's own vector is read for the last time before its gradient is written
            g_own = x if number and rows.complete else n.new_empty(count, width_in)
            g_w1, g_w2 = (n.new_zeros(parts, width, width_in) for _ in range(2))
            g_b1, g_b2 = (n.new_zeros(parts, 1, width) for _ in range(2))
            _backward(
                numpy_view(x), numpy_view(rows.rows), np.linspace(0, count, parts + 1).astype(np.int64),
                numpy_view(layer.w1.contiguous()),
                numpy_view(layer.w2.contiguous()), numpy_view(n), numpy_view(g), *map(numpy_view, bits),
                numpy_view(g_own), *map(numpy_view, (g_w1, g_w2, g_b1, g_b2)), draw[0], draw[2],
            )  # fmt: skip
            if rows.complete:
                g_own.index_add_(0, ctx.wanted, gradients[number])
            else:
                g_own += gradients[number]
            of_weights[:0] = [g_w1.sum(0), g_b1.sum(0)[0], g_w2.sum(0), g_b2.sum(0)[0]]
            g = x.new_empty(adjacency.shape[1], width_in)
            _send_back(
                numpy_view(adjacency.t_indptr), numpy_view(adjacency.t_head), numpy_view(graph.by_tail),
                numpy_view(rows.position), numpy_view(g_own), numpy_view(n), numpy_view(g),
                numpy_view(adjacency.t_layer_chunks), rows.complete,
            )  # fmt: skip
        return None, None, None, None, None, g, *of_weights


def _panels(weight: Tensor) -> np.ndarray:
    """A matrix (k, d) as (d, k), a vector (k,) as (1, k), with zero columns up to whole panels."""
    weight = weight.detach().reshape(len(weight), -1)
    out = weight.new_zeros(weight.shape[1], -(-len(weight) // _PANEL) * _PANEL)
    out[:, : len(weight)] = weight.T
    return out.numpy()


def can_propagate(x: Tensor, widths: Sequence[int]) -> bool:
    """Whether the fused kernels hold for these vectors: on the CPU float32, widths d in whole panels, k in whole vectors."""
    return x.device.type != "cpu" or (
        x.dtype == torch.float32 and all(w % _PANEL == 0 for w in widths[:-1]) and widths[-1] % LANES == 0
    )


def propagate(
    graphs: Sequence[WeightedGraph], x: Tensor, layers: Sequence[Layer], rows: Tensor, *,
    negative_slope: float, dropout: float = 0.0, seeds: Sequence[int],
) -> list[Tensor]:  # fmt: skip
    """Vectors of layers 0..L of some rows. The weights of edges are constants.

    :param graphs: per layer; all of N rows but the last, which needs the rows up to the last one asked for
    :param x: shape: (N, d_0), float32
    :param layers: per layer; see :func:`can_propagate` for the widths
    :param rows: shape: (R,), int64, ascending and distinct
    :param dropout: share of each layer's outputs set to zero; the mask is a function of the layer's seed and the node
    :return: L + 1 tensors (R, d_l)
    """
    if x.device.type != "cpu":
        from kgrec.graphs.ops import cuda

        return cuda.propagate(graphs, x, layers, rows, negative_slope=negative_slope, dropout=dropout, seeds=seeds)
    flat = [w for layer in layers for w in layer]
    return list(_Propagate.apply(list(graphs), rows, negative_slope, dropout, list(seeds), x, *flat))
