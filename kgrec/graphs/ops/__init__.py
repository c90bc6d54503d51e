"""The hot loops: neighbour aggregation, edge softmax, relation-wise projection, negative sampling.

Each operator takes plain tensors. On the CPU it runs a numba kernel, elsewhere torch; the tests hold both equal to DGL's
own operators, forward and backward.
"""

from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.graphs.ops.aggregate import aggregate
from kgrec.graphs.ops.attention import KGAttention
from kgrec.graphs.ops.bi_interaction import bi_interaction
from kgrec.graphs.ops.edge_softmax import edge_softmax
from kgrec.graphs.ops.gather import gather_rows
from kgrec.graphs.ops.negatives import NegativeItems, NegativeTails
from kgrec.graphs.ops.propagate import Layer, WeightedGraph, can_propagate, propagate
from kgrec.graphs.ops.relation_project import relation_project

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
    "edge_softmax",
    "gather_rows",
    "propagate",
    "relation_project",
]
