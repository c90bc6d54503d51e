"""Time and memory of the graph operators beside RecBole's, DGL's and torch's way to the same result.

    python benchmarks/kernels.py [--only attention --only negatives] [--repeats 7]

The graph is synthetic (seed 0) and of the size Multi-KG4Rec's ML-1M has: 6,039 users, 3,588 items, 56,817 further entities,
672,850 training interactions and 273,547 triples, both stored both ways: 66,444 nodes, 1.89 M edges, 100 relations; activity
of users, popularity of items and use of entities fall off as powers of the rank. Vectors are 64 wide.

``RecBole`` is what RecBole 1.2.1 does for the same result: COO matrices and ``torch.sparse.softmax``, a loop over relations that
projects both ends of every edge, a sampler that looks into one Python set per draw. It is written anew here from its description.

All ways of a kernel run by turns, ``--repeats`` times; the least time counts. ``times ours`` is how much longer a way takes.
The bound is bytes over the measured memory rate and operations over the measured rate of products, both from this run; ``of
bound`` is bound over time. ``extra MB`` is the peak of resident memory in one call, less what was there before and less what
the call returns (it needs Linux). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from kgrec.graphs.dgl_compat import dgl
from kgrec.graphs.ops import (
    Adjacency,
    KGAttention,
    NegativeItems,
    aggregate,
    bi_interaction,
    edge_softmax,
    gather_rows,
    negatives,
    reference,
    relation_project,
)  # fmt: skip
from kgrec.graphs.ops.segment import segment_reduce

USERS, ITEMS, ENTITIES, TRAIN, TRIPLES, RELATIONS = 6_039, 3_588, 56_817, 672_850, 273_547, 49
NODES, WIDTH = USERS + ITEMS + ENTITIES, 64
DRAWS, BATCH = 1_000_000, 3 * 5120
OURS, RECBOLE, DGL, TORCH = "ours", "RecBole", "DGL", "torch"
MEMORY_GOAL_MB = 150

Way = Callable[[], Any]


@dataclass
class Case:
    """One kernel, the ways to its result, and what is asked of ours."""

    name: str
    ways: dict[str, Way]
    #: milliseconds no implementation can go below on this machine
    bound: float
    #: RecBole's time over ours that is asked for, and aimed at
    goal: float | None = None
    aim: float | None = None
    #: results of the ways agree to this share of the largest number; None: they are random
    tolerance: float | None = 1e-4
    times: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


@dataclass
class World:
    """The graph, seeded numbers for it, and the rates of the machine."""

    heads: Tensor
    tails: Tensor
    rels: Tensor
    adjacency: Adjacency
    x: Tensor
    weight: Tensor
    rates: dict[str, float]

    @classmethod
    def make(cls, repeats: int) -> World:
        heads, tails, rels = make_graph(np.random.default_rng(0))
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(NODES, WIDTH, generator=generator) / 8
        weight = torch.rand(len(heads), generator=generator)
        adjacency = Adjacency.from_edges(heads, tails, (NODES, NODES))
        return cls(heads, tails, rels, adjacency, x, weight, machine_rates(adjacency, x, repeats))

    def ms(self, *, copied: float = 0, rows: float = 0, flops: float = 0) -> float:
        """Least time for bytes read or written in order, bytes read as random rows, and operations of products.

        What fits the processor's caches is held to the rate there, more to that of memory.
        """
        copy = self.rates["copy_GBps" if copied < 64e6 else "copy_256MB_GBps"]
        return copied / copy / 1e6 + rows / self.rates["rows_GBps"] / 1e6 + flops / self.rates["product_GFLOPs"] / 1e6


def make_graph(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Heads, tails and relations, sorted by head."""
    users, items = _pairs(rng, _ranks(rng, USERS, 0.9, 60), _ranks(rng, ITEMS, 0.9, 120), TRAIN)
    items = items + USERS
    parts = [(users, items, 0), (items, users, RELATIONS + 1)]
    share = _ranks(rng, RELATIONS, 1.0, 1)
    sizes = np.maximum((share / share.sum() * TRIPLES).astype(np.int64), 10)
    sizes[sizes.argmax()] += TRIPLES - sizes.sum()
    for r, size in enumerate(sizes.tolist(), start=1):
        entities = rng.permutation(ENTITIES)[: max(5, min(ENTITIES, int(0.4 * size)))]
        item, at = _pairs(rng, _ranks(rng, ITEMS, 0.5, 10), _ranks(rng, len(entities), 0.8, 5), size)
        item, entity = item + USERS, entities[at] + USERS + ITEMS
        parts += [(item, entity, r), (entity, item, RELATIONS + 1 + r)]
    heads, tails = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    rels = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
    order = np.lexsort((tails, rels, heads))
    heads, tails, rels = (torch.from_numpy(one[order].astype(np.int64)) for one in (heads, tails, rels))
    return heads, tails, rels


