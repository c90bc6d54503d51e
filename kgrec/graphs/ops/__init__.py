"""The hot loops: neighbour aggregation, edge softmax, relation-wise projection, attention, negative sampling, block top-k.

Each operator takes plain tensors. On the CPU it runs numba kernels, on CUDA those of :mod:`kgrec.graphs.ops.cuda`; the tests
hold both equal to the plain torch of :mod:`kgrec.graphs.ops.reference` and to DGL's own operators, forward and backward.
"""

from kgrec.graphs.ops.adjacency import Adjacency, distinct
from kgrec.graphs.ops.aggregate import aggregate
from kgrec.graphs.ops.attention import KGAttention
from kgrec.graphs.ops.bi_interaction import bi_interaction
from kgrec.graphs.ops.edge_softmax import edge_softmax
from kgrec.graphs.ops.gather import gather_rows
from kgrec.graphs.ops.negatives import NegativeItems, NegativeTails
from kgrec.graphs.ops.propagate import Layer, WeightedGraph, can_propagate, propagate
from kgrec.graphs.ops.rank_loss import rank_loss
from kgrec.graphs.ops.relation_project import relation_project
from kgrec.graphs.ops.segment import segment_reduce
from kgrec.graphs.ops.triple_loss import triple_loss

__all__ = [
    "Adjacency",
    "KGAttention",
    "Layer",
    "NegativeItems",
    "NegativeTails",
    "WeightedGraph",
    "aggregate",
    "bi_interaction",
    "can_propagate",
    "distinct",
    "edge_softmax",
    "gather_rows",
    "propagate",
    "rank_loss",
    "relation_project",
    "segment_reduce",
    "triple_loss",
]
