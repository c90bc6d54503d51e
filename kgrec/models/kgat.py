"""KGAT propagates id vectors over the collaborative knowledge graph with attention from TransR (Wang et al., KDD 2019).

Attention is recomputed once per epoch without gradient and kept as a buffer, so that a reloaded model scores the same.
Legend: N nodes, M edges, R' relations, d width, k relation width.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from kgrec.config import Settings
from kgrec.errors import TrainingError
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import KGAttention, WeightedGraph, distinct, rank_loss
from kgrec.graphs.sampling import FanOut, NeighbourhoodSampler
from kgrec.models.base import CFBatch, KGBatch, TwoTowerRecommender
from kgrec.models.blocks.attentive_gnn import AttentiveGNN, jump_concat
from kgrec.models.blocks.sampled_gnn import sampled_streams
from kgrec.models.blocks.sharded_table import ShardedTable
from kgrec.models.blocks.transr import TransR


class KGATSettings(Settings):
    """Settings of KGAT."""

    embedding_size: int = Field(64, gt=0)
    """d, width of the id vectors."""
    relation_size: int = Field(64, gt=0)
    """k, width of the relation space."""
    layers: tuple[int, ...] = (64, 32, 16)
    """Widths d_1..d_L of the graph layers."""
    message_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of each layer's outputs dropped in training."""
    negative_slope: float = 0.01
    """Slope of LeakyReLU below zero: .01 as in the torch ports, .2 in the original."""
    layer_norm_l2: bool = True
    """Scale the vectors of layers 1..L to unit length before they are concatenated."""
    reg_weight: float = Field(1e-5, ge=0)
    """lambda of the L2 term on the looked-up representations."""
    kg_reg_weight: float = Field(1e-5, ge=0)
    """lambda of the L2 term on the projected vectors of a triple."""
    xavier: Literal["joint", "separate"] = "joint"
    """Start of the id vectors: Xavier's bound for one table of all nodes, or, as the published codes have it, for users and for
    items with entities apart, which starts users wider."""
    first_attention: Literal["attention", "laplacian"] = "attention"
    """Weights of the first epoch's edges: attention from the start vectors, or, as the original and RecBole, one over the number
    of the head's edges of that relation."""
    kg_includes_interactions: bool = True
    """Train TransR on `interact` triples too, as the original; otherwise their relation stays at its start value."""
    fan_out: FanOut | None = None
    """Edges of each relation a node gathers from in a training step, per layer, the first layer first: a number, or numbers
    by relation name with `"*"` for the others; -1: all. null: training reads the full graph."""

    @model_validator(mode="after")
    def _one_fan_out_per_layer(self) -> KGATSettings:
        if self.fan_out is not None and len(self.fan_out) != len(self.layers):
            raise ValueError(
                f"fan_out has {len(self.fan_out)} entries for {len(self.layers)} layers; give one per layer"
            )
        return self


