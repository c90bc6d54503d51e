"""The context sequence of an item is its neighbourhood in breadth-first order: the item itself, then the nodes one hop
away, then two, until n nodes are found. Multi-KG4Rec's cross-modal transformer reads it.

Edges are those of the collaborative knowledge graph (training interactions and triples) and count in both directions.
Every hop is taken whole, sorted by node, except the one that no longer fits, from which a part is drawn. Of a node with more
than ``HUB`` neighbours, evenly spread ones from a random start stand for all (its hop never fits): else every item of a genre
would look at all the others, and time would grow with the square of the catalogue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import DataError

Order = Literal["bfs_balanced", "bfs_uniform", "bfs_degree"]
#: most neighbours of a node that are looked at
HUB = 16_384
_ORDERS = {"bfs_balanced": 0, "bfs_uniform": 1, "bfs_degree": 2}


class Sequences(NamedTuple):
    """Context sequences of I items, length n."""

    #: shape: (I, n), int64, nodes; -1 where the neighbourhood has fewer
    nodes: np.ndarray
    #: shape: (I, n), int8, hops from the item; -1 where padded
    hops: np.ndarray


def bfs_sequences(
    heads: np.ndarray,
    tails: np.ndarray,
    n_users: int,
    n_items: int,
    n_nodes: int,
    *,
    length: int = 16,
    order: Order = "bfs_balanced",
    max_hops: int = 3,
    seed: int = 42,
) -> Sequences:
    """Find the context sequence of every item.

    :param heads: shape: (M,), nodes (users, then items, then entities)
    :param tails: shape: (M,)
    :param length: nodes in a sequence, the item included
    :param order: how to draw from a hop that overflows. ``bfs_balanced``: alternately from entities and items on one
        side and users on the other, each side in random order, until one side is empty; ``bfs_uniform``: at random;
        ``bfs_degree``: nodes with most neighbours first, ties by node
    :param max_hops: no node further away is taken
    :param seed: the draw for an item depends on this, the item and the candidates alone, not on the other items
    """
    starts, neighbours = _neighbours(heads, tails, n_nodes)
    nodes = np.full((n_items, length), -1, np.int64)
    hops = np.full((n_items, length), -1, np.int8)
    _search(
        starts, neighbours, n_users, max_hops, _ORDERS[order], np.uint64(seed % 2**64), max(HUB, length), nodes, hops
    )
    return Sequences(nodes, hops)


def write_sequences(sequences: Sequences, path: Path) -> None:
    """Write one row per item: ``item``, ``node`` and ``hop`` lists of equal length."""
    n_items, length = sequences.nodes.shape
    table = pa.table(
        {
            "item": pa.array(np.arange(n_items), pa.int64()),
            "node": pa.FixedSizeListArray.from_arrays(pa.array(sequences.nodes.ravel()), length),
            "hop": pa.FixedSizeListArray.from_arrays(pa.array(sequences.hops.ravel()), length),
        }
    )
    write_parquet(table, path)


def read_sequences(path: Path) -> Sequences:
    """Read what :func:`write_sequences` wrote. :raises DataError: if it is missing or damaged"""
    table = read_parquet(path, columns=["item", "node", "hop"]).sort_by("item").combine_chunks()
    kind = table.schema.field("node").type
    if not pa.types.is_fixed_size_list(kind) or table["item"].to_pylist() != list(range(table.num_rows)):
        raise DataError("is not a table of one sequence per item; rerun the graph stage", path=path)
    nodes, hops = (
        column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        for column in (table["node"], table["hop"])
    )
    return Sequences(nodes.astype(np.int64), hops.astype(np.int8))


@njit(cache=True)
def _neighbours(heads, tails, n_nodes):
    """Distinct neighbours of every node, ascending, in compressed rows: 8 bytes per edge."""
    starts = np.zeros(n_nodes + 1, np.int64)
    for edge in range(len(heads)):
        starts[heads[edge] + 1] += 1
        starts[tails[edge] + 1] += 1
    starts = np.cumsum(starts)
    place = starts[:-1].copy()
    found = np.empty(starts[-1], np.int32)
    for edge in range(len(heads)):
        head, tail = heads[edge], tails[edge]
        found[place[head]] = tail
        place[head] += 1
        found[place[tail]] = head
        place[tail] += 1
    end = 0
    for node in range(n_nodes):
        row = np.sort(found[starts[node] : starts[node + 1]])
        starts[node] = end
        for index in range(len(row)):
            if index == 0 or row[index] != row[index - 1]:
                found[end] = row[index]
                end += 1
    starts[n_nodes] = end
    return starts, found[:end]


@njit(cache=True)
def _search(starts, neighbours, n_users, max_hops, order, seed, hub, nodes, hops):
    """Fill ``nodes`` and ``hops`` row by row."""
    n_items, length = nodes.shape
    seen = np.full(len(starts) - 1, -1, np.int32)  # the last item that met the node
    candidates = np.empty(len(starts) - 1, np.int64)
    for item in range(n_items):
        salt = _mix(_mix(seed) ^ np.uint64(item))
        nodes[item, 0], hops[item, 0] = n_users + item, 0
        seen[n_users + item] = item
        begin, end = 0, 1
        for hop in range(1, max_hops + 1):
            if end == length:
                break
            count = 0
            for position in range(begin, end):
                node = nodes[item, position]
                degree = starts[node + 1] - starts[node]
                looked = min(degree, hub)
                shift = 0 if degree == looked else np.int64(_mix(salt ^ np.uint64(node)) % np.uint64(degree))
                for place in range(looked):
                    neighbour = neighbours[starts[node] + (place * degree + shift) // looked]
                    if seen[neighbour] != item:
                        seen[neighbour] = item
                        candidates[count] = neighbour
                        count += 1
            found = candidates[:count]
            if count > length - end:
                found = _draw(found, length - end, starts, n_users, order, salt)
            found = np.sort(found)
            nodes[item, end : end + len(found)] = found
            hops[item, end : end + len(found)] = hop
            begin, end = end, end + len(found)
            if begin == end:
                break


@njit(cache=True)
def _draw(found, room, starts, n_users, order, salt):
    """``room`` of the nodes ``found``."""
    if order == 2:
        found = np.sort(found)
        degree = starts[found + 1] - starts[found]
        return found[np.argsort(-degree, kind="mergesort")][:room]
    if order == 1:
        return _first(found, room, salt)
    users, others = found[found < n_users], found[found >= n_users]
    n_others = min(len(others), max((room + 1) // 2, room - len(users)))
    return np.concatenate((_first(others, n_others, salt), _first(users, room - n_others, salt)))


@njit(cache=True)
def _first(found, room, salt):
    """The ``room`` nodes with the smallest hashes, which are distinct. Only about four times as many are sorted."""
    keys = np.empty(len(found), np.uint64)
    for index in range(len(found)):
        keys[index] = _mix(salt ^ np.uint64(found[index]))
    wanted = 4 * room + 16
    if wanted < len(found):
        few = np.flatnonzero(keys < np.uint64(wanted / len(found) * 2.0**64))
        if len(few) >= room:
            found, keys = found[few], keys[few]
    return found[np.argsort(keys, kind="mergesort")][:room]


@njit(cache=True)
def _mix(value):
    """splitmix64's finaliser: a bijection of 64-bit integers in which each input bit moves half of the output bits."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
