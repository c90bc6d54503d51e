"""Time of every CUDA kernel on this GPU, beside what torch does, and its share of what the device can move or multiply.

    python benchmarks/kernels_cuda.py                # the size of the paper's MovieLens-1M graph
    python benchmarks/kernels_cuda.py --scale 10     # ten times that, so that no table stays in the L2 cache
    python benchmarks/kernels_cuda.py --only softmax

The graph is synthetic: 66,444 nodes and 1.88 M edges (667,414 interactions and 273,547 triples, both ways), degrees by a power law.
Times are medians of single runs, each after the L2 cache was overwritten. Bytes count one read of a row per edge, as the kernels'
files say; where rows are read again from the cache the rate can exceed that of memory. The yardsticks are measured first: a
copy of 1 GiB (bytes read and written) and products of 8192 x 8192 matrices. Without a CUDA device it ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import dropout, leaky_relu, linear

from kgrec.graphs.ops import Adjacency, KGAttention, aggregate
from kgrec.graphs.ops.propagate import Layer, WeightedGraph

USERS, ITEMS, NODES, INTERACTIONS, TRIPLES, RELATIONS, WIDTH = 6040, 3260, 66444, 667_414, 273_547, 49, 64


@dataclass(frozen=True)
class Case:
    """One kernel's work, and other ways to do it."""

    name: str
    ours: Callable[[], Any]
    #: bytes moved at least
    n_bytes: int
    n_flops: int = 0
    #: name -> the same result by torch; ``unlike`` says it is another result, and only its time compares
    rivals: dict[str, Callable[[], Any]] = field(default_factory=dict)
    unlike: bool = False


@dataclass(frozen=True)
class Graph:
    adjacency: Adjacency
    heads: Tensor
    rels: Tensor
    users: Tensor
    n_items: int


def make_graph(scale: float, device: str) -> Graph:
    """The synthetic graph, ``scale`` times the paper's size."""
    draw = torch.Generator().manual_seed(0)
    users, items, nodes, interactions, triples = (
        max(int(scale * n), 8) for n in (USERS, ITEMS, NODES, INTERACTIONS, TRIPLES)
    )
    nodes = max(nodes, users + items + 8)

    def skewed(n: int, count: int, power: float) -> Tensor:
        return (torch.rand(count, generator=draw, dtype=torch.float64) ** power * n).long()

    left = torch.cat([skewed(users, interactions, 2), users + skewed(items, triples, 1)])
    right = torch.cat([users + skewed(items, interactions, 3), users + skewed(nodes - users, triples, 2)])
    kind = torch.cat([torch.zeros(interactions, dtype=torch.int64), 1 + skewed(RELATIONS, triples, 2)])
    heads, tails = torch.cat([left, right]), torch.cat([right, left])
    order = torch.argsort(heads, stable=True)
    rels = torch.cat([kind, kind + RELATIONS + 1])[order]
    adjacency = Adjacency.from_edges(heads[order], tails[order], (nodes, nodes)).to(device)
    return Graph(adjacency, adjacency.heads(), rels.to(device), left[:interactions].to(device), items)


