"""A sampled encoder computes an attentive graph encoder's layers for the nodes of a step's blocks alone, on the edges drawn
for them. Attention weights are those of the whole graph, times the number of edges each drawn edge stands for, so that every
aggregation equals that over all edges in expectation; with all edges drawn the result is that of the full graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from torch import Tensor, nn

from kgrec.errors import ConfigError
from kgrec.graphs.ops import aggregate, bi_interaction
from kgrec.graphs.sampling import Block, NeighbourhoodSampler
from kgrec.models.blocks.attentive_gnn import AttentiveGNN


class SampledModel(Protocol):
    """What a model needs for training on sampled neighbourhoods."""

    neighbourhood: NeighbourhoodSampler | None
    settings: Any
    #: one encoder per stream, and with each a buffer ``attention_<stream>``, shape (M,)
    gnn: nn.ModuleDict
    step_seed: int

    def inputs_of(self, nodes: Tensor) -> Mapping[str, Tensor]:
        """Layer-0 vectors of some distinct nodes, per stream, with gradient. shape: (B,) -> (B, d)"""


def sampled_layers(
    gnn: AttentiveGNN, x: Tensor, blocks: Sequence[Block], attention: Tensor, seed: int = 0
) -> list[Tensor]:
    """Vectors of layers 0..L, as :class:`AttentiveGNN` gives them for the full graph.

    :param x: shape: (C_1, d_0), layer-0 vectors of the nodes of the first block
    :param attention: shape: (M,), weights of all edges of the graph
    :return: L + 1 tensors; the first rows of each are the heads of the last block
    """
    outputs = [x]
    layers, seeds, dropout = gnn.steps(seed)
    for layer, block, layer_seed in zip(layers, blocks, seeds, strict=True):
        weight = attention[block.edge] * block.scale.to(attention.dtype)
        n = aggregate(block.adjacency, weight, x)
        x = bi_interaction(
            x[: len(n)],
            n,
            *layer,
            negative_slope=gnn.negative_slope,
            dropout=dropout,
            seed=layer_seed,
            rows=block.heads,
        )
        outputs.append(x)
    return outputs


def sampled_streams(model: SampledModel, rows: Tensor) -> list[list[Tensor]]:
    """Vectors of layers 0..L of some nodes, per stream, from neighbourhoods drawn with the step's seed.

    :param rows: shape: (R,), int64, distinct
    :return: per stream, L + 1 tensors (R, d_l)
    :raises ConfigError: the model has streams it can compute for all nodes only
    """
    assert model.neighbourhood is not None
    blocks = model.neighbourhood.sample(rows, model.step_seed)
    inputs = model.inputs_of(blocks[0].nodes)
    if set(inputs) != set(model.gnn):
        raise ConfigError(f"{type(model).__name__} cannot train on sampled neighbourhoods; set fan_out: null")
    streams = []
    for number, (stream, gnn) in enumerate(model.gnn.items()):
        layers = sampled_layers(
            cast(AttentiveGNN, gnn), inputs[stream], blocks, getattr(model, f"attention_{stream}"),
            model.step_seed + 0xD1342543DE82EF95 * number,
        )  # fmt: skip
        streams.append([x[: len(rows)] for x in layers])
    return streams