def _ranks(rng: np.random.Generator, n: int, power: float, offset: float) -> np.ndarray:
    """Weights that fall off as a power of the rank, shuffled."""
    return rng.permutation((np.arange(n) + offset) ** -power)


def _pairs(rng: np.random.Generator, left: np.ndarray, right: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """``n`` distinct pairs, each side drawn by its weights."""
    sums = [np.cumsum(one / one.sum()) for one in (left, right)]
    keys = np.empty(0, np.int64)
    while len(keys) < n:
        more = int(1.3 * (n - len(keys))) + 16
        a, b = (np.searchsorted(one, rng.random(more)).clip(max=len(one) - 1) for one in sums)
        keys = np.unique(np.concatenate([keys, a * len(right) + b]))
    a, b = np.divmod(rng.permutation(keys)[:n], len(right))
    return a, b


@numba.njit(parallel=True, fastmath=True)
def _read_rows(column, x, out):
    for chunk in numba.prange(len(out)):
        total = out[chunk]
        for e in range(len(column) * chunk // len(out), len(column) * (chunk + 1) // len(out)):
            row = x[column[e]]
            for j in range(len(row)):
                total[j] += row[j]


def machine_rates(adjacency: Adjacency, x: Tensor, repeats: int) -> dict[str, float]:
    """GB/s and GFLOP/s, the best of ``repeats``."""
    large, edges = torch.ones(64 * 2**20), torch.ones(adjacency.n_edges)
    out, square, block = torch.empty_like(large), torch.rand(2048, 2048), torch.rand(8192, WIDTH)
    small, sums = torch.empty_like(edges), torch.zeros(64, WIDTH)
    tail = adjacency.tail.numpy()
    made, narrow = torch.empty_like(square), torch.empty_like(block)

    def least(call: Way, times: int) -> float:
        call()
        return min(seconds(call) for _ in range(times))

    return {
        "copy_256MB_GBps": 2 * large.nbytes / least(lambda: out.copy_(large), repeats) / 1e9,
        "copy_GBps": 2 * edges.nbytes / least(lambda: small.copy_(edges), 5 * repeats) / 1e9,
        "rows_GBps": len(tail) * x.shape[1] * 4
        / least(lambda: _read_rows(tail, x.numpy(), sums.numpy()), repeats) / 1e9,
        "product_GFLOPs": 2 * 2048**3 / least(lambda: torch.mm(square, square, out=made), repeats) / 1e9,
        "product_64_GFLOPs": 2 * 8192 * WIDTH**2
        / least(lambda: torch.mm(block, square[:WIDTH, :WIDTH], out=narrow), 5 * repeats) / 1e9,
    }  # fmt: skip


def coo(world: World, values: Tensor, order: Tensor | None = None) -> Tensor:
    """The graph as RecBole's sparse matrix; its edges lie in ``order``."""
    index = torch.stack([world.heads, world.tails])
    index, values = (index, values) if order is None else (index[:, order], values[order])
    return torch.sparse_coo_tensor(index, values, (NODES, NODES), check_invariants=False)


def as_dgl(world: World) -> Any:
    """The graph as DGL's, with messages from tail to head."""
    graph = dgl.graph((world.tails, world.heads), num_nodes=NODES)
    graph.create_formats_()
    return graph


def with_gradient(call: Callable[[Tensor], Tensor], x: Tensor) -> Way:
    """Forward and backward in ``x``."""

    def run() -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        out = call(leaf)
        (grad,) = torch.autograd.grad(out, leaf, out.detach())
        return out.detach(), grad

    return run


def aggregate_cases(world: World) -> list[Case]:
    """Weighted neighbour aggregation, with weights that stay constant for an epoch and with learnable ones."""
    a, x, w = world.adjacency, world.x, world.weight
    m, d = a.n_edges, WIDTH
    by_tail, matrix, graph = w[a.t_edge], coo(world, w).coalesce(), as_dgl(world)
    csr = matrix.to_sparse_csr()

    def by_dgl(x: Tensor, w: Tensor = w) -> Tensor:
        return dgl.ops.u_mul_e_sum(graph, x, w[:, None])

    def learnable(function: Callable[[Tensor, Tensor], Tensor]) -> Way:
        def run() -> tuple[Tensor, ...]:
            leaves = w.detach().requires_grad_(), x.detach().requires_grad_()
            out = function(*leaves)
            return out.detach(), *torch.autograd.grad(out, leaves, out.detach())

        return run

    forward = world.ms(rows=4.0 * m * d, copied=8.0 * m + 4.0 * NODES * d)
    return [
        Case(
            "aggregate forward",
            {
                OURS: lambda: aggregate(a, w, x, by_tail),
                RECBOLE: lambda: torch.sparse.mm(matrix, x),
                DGL: lambda: by_dgl(x),
                TORCH: lambda: csr @ x,
            },
            forward, goal=7,
        ),
        Case(
            "aggregate forward and backward",
            {
                OURS: with_gradient(lambda x: aggregate(a, w, x, by_tail), x),
                RECBOLE: with_gradient(lambda x: torch.sparse.mm(matrix, x), x),
                DGL: with_gradient(by_dgl, x),
                TORCH: with_gradient(lambda x: reference.aggregate(a, w, x), x),
            },
            2 * forward, goal=6,
        ),
        Case(
            "aggregate, learnable weights, both ways",
            {
                OURS: learnable(lambda w, x: aggregate(a, w, x)),
                DGL: learnable(lambda w, x: by_dgl(x, w)),
                TORCH: learnable(lambda w, x: reference.aggregate(a, w, x)),
            },
            3 * forward,
        ),
    ]  # fmt: skip


def edge_softmax_cases(world: World) -> list[Case]:
    """Edge softmax; RecBole's sparse matrix holds the edges relation by relation, as its refresh leaves them."""
    a, graph = world.adjacency, as_dgl(world)
    score = torch.randn(a.n_edges, generator=torch.Generator().manual_seed(1))
    matrix = coo(world, score, torch.argsort(world.rels, stable=True))
    distinct = len(torch.unique(world.heads * NODES + world.tails)) == a.n_edges

    def by_recbole() -> Tensor:
        return torch.sparse.softmax(matrix, 1)

    return [
        Case(
            "edge softmax forward",
            {
                OURS: lambda: edge_softmax(a, score),
                RECBOLE: by_recbole,
                DGL: lambda: dgl.nn.functional.edge_softmax(graph, score),
                TORCH: lambda: reference.edge_softmax(a, score),
            },
            world.ms(copied=8.0 * a.n_edges), goal=14, aim=39, tolerance=1e-4 if distinct else None,
        ),
        Case(
            "edge softmax forward and backward",
            {
                OURS: with_gradient(lambda s: edge_softmax(a, s), score),
                DGL: with_gradient(lambda s: dgl.nn.functional.edge_softmax(graph, s), score),
                TORCH: with_gradient(lambda s: reference.edge_softmax(a, s), score),
            },
            world.ms(copied=20.0 * a.n_edges),
        ),
    ]  # fmt: skip


def attention_cases(world: World) -> list[Case]:
    """The refresh of all attention weights, and what is prepared for it once per graph."""
    a, x, n = world.adjacency, world.x, 2 * RELATIONS + 2
    generator = torch.Generator().manual_seed(2)
    relation, matrix = (torch.randn(n, WIDTH, *more, generator=generator) / 8 for more in ((), (WIDTH,)))
    attention, graph = KGAttention(a, world.rels), as_dgl(world)
    by_relation = matrix.transpose(1, 2).contiguous()
    pairs = len(torch.unique(world.rels * NODES + world.heads))

    def by_recbole() -> Tensor:
        scores, edges = [], []
        for r in range(n):
            edge = torch.where(world.rels == r)[0]
            head, tail = (x[nodes[edge]] @ by_relation[r] for nodes in (world.heads, world.tails))
            scores.append((tail * torch.tanh(head + relation[r])).sum(1))
            edges.append(torch.stack([world.heads[edge], world.tails[edge]]))
        shape = (NODES, NODES)
        return torch.sparse.softmax(
            torch.sparse_coo_tensor(torch.cat(edges, 1), torch.cat(scores), shape, check_invariants=False), 1
        )

    def by_dgl() -> Tensor:
        head, tail = (
            dgl.ops.gather_mm(x[nodes], by_relation, idx_b=world.rels) for nodes in (world.heads, world.tails)
        )
        return dgl.nn.functional.edge_softmax(graph, (tail * torch.tanh(head + relation[world.rels])).sum(1))

    return [
        Case(
            "attention refresh",
            {OURS: lambda: attention(x, relation, matrix), RECBOLE: by_recbole, DGL: by_dgl},
            world.ms(flops=4.0 * pairs * WIDTH**2, rows=4.0 * a.n_edges * WIDTH, copied=8.0 * a.n_edges),
            goal=11, aim=17.7, tolerance=None,
        ),
        Case("attention, prepared once", {OURS: lambda: KGAttention(a, world.rels)}, math.nan),
    ]  # fmt: skip


def negatives_cases(world: World) -> list[Case]:
    """A million items outside their users' training items, by a bit for every pair and by sorted search."""
    inter = world.rels == 0
    users, items = world.heads[inter], world.tails[inter] - USERS
    at = torch.randint(len(users), (DRAWS,), generator=torch.Generator().manual_seed(3))
    batch = users[at]
    bits = NegativeItems(users, items, USERS, ITEMS)
    limit, negatives.BITMAP_BYTES = negatives.BITMAP_BYTES, 0
    sorted_search = NegativeItems(users, items, USERS, ITEMS)
    negatives.BITMAP_BYTES = limit
    used: list[set[int]] = [set() for _ in range(USERS)]
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        used[user].add(item)
    sets, rng = np.array(used), np.random.default_rng(0)
    keys = torch.sort(users * ITEMS + items).values

    def by_recbole() -> np.ndarray:
        rows, drawn = batch.numpy(), np.zeros(DRAWS, np.int64)
        open_ = np.arange(DRAWS)
        while len(open_):
            drawn[open_] = rng.integers(0, ITEMS, len(open_))
            open_ = np.array(
                [i for i, one, value in zip(open_, sets[rows[open_]], drawn[open_], strict=True) if value in one],
                dtype=np.int64,
            )
        return drawn

    def by_torch() -> Tensor:
        drawn, open_ = torch.empty(DRAWS, dtype=torch.int64), torch.arange(DRAWS)
        while len(open_):
            value = torch.randint(ITEMS, (len(open_),))
            key = batch[open_] * ITEMS + value
            known = keys[torch.searchsorted(keys, key).clamp(max=len(keys) - 1)] == key
            drawn[open_] = value
            open_ = open_[known]
        return drawn

    return [
        Case(
            f"negatives, {DRAWS:,} draws",
            {
                OURS: lambda: bits.draw(batch, 1), RECBOLE: by_recbole, TORCH: by_torch,
                "ours, sorted search": lambda: sorted_search.draw(batch, 1),
            },
            world.ms(copied=(64 + 16.0) * DRAWS), goal=30, tolerance=None,
        )
    ]  # fmt: skip


def segment_cases(world: World) -> list[Case]:
    """Sums and maxima of 16 columns over the edges of each head, forward and backward."""
    indptr, width = world.adjacency.indptr, 16
    sizes = indptr.diff()
    x = torch.randn(world.adjacency.n_edges, width, generator=torch.Generator().manual_seed(4))
    bound = world.ms(copied=2 * 4.0 * width * (len(x) + NODES))

    def case(kind: Any) -> Case:
        ways = {
            OURS: with_gradient(lambda x: segment_reduce(indptr, x, kind), x),
            DGL: with_gradient(lambda x: dgl.ops.segment_reduce(sizes, x, kind), x),
            TORCH: with_gradient(lambda x: reference.segment_reduce(indptr, x, kind), x),
        }
        # DGL's maximum of nothing is not zero
        return Case(f"segment {kind}, both ways", ways, bound, tolerance=1e-4 if kind == "sum" else None)

    return [case("sum"), case("max")]


def project_cases(world: World) -> list[Case]:
    """Projection of the nodes of a batch of 5,120 triples, forward and backward."""
    generator = torch.Generator().manual_seed(5)
    n = 2 * RELATIONS + 2
    rels = world.rels[torch.randint(len(world.rels), (BATCH,), generator=generator)].sort().values
    sizes = torch.bincount(rels, minlength=n)
    bounds = [0, *sizes.cumsum(0).tolist()]
    x, matrix = torch.randn(BATCH, WIDTH, generator=generator), torch.randn(n, WIDTH, WIDTH, generator=generator) / 8

    def both(call: Callable[[Tensor, Tensor], Tensor]) -> Way:
        def run() -> tuple[Tensor, ...]:
            leaves = x.detach().requires_grad_(), matrix.detach().requires_grad_()
            out = call(*leaves)
            return out.detach(), *torch.autograd.grad(out, leaves, out.detach())

        return run

    return [
        Case(
            "relation projection, both ways",
            {
                OURS: both(lambda x, matrix: relation_project(x, matrix, bounds)),
                RECBOLE: both(lambda x, matrix: torch.bmm(matrix[rels], x[:, :, None])[:, :, 0]),
                DGL: both(lambda x, matrix: dgl.ops.segment_mm(x, matrix.transpose(1, 2).contiguous(), sizes)),
            },
            world.ms(flops=6.0 * BATCH * WIDTH**2), tolerance=1e-3,
        )
    ]  # fmt: skip


def lookup_cases(world: World) -> list[Case]:
    """Looking up the users and items of a batch of 5,120, forward and backward."""
    index = torch.randint(USERS + ITEMS, (BATCH,), generator=torch.Generator().manual_seed(6))
    return [
        Case(
            "lookup, both ways",
            {
                OURS: with_gradient(lambda x: gather_rows(x, index), world.x),
                RECBOLE: with_gradient(lambda x: F.embedding(index, x), world.x),
                TORCH: with_gradient(lambda x: x[index], world.x),
            },
            world.ms(copied=4.0 * WIDTH * (5 * BATCH + NODES)),
        )
    ]


def bi_interaction_cases(world: World) -> list[Case]:
    """One layer over all nodes, dropout .1, forward and backward in the node vectors and all weights."""
    h = world.x
    n = torch.randn(NODES, WIDTH, generator=torch.Generator().manual_seed(7)) / 8
    torch.manual_seed(0)
    linear = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    weights = [one for layer in linear for one in (layer.weight, layer.bias)]

    def both(call: Callable[[Tensor, Tensor], Tensor]) -> Way:
        def run() -> tuple[Tensor, ...]:
            leaves = h.detach().requires_grad_(), n.detach().requires_grad_()
            out = call(*leaves)
            return out.detach(), *torch.autograd.grad(out, [*leaves, *weights], out.detach())

        return run

    def plain(h: Tensor, n: Tensor) -> Tensor:
        return F.dropout(F.leaky_relu(linear[1](h * n)) + F.leaky_relu(linear[0](h + n)), 0.1)

    return [
        Case(
            "bi-interaction, both ways",
            {OURS: both(lambda h, n: bi_interaction(h, n, *weights, dropout=0.1, seed=1)), RECBOLE: both(plain)},
            world.ms(flops=12.0 * NODES * WIDTH**2, copied=4.0 * NODES * WIDTH * 6), tolerance=None,
        )
    ]  # fmt: skip


GROUPS: dict[str, Callable[[World], list[Case]]] = {
    "aggregate": aggregate_cases,
    "softmax": edge_softmax_cases,
    "attention": attention_cases,
    "negatives": negatives_cases,
    "segment": segment_cases,
    "project": project_cases,
    "lookup": lookup_cases,
    "bi_interaction": bi_interaction_cases,
}


def seconds(call: Way) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(case: Case, repeats: int) -> None:
    """Fill in the times and the memory of a case, and look whether its ways agree."""
    results = {name: _numbers(call()) for name, call in case.ways.items()}
    if case.tolerance is not None and results[OURS] is not None:
        for name, result in results.items():
            error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(result, results[OURS], strict=True))
            if error > case.tolerance:
                raise SystemExit(f"{case.name}: {name} differs from ours by {error:.2g} of the largest number")
    results.clear()
    case.memory = {name: extra_memory(call) for name, call in case.ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in case.ways}
    for turn in range(repeats):
        for name, call in case.ways.items():
            if turn < 2 or name == OURS or sum(taken[name]) < 6:  # slow ways need no more than a few seconds
                taken[name].append(seconds(call))
    case.times = {name: 1e3 * min(values) for name, values in taken.items()}


def _numbers(result: Any) -> Any:
    """The tensors of a result in one order, or None where it is no tensor."""
    result = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(one, Tensor) for one in result):
        return None
    return [one.detach().coalesce().values() if one.is_sparse else one.detach() for one in result]


