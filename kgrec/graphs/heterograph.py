"""A heterograph keeps node and edge types apart: users, items and entities are numbered each from 0, and every
(source type, relation, destination type) that occurs has an edge list of its own.

A triple (head, relation, tail) is an edge from head to tail. In memory the same edges are one list over *nodes* (users,
then items, then entities) with relation ids; this module turns one form into the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kgrec.errors import DataError
from kgrec.graphs.dgl_compat import DGLGraph, heterograph

NODE_TYPES = ("user", "item", "entity")
INTERACT = "interact"
INVERSE = "^-1"


class Edges(NamedTuple):
    """M edges over nodes, sorted by (head, relation, tail)."""

    #: shape: (M,), int64
    heads: np.ndarray
    #: shape: (M,), int64
    rels: np.ndarray
    #: shape: (M,), int64
    tails: np.ndarray


def relation_names(raw: list[str], inverse_edges: bool) -> list[str]:
    """Names of all relation ids: ``interact``, the raw relations, then with ``inverse_edges`` the inverse of each.

    :raises DataError: if a raw relation has a name that is reserved
    """
    reserved = [name for name in raw if name == INTERACT or name.endswith(INVERSE)]
    if reserved:
        raise DataError(
            f"relation {reserved[0]!r} has a reserved name ({INTERACT!r} and names ending in {INVERSE!r} belong to the "
            "graph); rename it in the knowledge graph's source"
        )
    forward = [INTERACT, *raw]
    return forward + [name + INVERSE for name in forward] if inverse_edges else forward


def join_edges(
    interactions: np.ndarray, triples: np.ndarray, n_relations: int, n_nodes: int, inverse_edges: bool
) -> Edges:
    """Join interactions and triples to the edges of the collaborative knowledge graph.

    :param interactions: shape: (T, 2), user and item as nodes, distinct rows
    :param triples: shape: (K, 3), head, relation (from 1), tail as nodes, distinct rows
    :param n_relations: raw relations and ``interact`` together, R + 1
    :param inverse_edges: True stores the inverse of every edge under relation r + R + 1. False stores triples one way
        and interactions both ways under the one relation ``interact``, as RecBole does
    """
    users, items = interactions[:, 0], interactions[:, 1]
    head, rel, tail = triples[:, 0], triples[:, 1], triples[:, 2]
    interact = np.zeros(len(users), np.int64)
    if inverse_edges:
        heads = np.concatenate([users, head, items, tail])
        rels = np.concatenate([interact, rel, interact + n_relations, rel + n_relations])
        tails = np.concatenate([items, tail, users, head])
    else:
        heads = np.concatenate([users, items, head])
        rels = np.concatenate([interact, interact, rel])
        tails = np.concatenate([items, users, tail])
    return sort_edges(heads, rels, tails, n_nodes)


def sort_edges(heads: np.ndarray, rels: np.ndarray, tails: np.ndarray, n_nodes: int) -> Edges:
    """Sort edges by (head, relation, tail)."""
    span = int(rels.max()) + 1 if len(rels) else 1
    keys = _pack(heads, rels, tails, span, n_nodes)
    keys.sort()
    return _unpack(keys, span, n_nodes)


def _pack(heads: np.ndarray, rels: np.ndarray | int, tails: np.ndarray, span: int, n_nodes: int) -> np.ndarray:
    """One int64 per edge, ordered as (head, relation, tail): a sort then moves 8 bytes per edge, and no index."""
    keys = heads * np.int64(span)
    keys += rels
    keys *= n_nodes
    keys += tails
    return keys


def _unpack(keys: np.ndarray, span: int, n_nodes: int) -> Edges:
    """The edges of :func:`_pack`; ``keys`` is overwritten."""
    tails = keys % n_nodes
    keys //= n_nodes
    rels = keys % span
    keys //= span
    return Edges(keys, rels, tails)


def build_heterograph(sizes: tuple[int, int, int], relations: list[str], edges: Edges) -> DGLGraph:
    """Make the DGL heterograph with canonical edge types, int32 ids.

    :param sizes: numbers of users, items and entities
    """
    starts = np.cumsum([0, *sizes])
    kinds = [np.searchsorted(starts[1:], ends, side="right").astype(np.uint16) for ends in (edges.heads, edges.tails)]
    # 16 bits, where the relations allow it, are sorted in time linear in the edges
    group: np.ndarray = edges.rels.astype(np.uint16 if 9 * len(relations) < 2**16 else np.int64)
    group *= 9
    group += 3 * kinds[0] + kinds[1]
    order = np.argsort(group, kind="stable")
    values, first = np.unique(group[order], return_index=True)
    lists = {}
    for value, rows in zip(values.tolist(), np.split(order, first[1:]), strict=True):
        rel, source, target = value // 9, value // 3 % 3, value % 3
        lists[NODE_TYPES[source], relations[rel], NODE_TYPES[target]] = (
            torch.from_numpy((edges.heads[rows] - starts[source]).astype(np.int32)),
            torch.from_numpy((edges.tails[rows] - starts[target]).astype(np.int32)),
        )
    return heterograph(lists, num_nodes_dict=dict(zip(NODE_TYPES, sizes, strict=True)), idtype=torch.int32)


def read_edges(graph: DGLGraph, relations: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Read heads, relation ids and tails, shape (M,) int64 each, sorted by (head, relation, tail).

    :raises DataError: if the graph has an edge type that ``relations`` does not name, or another node type
    """
    if set(graph.ntypes) != set(NODE_TYPES):
        raise DataError(f"the graph's node types are {', '.join(graph.ntypes)}; expected {', '.join(NODE_TYPES)}")
    ids = {name: index for index, name in enumerate(relations)}
    unknown = sorted({name for _, name, _ in graph.canonical_etypes} - set(ids))
    if unknown:
        raise DataError(f"the graph has relation {unknown[0]!r}, which the vocabulary lacks; rerun the graph stage")
    starts = dict(zip(NODE_TYPES, np.cumsum([0, *(graph.num_nodes(kind) for kind in NODE_TYPES)]), strict=False))
    keys = np.empty(graph.num_edges(), np.int64)
    end = 0
    for kind in graph.canonical_etypes:
        heads, tails = (
            ends.numpy() + starts[side] for ends, side in zip(graph.edges(etype=kind), kind[::2], strict=True)
        )
        keys[end : end + len(heads)] = _pack(heads, ids[kind[1]], tails, len(relations), graph.num_nodes())
        end += len(heads)
    keys.sort()
    edges = _unpack(keys, len(relations), graph.num_nodes())
    return torch.from_numpy(edges.heads), torch.from_numpy(edges.rels), torch.from_numpy(edges.tails)
