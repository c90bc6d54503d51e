"""An attentive graph encoder lets each node gather its neighbours, weighted by attention, layer by layer, and keeps the
vectors of all layers (KGAT section 3.2; Multi-KG4Rec eqs. (7), (9), (10))."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kgrec.graphs.ops import Adjacency, aggregate, bi_interaction


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
        self.layers = nn.ModuleList(BiInteraction(a, b) for a, b in pairwise(widths))
        self.dropout, self.negative_slope = dropout, negative_slope

    def forward(self, x: Tensor, graph: WeightedGraph, target: WeightedGraph, seed: int = 0) -> list[Tensor]:
        """Vectors of layers 0..L.

        :param x: shape: (N, d_0)
        :param target: first rows of ``graph``; the last layer is computed for these alone
        :return: L + 1 tensors of at least as many rows as ``target`` has
        """
        outputs = [x]
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            adjacency, attention, by_tail = target if last else graph
            neighbourhood = aggregate(adjacency, attention, x, by_tail)  # eq. (7)
            x = bi_interaction(  # eq. (9)
                x[: adjacency.shape[0]], neighbourhood,
                layer.sum.weight, layer.sum.bias, layer.product.weight, layer.product.bias,
                negative_slope=self.negative_slope, dropout=self.dropout if self.training else 0.0,
                seed=seed + 0x632BE59BD9B4E019 * (number + 1),
            )  # fmt: skip
            outputs.append(x)
        return outputs


def jump_concat(layers: Sequence[Tensor], normalise: bool) -> Tensor:
    """Concatenate a node's vectors of layers 0..L (jumping knowledge, eq. (10), B7).

    :param normalise: scale the vectors of layers 1..L to unit length (zero stays zero)
    """
    return torch.cat([layers[0], *(F.normalize(x) if normalise else x for x in layers[1:])], 1)