def extra_memory(call: Way) -> float:
    """Peak of a call's memory beside what was there before and what it returns, in MB; NaN where it cannot be told."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return math.nan
    before = _status("VmRSS")
    result = call()
    peak = _status("VmHWM")
    returned = sum(_bytes(one) for one in (result if isinstance(result, tuple) else (result,)))
    return max(0.0, (peak - before) / 1e3 - returned / 1e6)


def _status(name: str) -> float:
    """A figure of this process's memory, in kB of 1,000 bytes."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1.024


def _bytes(one: Any) -> int:
    if isinstance(one, Tensor) and one.is_sparse:
        return one._values().nbytes + one._indices().nbytes
    return int(getattr(one, "nbytes", 0))


def show(cases: Sequence[Case], rates: dict[str, float], console: Console) -> None:
    """Print the table."""
    console.print(
        f"{numba.get_num_threads()} threads; copy {rates['copy_GBps']:.0f} GB/s ({rates['copy_256MB_GBps']:.0f} with 256 MB), "
        f"random rows {rates['rows_GBps']:.0f} GB/s, products {rates['product_GFLOPs']:.0f} GFLOP/s "
        f"({rates['product_64_GFLOPs']:.0f} where 64 wide). Synthetic graph: {NODES:,} nodes, width {WIDTH}."
    )
    table = Table("kernel", "way")
    for column in ("ms", "times ours", "of bound", "extra MB", "goal", "met"):
        table.add_column(column, justify="right")
    for case in cases:
        for name, ms in case.times.items():
            ours = name == OURS
            goal = (f"{case.goal:g}x" + (f" ({case.aim:g}x)" if case.aim else "")) if ours and case.goal else ""
            table.add_row(
                case.name if ours else "", name, f"{ms:.2f}", f"{ms / case.times[OURS]:.1f}",
                "" if math.isnan(case.bound) else f"{case.bound / ms:.0%}", f"{case.memory[name]:.0f}",
                goal, verdict(case) if ours else "", end_section=name == list(case.times)[-1],
            )  # fmt: skip
    console.print(table)