class KGAT(TwoTowerRecommender):
    """Knowledge graph attention network."""

    Settings = KGATSettings
    phases = ("cf", "kg")
    #: parameters whose rows several processes may share out, see :mod:`kgrec.training.distributed`
    sharded = ("node",)
    #: draws the neighbourhoods of a training step; None: training reads the full graph
    neighbourhood: NeighbourhoodSampler | None = None

    def __init__(self, data: GraphData, settings: KGATSettings) -> None:
        super().__init__(data, settings)
        if len(data.heads) == 0:
            raise TrainingError("the graph has no edges; look at the rows of the graph stage's report")
        self.n_nodes = data.n_nodes
        self.adjacency = data.adjacency()
        #: users and items, the rows a score needs, are the first nodes
        self.target = self.adjacency.first_rows(data.n_users + data.n_items)
        self.kg_attention = KGAttention(self.adjacency, data.rels)
        if settings.fan_out is not None:
            self.neighbourhood = NeighbourhoodSampler(self.adjacency, data.rels, data.relations, settings.fan_out)
        d = settings.embedding_size
        #: shape: (N, d)
        self.node = nn.Parameter(torch.empty(data.n_nodes, d))
        tables = [data.n_users, data.n_nodes - data.n_users] if settings.xavier == "separate" else [data.n_nodes]
        for table in self.node.data.split(tables):
            nn.init.xavier_uniform_(table)
        self.tables = {"node": ShardedTable(data.n_nodes)}
        self.transr = TransR(data.n_relations, d, settings.relation_size)
        self.streams = self.stream_names(settings)
        self.gnn = nn.ModuleDict(
            {
                s: AttentiveGNN((d, *settings.layers), settings.message_dropout, settings.negative_slope)
                for s in self.streams
            }
        )
        self._graphs: dict[str, tuple[tuple[int, int], tuple[WeightedGraph, WeightedGraph]]] = {}
        for stream in self.streams:
            #: shape: (M,), sums to 1 over the edges of a head once refreshed
            self.register_buffer(f"attention_{stream}", torch.zeros(len(data.heads)))

    @staticmethod
    def stream_names(settings: KGATSettings) -> list[str]:
        """One graph encoder runs per stream; KGAT has one, on the id vectors."""
        return ["id"]

    def inputs(self) -> dict[str, Tensor]:
        """Layer-0 node vectors per stream. shape of each: (N, d)"""
        return {"id": self.nodes()}

    def nodes(self) -> Tensor:
        """Id vectors of all nodes, with gradient. shape: (N, d)"""
        return self.tables["node"].all(self.node)

    def encode(self) -> Tensor:
        """Representations of users and items: all layers of all streams side by side. shape: (U + I, D)"""
        rows = torch.arange(self.n_users + self.n_items, device=self.node.device)
        return torch.cat([jump_concat(layers, self.settings.layer_norm_l2) for layers in self._streams(rows)], 1)

    def _streams(self, rows: Tensor) -> list[list[Tensor]]:
        """Vectors of layers 0..L of some distinct users and items, ascending, per stream; in training from drawn
        neighbourhoods, where the settings say so. shape: (R,) -> (R, d_l)"""
        if self.training and self.neighbourhood is not None:
            return sampled_streams(self, rows)
        return [
            self.gnn[stream](x, *self._weighted(stream), rows, seed=self.step_seed + 0xD1342543DE82EF95 * number)
            for number, (stream, x) in enumerate(self.inputs().items())
        ]

    def _weighted(self, stream: str) -> tuple[WeightedGraph, WeightedGraph]:
        """The graph and its first rows with the stream's attention, made anew when the attention has changed."""
        attention = getattr(self, f"attention_{stream}")
        state = (attention.data_ptr(), attention._version)
        if stream not in self._graphs or self._graphs[stream][0] != state:
            graphs = WeightedGraph.of(self.adjacency, attention), WeightedGraph.of(self.target, attention)
            self._graphs[stream] = state, graphs
        return self._graphs[stream][1]

    def cf_loss(self, batch: CFBatch) -> dict[str, Tensor]:
        """BPR on inner products of the representations, and their L2 term."""
        items = self.n_users + torch.cat([batch.positives, batch.negatives])
        rows, position = distinct(torch.cat([batch.users, items]), self.n_users + self.n_items)
        streams = self._streams(rows)
        normalise = [self.settings.layer_norm_l2 and number > 0 for layers in streams for number in range(len(layers))]
        bpr, l2 = rank_loss([x for layers in streams for x in layers], normalise, position)
        return {"bpr": bpr, "l2": self.settings.reg_weight * l2} if self.settings.reg_weight else {"bpr": bpr}

    def lookup(self, nodes: Tensor) -> Tensor:
        """Id vectors of some nodes, with gradient. shape: (B,), int64 -> (B, d)"""
        return self.tables["node"](self.node, nodes)

    def inputs_of(self, nodes: Tensor) -> dict[str, Tensor]:
        """Layer-0 vectors of some distinct nodes, per stream, with gradient. shape: (B,), int64 -> (B, d)"""
        return {"id": self.lookup(nodes)}

    def kg_loss(self, batch: KGBatch) -> dict[str, Tensor]:
        """TransR on the id vectors."""
        return {"transr": self.transr.loss(self.lookup, batch, self.settings.kg_reg_weight)}

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the attention weights of every stream from its layer-0 vectors, in evaluation mode."""
        training = self.training
        self.eval()
        for stream, x in self.inputs().items():
            kept = getattr(self, f"attention_{stream}")
            if self.settings.first_attention == "laplacian" and not kept.any():
                kept.copy_(self._laplacian())
            else:
                kept.copy_(self.kg_attention(x, self.transr.relation, self.transr.matrix))
        self.train(training)

    def _laplacian(self) -> Tensor:
        """One over the number of edges with the same head and relation. shape: (M,)"""
        key = self.adjacency.heads() * len(self.transr.relation) + self.kg_attention.rels
        _, number, counts = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
        return 1 / counts[number].float()

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        """Move the adjacency along with the parameters."""
        super()._apply(fn, recurse)
        device = self.node.device
        if self.adjacency.indptr.device != device:
            rels = self.kg_attention.rels.to(device)
            self.adjacency, self.target = self.adjacency.to(device), self.target.to(device)
            self.kg_attention = KGAttention(self.adjacency, rels)
            self._graphs = {}
        return self
