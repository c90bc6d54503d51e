"""All layers of an attentive graph encoder on CUDA, the last one for the rows that are asked for alone: the same numbers, masks
and order of sums as ``kgrec.graphs.ops.propagate`` has on the CPU, up to rounding.

A layer is a row sum, one pass for sum and product, two products, and one pass for activation and dropout; backward makes sum
and product again instead of keeping them.

Bound of a layer of M edges, N rows, widths d -> k: forward M (4 d + 8) + 4 N (6 d + 3 k) bytes and 4 N d k flops, backward twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kgrec.graphs.ops.cuda.bi_interaction import bi_activate, bi_activate_backward, bi_combine, bi_combine_backward
from kgrec.graphs.ops.cuda.sum_rows import sum_rows

if TYPE_CHECKING:
    from kgrec.graphs.ops.propagate import Layer, WeightedGraph


class _Layer(torch.autograd.Function):
    """One layer; ``rows`` None stands for the first N nodes."""

    @staticmethod
    def forward(
        ctx: Any, graph: WeightedGraph, rows: Tensor | None, draw: tuple[float, int, float, int],
        x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
    ) -> Tensor:  # fmt: skip
        adjacency, weight, _ = graph
        n = sum_rows(adjacency.indptr, adjacency.tail, weight, x, rows=rows)
        total, product = bi_combine(_own(x, n, rows), n)
        a, b = torch.addmm(b1, total, w1.T), torch.addmm(b2, product, w2.T)
        ctx.graph, ctx.rows, ctx.draw = graph, rows, (*draw, rows)
        ctx.save_for_backward(x, n, w1, w2, a, b)
        return bi_activate(a, b, *ctx.draw)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, n, w1, w2, a, b = ctx.saved_tensors
        (adjacency, _, by_tail), rows = ctx.graph, ctx.rows
        h = _own(x, n, rows)
        g_a, g_b = bi_activate_backward(a, b, gradients[0], *ctx.draw)
        total, product = bi_combine(h, n)
        g_w1, g_w2 = g_a.T @ total, g_b.T @ product
        torch.mm(g_a, w1, out=total)
        torch.mm(g_b, w2, out=product)
        g_own, g_near = bi_combine_backward(h, n, total, product)
        column = adjacency.t_head
        if rows is not None:  # rows that are absent send the zeros of one more row
            position = torch.full((adjacency.shape[0],), len(rows), dtype=torch.int32, device=x.device)
            position[rows] = torch.arange(len(rows), dtype=torch.int32, device=x.device)
            column, g_near = position.index_select(0, column), torch.cat([g_near, g_near.new_zeros(1, g_near.shape[1])])
        g_x = sum_rows(adjacency.t_indptr, column, by_tail, g_near)
        if rows is None:
            g_x[: len(g_own)] += g_own
        else:
            g_x[rows] += g_own  # distinct rows: nothing is added twice
        return None, None, None, g_x, g_w1, g_a.sum(0), g_w2, g_b.sum(0)


def _own(x: Tensor, n: Tensor, rows: Tensor | None) -> Tensor:
    return x[: len(n)] if rows is None else x.index_select(0, rows)


def propagate(
    graphs: Sequence[WeightedGraph], x: Tensor, layers: Sequence[Layer], rows: Tensor, *,
    negative_slope: float, dropout: float = 0.0, seeds: Sequence[int],
) -> list[Tensor]:  # fmt: skip
    """Vectors of layers 0..L of some rows. The weights of edges are constants.

    :param graphs: per layer; all of N rows but the last, which needs the rows up to the last one asked for
    :param x: shape: (N, d_0), float32 or float64
    :param rows: shape: (R,), int64, ascending and distinct
    :param dropout: share of each layer's outputs set to zero; the mask is a function of the layer's seed and the node
    :return: L + 1 tensors (R, d_l)
    """
    keep16 = 65536 if dropout == 0 else round((1 - dropout) * 65536)
    outputs = [_select(x, rows)]
    x = x.contiguous()
    for number, (graph, layer) in enumerate(zip(graphs, layers, strict=True)):
        last = number == len(layers) - 1
        draw = (negative_slope, keep16, 65536 / keep16, seeds[number])
        x = _Layer.apply(graph, rows if last else None, draw, x, *layer)
        outputs.append(x if last else _select(x, rows))
    return outputs


class _Select(torch.autograd.Function):
    """``x[rows]`` for distinct rows: nothing is added twice, so the gradient needs no order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = x.shape
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        out = gradients[0].new_zeros(ctx.shape)
        out[rows] = gradients[0]
        return out, None


def _select(x: Tensor, rows: Tensor) -> Tensor:
    return _Select.apply(x, rows)
