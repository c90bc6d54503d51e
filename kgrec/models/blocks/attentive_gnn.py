"""An attentive graph encoder lets each node gather its neighbours, weighted by attention, layer by layer, and keeps the
vectors of all layers (KGAT section 3.2; Multi-KG4Rec eqs. (7), (9), (10))."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kgrec.graphs.ops import Layer, WeightedGraph, aggregate, bi_interaction, can_propagate, gather_rows, propagate


class BiInteraction(nn.Module):
    """Weights of one bi-interaction layer (B6)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.sum = nn.Linear(width_in, width_out)
        self.product = nn.Linear(width_in, width_out)
        for linear in (self.sum, self.product):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)


class AttentiveGNN(nn.Module):
    """Layers of attention-weighted aggregation and bi-interaction.

    :param widths: d_0, d_1, .., d_L
    """

    def __init__(self, widths: Sequence[int], dropout: float, negative_slope: float) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.layers = nn.ModuleList(BiInteraction(a, b) for a, b in pairwise(widths))
        self.dropout, self.negative_slope = dropout, negative_slope

    def steps(self, seed: int) -> tuple[list[Layer], list[int], float]:
        """Weights of every layer, the seeds of their dropout, and its share in the current mode."""
        layers = [Layer(w.sum.weight, w.sum.bias, w.product.weight, w.product.bias) for w in self.layers]
        seeds = [seed + 0x632BE59BD9B4E019 * (number + 1) for number in range(len(layers))]
        return layers, seeds, self.dropout if self.training else 0.0

    def forward(
        self, x: Tensor, graph: WeightedGraph, target: WeightedGraph, rows: Tensor, seed: int = 0
    ) -> list[Tensor]:
        """Vectors of layers 0..L of some rows.

        :param x: shape: (N, d_0)
        :param target: first rows of ``graph``, all of ``rows`` among them
        :param rows: shape: (R,), int64, ascending and distinct
        :return: L + 1 tensors (R, d_l)
        """
        layers, seeds, dropout = self.steps(seed)
        if layers and can_propagate(x, self.widths):
            graphs = [graph] * (len(layers) - 1) + [target]
            return propagate(graphs, x, layers, rows, negative_slope=self.negative_slope, dropout=dropout, seeds=seeds)
        outputs = [gather_rows(x, rows)]
        for number, layer in enumerate(layers):
            adjacency, attention, by_tail = target if number == len(layers) - 1 else graph
            neighbourhood = aggregate(adjacency, attention, x, by_tail)  # eq. (7)
            x = bi_interaction(  # eq. (9)
                x[: adjacency.shape[0]], neighbourhood, *layer,
                negative_slope=self.negative_slope, dropout=dropout, seed=seeds[number],
            )  # fmt: skip
            outputs.append(gather_rows(x, rows))
        return outputs


def jump_concat(layers: Sequence[Tensor], normalise: bool) -> Tensor:
    """Concatenate a node's vectors of layers 0..L (jumping knowledge, eq. (10), B7).

    :param normalise: scale the vectors of layers 1..L to unit length (zero stays zero)
    """
    return torch.cat([layers[0], *(F.normalize(x) if normalise else x for x in layers[1:])], 1)
