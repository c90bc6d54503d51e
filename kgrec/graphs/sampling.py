"""Neighbour sampling computes a step on a few edges instead of all: each layer gathers, for the nodes it needs, at most a
fan-out of the edges that a node has under each relation (Hamilton et al., GraphSAGE, NeurIPS 2017; per relation as in DGL).

The edges of one head under one relation are a *run*. From a run of n edges DGL draws k = min(n, fan-out), uniformly and
without replacement, and each drawn edge counts n / k times (Horvitz and Thompson, JASA 1952). In expectation the sum over
the drawn edges is thus the sum over all of them, relation by relation; with every edge drawn it is that sum.

Runs are the nodes DGL samples for. Its own sampler by edge type looks at every edge of a node, which a popular item makes
slow; runs know where their edges lie. Legend: N nodes, M edges, P runs, R' relations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import Tensor

from kgrec.errors import ConfigError
from kgrec.graphs.ops import Adjacency

#: the fan-out that draws every edge
ALL = -1
#: stands for the relations a layer's fan-out does not name
OTHERS = "*"


def _edges(value: int) -> int:
    if value < 1 and value != ALL:
        raise ValueError(f"a fan-out is 1 or more edges, or {ALL} for all of them")
    return value


_Edges = Annotated[int, AfterValidator(_edges)]
#: most edges of a head under one relation, per layer, the layer next to the id vectors first: a number for every relation, or
#: numbers by relation name with ``*`` for the others; -1 draws all
FanOut = tuple[_Edges | dict[str, _Edges], ...]


@dataclass(frozen=True)
class Block:
    """What one layer is computed on: H heads, C tails, m drawn edges."""

    #: shape: (C,), int64, node of each tail; the first H are the heads
    nodes: Tensor
    #: H heads and C tails, numbered as in ``nodes``
    adjacency: Adjacency
    #: shape: (m,), int64, position of each drawn edge among the M edges of the graph
    edge: Tensor
    #: shape: (m,), float32, n / k: how many edges of its run a drawn edge stands for
    scale: Tensor

    @property
    def heads(self) -> Tensor:
        """Nodes of the heads. shape: (H,), int64"""
        return self.nodes[: self.adjacency.shape[0]]

    def to(self, device: torch.device | str) -> Block:
        """The same block on ``device``."""
        return Block(self.nodes.to(device), self.adjacency.to(device), self.edge.to(device), self.scale.to(device))


class NeighbourhoodSampler:
    """Draws the blocks of a step. It stays on the CPU, shares the adjacency's tails, and adds three numbers per run.

    :param adjacency: of the whole graph, N x N
    :param rels: shape: (M,), int64, relation of each edge; ascending within a head
    :param relations: names of the R' relations
    :param fan_out: one entry per layer
    :raises ConfigError: ``fan_out`` names a relation that is not there, or leaves one out
    :raises ValueError: the edges of a head are not sorted by relation
    """

    def __init__(self, adjacency: Adjacency, rels: Tensor, relations: Sequence[str], fan_out: FanOut) -> None:
        dgl = _dgl()
        #: shape: (L, R'), int64
        self.fan_out = fan_out_table(fan_out, relations)
        adjacency, rels = adjacency.to("cpu"), rels.cpu()
        begins = torch.zeros(len(rels) + 1, dtype=torch.bool)
        begins[adjacency.indptr] = True
        begins = begins[:-1]
        if bool(((rels[1:] < rels[:-1]) & ~begins[1:]).any()):
            raise ValueError("edges must be sorted by head and relation")
        begins[1:] |= rels[1:] != rels[:-1]
        first = begins.nonzero()[:, 0]
        bounds = torch.cat([first, first.new_tensor([len(rels)])])
        self._n_nodes = adjacency.shape[0]
        self._ids = torch.int32 if max(self._n_nodes, len(rels)) < 2**31 else torch.int64
        #: shape: (N + 1,); runs of head h are ``_runs[h]:_runs[h + 1]``
        self._runs = torch.searchsorted(first, adjacency.indptr).to(self._ids)
        #: shape: (P,), number of edges and relation of each run
        self._size, self._rel = bounds.diff().to(self._ids), rels[first].to(torch.int32)
        self._tail = adjacency.tail.to(self._ids)
        self._graph = dgl.heterograph(
            {("node", "edge", "run"): ("csc", (bounds.to(self._ids), self._tail, self._tail[:0]))},
            num_nodes_dict={"node": self._n_nodes, "run": len(first)}, idtype=self._ids,
        )  # fmt: skip

    def sample(self, nodes: Tensor, seed: int) -> list[Block]:
        """Blocks of layers 1..L; the heads of the last are ``nodes``, those of any other the tails of the next.

        :param nodes: shape: (B,), int64, distinct
        :param seed: decides every draw, whatever was drawn before and however many threads there are
        """
        blocks: list[Block] = []
        heads = nodes.cpu()
        with _one_thread():
            _dgl().seed(seed % 2**31)
            for fan_out in self.fan_out.flip(0):
                blocks.append(self._block(heads, fan_out))
                heads = blocks[-1].nodes
        return [block.to(nodes.device) for block in reversed(blocks)]

    def _block(self, heads: Tensor, fan_out: Tensor) -> Block:
        row, run = _ranges(self._runs[heads], self._runs[heads + 1])
        size, limit = self._size[run], fan_out[self._rel[run]]
        drawn = torch.where(limit == ALL, size, torch.minimum(size, limit))
        edge = self._draw(run, limit, drawn)
        row, scale = (torch.repeat_interleave(x, drawn) for x in (row, size / drawn))
        nodes, tail = self._number(heads, row, self._tail[edge])
        return Block(nodes, Adjacency.from_edges(row, tail, (len(heads), len(nodes))), edge.long(), scale)

    def _draw(self, run: Tensor, limit: Tensor, drawn: Tensor) -> Tensor:
        """Edges of each run, in the order of the runs. DGL takes one fan-out per call."""
        dgl = _dgl()
        values = torch.unique(limit).tolist()
        parts = []
        for value in values:
            chosen = run if len(values) == 1 else run[limit == value]
            part = dgl.sampling.sample_neighbors(self._graph, {"run": chosen}, value)
            parts.append(part.edata[dgl.EID])
        if len(parts) == 1:
            return parts[0]
        edge, limit = run.new_empty(int(drawn.sum())), torch.repeat_interleave(limit, drawn)
        for value, part in zip(values, parts, strict=True):
            edge[limit == value] = part
        return edge

    def _number(self, heads: Tensor, row: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """The nodes of a block, heads first, and the place of each tail among them."""
        dgl, heads = _dgl(), heads.to(self._ids)
        block = dgl.to_block(dgl.graph((tail, heads[row]), num_nodes=self._n_nodes), heads)
        return block.srcdata[dgl.NID].long(), block.edges()[0].long()


def fan_out_table(fan_out: FanOut, relations: Sequence[str]) -> Tensor:
    """Fan-outs by layer and relation.

    :return: shape: (L, R'), int64
    :raises ConfigError: an entry names a relation that ``relations`` lacks, or leaves one without a number
    """
    rows = []
    for number, entry in enumerate(fan_out, start=1):
        named = {OTHERS: entry} if isinstance(entry, int) else entry
        if unknown := sorted(set(named) - {OTHERS, *relations}):
            raise ConfigError(
                f"fan_out, layer {number}: the graph has no relation {unknown[0]!r}; it has {', '.join(relations)}, and "
                f"{OTHERS!r} stands for those not named"
            )
        if OTHERS not in named and (left := [name for name in relations if name not in named]):
            raise ConfigError(
                f"fan_out, layer {number}: no number for relation {left[0]!r}; add {OTHERS!r} for the others"
            )
        rows.append([named[name if name in named else OTHERS] for name in relations])
    return torch.tensor(rows, dtype=torch.int64)


def _ranges(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """``start[i]:stop[i]`` for every i, one after the other: i of each number, and the number."""
    count = stop - start
    i = torch.repeat_interleave(torch.arange(len(start)), count)
    return i, torch.arange(len(i), dtype=start.dtype) + (start - count.cumsum(0, dtype=start.dtype) + count)[i]


def _dgl() -> Any:
    """DGL, when it is first needed: its import takes seconds, which training on the full graph need not wait for."""
    from kgrec.graphs.dgl_compat import dgl

    return dgl


@contextmanager
def _one_thread() -> Iterator[None]:
    """DGL gives each thread random numbers of its own, so that with several the draws depend on how many there are."""
    utils = _dgl().utils
    threads = utils.get_num_threads()
    utils.set_num_threads(1)
    try:
        yield
    finally:
        utils.set_num_threads(threads)