def cases(graph: Graph, width: int = WIDTH, batch: int = 8192, tile: tuple[int, int] = (4096, 8192)) -> list[Case]:
    """Every kernel on the graph.

    :param batch: rows of a training step's look-ups
    :param tile: users and items of a tile of scores
    """
    from kgrec.graphs.ops import cuda

    a, heads, device = graph.adjacency, graph.heads, graph.heads.device
    n, m, tail = a.shape[0], a.n_edges, a.tail.long()
    draw = torch.Generator(device).manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, device=device)

    x, g, w, score, messages = randn(n, width), randn(n, width), randn(m), randn(m), randn(m, width)
    by_tail, x16 = w[a.t_edge], x.bfloat16()
    by_head = torch.stack([heads, tail])
    csr = torch.sparse_csr_tensor(a.indptr.int(), a.tail, w, a.shape, check_invariants=False)
    csr_t = torch.sparse_csr_tensor(a.t_indptr.int(), a.t_head, by_tail, a.shape[::-1], check_invariants=False)
    coo = torch.sparse_coo_tensor(by_head, w, a.shape).coalesce()
    probability = cuda.edge_softmax(a.indptr, score)
    row_bytes, where = 4 * width, heads[:, None].expand(-1, width)

    def zeros(rows: int = n) -> Tensor:
        return torch.zeros(rows, width, device=device)

    def softmax() -> Tensor:
        top = score.new_full((n,), -torch.inf).scatter_reduce(0, heads, score, "amax")
        raised = torch.exp(score - top[heads])
        return raised / score.new_zeros(n).index_add(0, heads, raised)[heads]

    def softmax_backward() -> Tensor:
        total = w.new_zeros(n).index_add(0, heads, probability * w)
        return probability * (w - total[heads])

    lookup, looked = torch.randint(0, n, (batch,), generator=draw, device=device), randn(batch, width)
    place = torch.randperm(m, generator=draw, device=device)
    pair_out = torch.empty(m, device=device)

    def pairs() -> Tensor:
        pair_out[place] = (x[tail] * g[heads]).sum(1)
        return pair_out.clone()

    items = graph.n_items
    keys = torch.unique(graph.users * items + torch.randint(0, items, graph.users.shape, generator=draw, device=device))
    known_ptr = torch.searchsorted(keys, torch.arange(int(graph.users.max()) + 2, device=device) * items)
    low = torch.zeros_like(graph.users)

    def search() -> Tensor:
        out = torch.randint_like(graph.users, items)
        for _ in range(128):
            wanted = graph.users * items + out
            at = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
            known = keys[at] == wanted
            if not known.any():
                break
            out = torch.where(known, torch.randint_like(out, items), out)
        return out

    slope, keep16, scale = 0.01, 58982, 65536 / 58982

    def activate_backward() -> tuple[Tensor, Tensor]:
        return tuple(g * torch.where(t > 0, 1.0, slope) for t in (x, g))  # type: ignore[return-value]

    scores = randn(*tile).bfloat16()
    threshold = scores.float().topk(min(20, tile[1])).values[:, -1].contiguous()
    found = torch.empty(tile[0], 128, dtype=torch.int32, device=device)
    values, count = torch.empty(tile[0], 128, device=device), torch.zeros(tile[0], dtype=torch.int32, device=device)

    def scan() -> None:
        count.zero_()
        cuda.block_topk_scan(scores, 0, threshold, found, values, count)

    n_relations = int(graph.rels.max()) + 1
    relation, matrix = randn(n_relations, width), randn(n_relations, width, width) / width**0.5
    attention = KGAttention(a, graph.rels)
    distinct = sum(len(torch.unique(graph.rels * n + nodes)) for nodes in (heads, tail))

    weighted = WeightedGraph.of(a, probability)
    rows = torch.unique(lookup)
    layers = [
        Layer(*(randn(*shape).div(8).requires_grad_() for shape in ((out, into), (out,), (out, into), (out,))))
        for into, out in ((width, width // 2), (width // 2, width // 4))
    ]
    table = x.clone().requires_grad_()

    def gradients(outputs: list[Tensor]) -> list[Tensor]:
        given = [torch.ones_like(out) for out in outputs]
        return list(torch.autograd.grad(outputs, [table, *(w for layer in layers for w in layer)], given))

    def propagated() -> list[Tensor]:
        return gradients(
            cuda.propagate([weighted] * 2, table, layers, rows, negative_slope=slope, dropout=0.0, seeds=[0, 1])
        )

    def layer_by_layer() -> list[Tensor]:
        outputs, y = [table[rows]], table
        for w1, b1, w2, b2 in layers:
            near = aggregate(a, weighted.weight, y, weighted.by_tail)
            y = leaky_relu(linear(y + near, w1, b1), slope) + leaky_relu(linear(y * near, w2, b2), slope)
            outputs.append(y[rows])
        return gradients(outputs)

    return [
        Case(
            "sum_rows", lambda: cuda.sum_rows(a.indptr, a.tail, w, x), m * (row_bytes + 8) + n * row_bytes, 2 * m * width,
            {
                "torch CSR": lambda: csr @ x,
                "torch COO": lambda: torch.sparse.mm(coo, x),
                "index_add": lambda: zeros().index_add_(0, heads, w[:, None] * x[tail]),
            },
        ),
        Case(
            "sum_rows, transpose", lambda: cuda.sum_rows(a.t_indptr, a.t_head, w, g, a.t_edge),
            m * (row_bytes + 16) + n * row_bytes, 2 * m * width,
            {
                "torch CSR": lambda: csr_t @ g,
                "index_add": lambda: zeros().index_add_(0, tail, w[:, None] * g[heads]),
            },
        ),
        Case(
            "sum_rows, bfloat16", lambda: cuda.sum_rows(a.indptr, a.tail, w, x16, dtype=torch.float32),
            m * (row_bytes // 2 + 8) + n * row_bytes, 2 * m * width,
            {"index_add": lambda: zeros().index_add_(0, heads, w[:, None] * x16[tail])},
        ),
        Case(
            "edge_dots", lambda: cuda.edge_dots(a.indptr, a.tail, g, x), m * (row_bytes + 8) + n * row_bytes, 2 * m * width,
            {"gathered product": lambda: (g[heads] * x[tail]).sum(1)},
        ),
        Case("edge_softmax", lambda: cuda.edge_softmax(a.indptr, score), 8 * (m + n), 0, {"scatter_reduce": softmax}),
        Case(
            "edge_softmax_backward", lambda: cuda.edge_softmax_backward(a.indptr, probability, w), 12 * m + 8 * n, 0,
            {"index_add": softmax_backward},
        ),
        *(
            Case(
                f"segment_reduce, {kind}", lambda kind=kind: cuda.segment_reduce(a.indptr, messages, kind)[0],
                m * row_bytes + n * (row_bytes + 8) + (8 * n * width if kind == "max" else 0), m * width,
                {
                    "scatter_reduce": lambda name=name: zeros().scatter_reduce_(
                        0, where, messages, name, include_self=False
                    )
                },
            )
            for kind, name in (("mean", "mean"), ("max", "amax"))
        ),
        Case(
            "pair_dots", lambda: cuda.pair_dots(x, g, tail, heads, place, pair_out).clone(), m * (2 * row_bytes + 28),
            2 * m * width, {"gathered product": pairs},
        ),
        Case(
            "draw_negatives", lambda: cuda.draw_negatives(graph.users, low, low + items, known_ptr, keys % items, 0),
            40 * len(low), 0, {"searchsorted": search}, unlike=True,
        ),
        Case(
            "scatter_add_rows", lambda: cuda.scatter_add_rows(lookup, looked, n), batch * (row_bytes + 8) + n * row_bytes,
            0, {"index_add": lambda: zeros().index_add_(0, lookup, looked)},
        ),
        Case(
            "bi_activate", lambda: cuda.bi_activate(x, g, slope, keep16, scale, 0), 3 * n * row_bytes, 0,
            {"torch": lambda: dropout(leaky_relu(x, slope) + leaky_relu(g, slope), 0.1)}, unlike=True,
        ),
        Case(
            "bi_activate_backward", lambda: cuda.bi_activate_backward(x, g, g, slope, 65536, 1.0, 0), 5 * n * row_bytes, 0,
            {"torch, no dropout": activate_backward},
        ),
        Case("bi_combine", lambda: cuda.bi_combine(x, g), 4 * n * row_bytes, 0, {"torch": lambda: (x + g, x * g)}),
        Case(
            "block_topk_scan", scan, 2 * scores.numel(), 0, {"topk": lambda: scores.topk(min(20, tile[1]))}, unlike=True
        ),
        Case(
            "attention refresh", lambda: attention(x, relation, matrix), distinct * 2 * row_bytes + m * (2 * row_bytes + 28),
            2 * distinct * width * width + 2 * m * width,
        ),
        Case(
            "propagate, both ways", propagated, 3 * (m * (row_bytes + 8) + n * 7 * row_bytes),
            3 * (2 * m * width + 2 * n * width * width), {"layer by layer": layer_by_layer},
        ),
    ]  # fmt: skip


def seconds(run: Callable[[], Any], flush: Tensor, repeats: int = 20) -> float:
    """Median time of one run on the device, its cache overwritten before."""
    times = []
    for at in range(repeats + 3):
        flush.zero_()
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        torch.cuda.synchronize()
        if at >= 3:
            times.append(start.elapsed_time(stop) / 1000)
    return statistics.median(times)


def yardsticks(flush: Tensor) -> dict[str, float]:
    """What the device does at best: GB/s of a copy and of looking up 256-byte rows at random, TFLOP/s of products."""
    big = torch.empty(1 << 28, device="cuda")
    other, out = torch.empty_like(big), {}
    out["copy GB/s"] = 2 * 4 * big.numel() / seconds(lambda: other.copy_(big), flush) / 1e9
    table = big.view(-1, 64)
    rows = torch.randint(0, len(table), (len(table),), device="cuda")
    gathered = other.view(-1, 64)
    took = seconds(lambda: torch.index_select(table, 0, rows, out=gathered), flush)
    out["row gather GB/s"] = (2 * 4 * big.numel() + 8 * len(rows)) / took / 1e9
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        out[f"{name} TFLOP/s"] = 2 * 8192**3 / seconds(lambda a=a, b=b: a @ b, flush, 10) / 1e12
    return out


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1, help="size of the graph against the paper's")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: the kernels were not measured", file=sys.stderr)
        return 2
    flush = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    peak = yardsticks(flush)
    device = torch.cuda.get_device_properties(0)
    title = f"{device.name}, {device.multi_processor_count} multiprocessors, torch {torch.__version__}: " + ", ".join(
        f"{name} {value:,.0f}" for name, value in peak.items()
    )
    table = Table(
        "kernel", "ms", "GB/s", "of the copy rate", "TFLOP/s", "of fp32 peak", "others, ms (ratio)", title=title
    )
    report: dict[str, Any] = {"device": device.name, "scale": arguments.scale, **peak}
    for case in cases(make_graph(arguments.scale, "cuda")):
        if arguments.only not in case.name:
            continue
        ours = seconds(case.ours, flush)
        rivals = {name: seconds(run, flush) for name, run in case.rivals.items()}
        rate, flops = case.n_bytes / ours / 1e9, case.n_flops / ours / 1e12
        table.add_row(
            case.name, f"{1000 * ours:.3f}", f"{rate:,.0f}", f"{rate / peak['copy GB/s']:.0%}",
            f"{flops:.2f}" if flops else "", f"{flops / peak['fp32 TFLOP/s']:.0%}" if flops else "",
            ", ".join(f"{name} {1000 * took:.3f} ({took / ours:.1f}x)" for name, took in rivals.items()),
        )  # fmt: skip
        report[case.name] = {"ms": 1000 * ours, "GB/s": rate, **{k: 1000 * v for k, v in rivals.items()}}
    Console(width=160).print(table)
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