def verdict(case: Case) -> str:
    """Whether speed and memory are as asked."""
    light = not case.memory[OURS] > MEMORY_GOAL_MB
    if case.goal is None:
        return "" if light else "memory no"
    ratio = case.times[RECBOLE] / case.times[OURS]
    fast = "no" if ratio < case.goal else "aim" if case.aim and ratio >= case.aim else "yes"
    return fast if light else f"{fast}, memory no"


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=list(GROUPS), help="this group of kernels; may be repeated")
    options.add_argument("--repeats", type=int, default=7)
    given = options.parse_args()
    world = World.make(given.repeats)
    cases: list[Case] = []
    for name in given.only or GROUPS:
        for case in GROUPS[name](world):
            measure(case, given.repeats)
            case.ways = {}  # lets go of what the ways hold
            cases.append(case)
    show(cases, world.rates, Console(width=120))
    row = {
        case.name: {
            "ms": case.times, "bound_ms": None if math.isnan(case.bound) else case.bound,
            "extra_MB": {name: None if math.isnan(mb) else mb for name, mb in case.memory.items()},
            "goal": case.goal, "aim": case.aim, "met": verdict(case),
            "ratio": case.times[RECBOLE] / case.times[OURS] if RECBOLE in case.times else None,
        }
        for case in cases
    }  # fmt: skip
    print(json.dumps({"synthetic": True, "threads": numba.get_num_threads(), "rates": world.rates, "kernels": row}))


if __name__ == "__main__":
    main()
