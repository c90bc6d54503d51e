"""Checks of the CUDA kernels, on any device that can run them: ``test_cuda.py`` runs them on the CPU in Triton's interpreter,
``test_cuda_device.py`` on a GPU. Each kernel against kgrec's CPU kernel, or a plain torch formula on the edge list.

Rows have 0, 1, a few and more than ``SEGMENT`` edges, edges repeat, and widths are no powers of two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from kgrec.graphs.ops import Adjacency, NegativeItems, NegativeTails, aggregate, bi_interaction, edge_softmax
from kgrec.graphs.ops.propagate import Layer, WeightedGraph, propagate

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
N, C = 12, 9
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}

pytestmark = [
    pytest.mark.skipif(not INTERPRETED, reason="runs inside test_cuda.py"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),  # in lanes that are masked off
]


@pytest.fixture(scope="module")
def device() -> str:
    return "cpu"


@pytest.fixture(scope="module")
def cuda():
    from kgrec.graphs.ops import cuda

    return cuda


def rand(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@dataclass(frozen=True)
class Graph:
    adjacency: Adjacency
    heads: Tensor


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Rows of 256 and 257 edges lie on both sides of the split, one of 600 takes three pieces; parallel edges abound."""
    degree = torch.tensor([0, 3, 600, 1, 0, 256, 40, 257, 2, 33, 31, 0])
    heads = torch.repeat_interleave(torch.arange(N), degree)
    tails = torch.randint(0, C - 1, (len(heads),), generator=torch.Generator().manual_seed(1))
    return Graph(Adjacency.from_edges(heads, tails, (N, C)), heads)


@pytest.fixture(scope="module")
def nothing() -> Graph:
    empty = torch.zeros(0, dtype=torch.int64)
    return Graph(Adjacency.from_edges(empty, empty, (N, C)), empty)


def close(ours: Tensor, expected: Tensor, dtype: torch.dtype | None = None) -> None:
    tolerance = TOLERANCE[dtype or ours.dtype]
    torch.testing.assert_close(ours.cpu().double(), expected.double(), rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize(
    ("dtype", "index"),
    [
        (torch.float32, torch.int32),
        (torch.float32, torch.int64),
        (torch.float64, torch.int64),
        (torch.bfloat16, torch.int32),
    ],
)
def test_sum_rows_equals_index_add(cuda, device, graph, dtype, index) -> None:
    a, w, x = graph.adjacency.to(device), rand(len(graph.heads), dtype=dtype), rand(C, 19, dtype=dtype, seed=1)
    messages = w.double()[:, None] * x.double()[graph.adjacency.tail.long()]
    expected = torch.zeros(N, 19, dtype=torch.float64).index_add(0, graph.heads, messages)
    ours = cuda.sum_rows(a.indptr.to(index), a.tail.to(index), w.to(device), x.to(device))
    close(ours, expected)
    assert ours.dtype == dtype
    assert torch.equal(ours[[0, 4, 11]].cpu(), torch.zeros(3, 19, dtype=dtype))


def test_sum_rows_equals_the_cpu_kernel_both_ways(cuda, device, graph) -> None:
    a, there = graph.adjacency, graph.adjacency.to(device)
    w, x, g = rand(a.n_edges), rand(C, 130, seed=1).requires_grad_(), rand(N, 130, seed=2)
    cpu = aggregate(a, w, x)
    cpu.backward(g)
    close(cuda.sum_rows(there.indptr, there.tail, w.to(device), x.detach().to(device)), cpu.detach())
    ours = cuda.sum_rows(there.t_indptr, there.t_head, w.to(device), g.to(device), there.t_edge)
    close(ours, x.grad)
    assert not ours[C - 1].any()  # no edge has that tail


def test_sum_rows_of_some_rows(cuda, device, graph) -> None:
    a, w, x = graph.adjacency.to(device), rand(len(graph.heads)).to(device), rand(C, 19, seed=1).to(device)
    rows = torch.tensor([0, 1, 7, 2, 9], device=device)
    ours = cuda.sum_rows(a.indptr, a.tail, w, x, rows=rows)
    assert torch.equal(ours, cuda.sum_rows(a.indptr, a.tail, w, x)[rows])


def test_propagation_equals_the_cpus_both_ways(cuda, device, graph) -> None:
    """Two layers with dropout; the last for three rows, and the CPU's fused kernels want widths of 32 and 16."""
    generator = torch.Generator().manual_seed(3)
    heads = torch.cat([graph.heads, torch.randint(0, 40, (60,), generator=generator)]).sort().values
    adjacency = Adjacency.from_edges(heads, torch.randint(0, 40, (len(heads),), generator=generator), (40, 40))
    shapes = ((32, 32), (32,), (32, 32), (32,)), ((16, 32), (16,), (16, 32), (16,))
    seed, rows = 2**64 - 5, torch.tensor([2, 8, 39])
    results = []
    for run, to in ((propagate, "cpu"), (cuda.propagate, device)):
        x, *flat = (
            rand(*shape, seed=number).div(4).to(to).requires_grad_()
            for number, shape in enumerate([(40, 32), *shapes[0], *shapes[1]])
        )
        graphs = [WeightedGraph.of(adjacency.to(to), rand(len(heads), seed=9).abs().div(8).to(to))] * 2
        layers = [Layer(*flat[:4]), Layer(*flat[4:])]
        out = run(graphs, x, layers, rows.to(to), negative_slope=0.2, dropout=0.2, seeds=[7, seed])
        sum((t * rand(*t.shape, seed=5).to(to)).sum() for t in out).backward()
        results.append([*(t.detach() for t in out), *(t.grad for t in (x, *flat))])
    assert len(results[0]) == 3 + 9
    for mine, theirs in zip(results[1], results[0], strict=True):
        close(mine, theirs)


def test_bfloat16_rows_are_summed_in_float32(cuda, device) -> None:
    """600 ones: in bfloat16 a running sum would stop at 256."""
    indptr, column = torch.tensor([0, 600]), torch.zeros(600, dtype=torch.int32)
    x = torch.ones(1, 16, dtype=torch.bfloat16)
    wide = cuda.sum_rows(indptr.to(device), column.to(device), None, x.to(device), dtype=torch.float32)
    assert torch.equal(wide.cpu(), torch.full((1, 16), 600.0))


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 150), (torch.float64, 35)])
def test_edge_dots_equal_the_gathered_product(cuda, device, graph, dtype, width) -> None:
    a, g, x = graph.adjacency.to(device), rand(N, width, dtype=dtype), rand(C, width, dtype=dtype, seed=1)
    expected = (g[graph.heads] * x[graph.adjacency.tail.long()]).sum(1)
    close(cuda.edge_dots(a.indptr, a.tail, g.to(device), x.to(device)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edge_softmax_equals_the_cpu_kernel_both_ways(cuda, device, graph, dtype) -> None:
    score = (rand(len(graph.heads), dtype=dtype) * 30).requires_grad_()
    g, indptr = rand(len(graph.heads), dtype=dtype, seed=1), graph.adjacency.indptr.to(device)
    cpu = edge_softmax(graph.adjacency, score)
    cpu.backward(g)
    ours = cuda.edge_softmax(indptr, score.detach().to(device))
    close(ours, cpu.detach())
    close(cuda.edge_softmax_backward(indptr, ours, g.to(device)), score.grad)
    sums = torch.zeros(N, dtype=torch.float64).index_add(0, graph.heads, ours.cpu().double())
    torch.testing.assert_close(sums[graph.heads], torch.ones(len(graph.heads), dtype=torch.float64), rtol=0, atol=1e-5)


def test_edge_softmax_of_scores_of_minus_infinity(cuda, device, graph) -> None:
    """A whole piece of a long row may have no finite score."""
    score = rand(len(graph.heads))
    score[5:400] = -torch.inf
    expected = torch.zeros_like(score)
    for row in range(N):
        here = graph.heads == row
        expected[here] = torch.softmax(score[here], 0)
    close(cuda.edge_softmax(graph.adjacency.indptr.to(device), score.to(device)), expected)


@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_segment_reduce_equals_scatter_reduce_both_ways(cuda, device, graph, kind, dtype) -> None:
    x = rand(len(graph.heads), 19, dtype=dtype).requires_grad_()
    g, indptr = rand(N, 19, dtype=dtype, seed=1), graph.adjacency.indptr.to(device)
    where, name = graph.heads[:, None].expand(-1, 19), {"sum": "sum", "mean": "mean", "max": "amax"}[kind]
    expected = torch.zeros(N, 19, dtype=dtype).scatter_reduce(0, where, x, name, include_self=False)
    expected.backward(g)
    ours, place = cuda.segment_reduce(indptr, x.detach().to(device), kind)
    close(ours, expected.detach())
    close(cuda.segment_reduce_backward(indptr, g.to(device), kind, place, len(x)), x.grad)
    assert kind != "max" or torch.equal(place[[0, 4, 11]].cpu(), torch.full((3, 19), -1))


def test_of_equal_maxima_the_first_counts(cuda, device, graph) -> None:
    x = torch.zeros(len(graph.heads), 5)
    _, place = cuda.segment_reduce(graph.adjacency.indptr.to(device), x.to(device), "max")
    first = graph.adjacency.indptr[:-1]
    filled = graph.adjacency.indptr.diff() > 0
    assert torch.equal(place.cpu()[filled], first[filled][:, None].expand(-1, 5))


def test_a_nan_is_the_maximum(cuda, device, graph) -> None:
    x = rand(len(graph.heads), 5)
    x[[400, 500], 1], x[3:603, 2] = torch.nan, -torch.inf  # edges 3 to 602 are row 2
    ours, place = cuda.segment_reduce(graph.adjacency.indptr.to(device), x.to(device), "max")
    assert torch.isnan(ours[2, 1])
    assert int(place[2, 1]) == 400
    assert (float(ours[2, 2]), int(place[2, 2])) == (-torch.inf, 3)
    assert int(torch.isnan(ours).sum()) == 1


def test_pair_dots_equal_the_gathered_product(cuda, device) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = rand(7, 35), rand(5, 35, seed=1)
    i, j = (torch.randint(0, n, (300,), generator=generator, dtype=torch.int32) for n in (7, 5))
    edge, out = torch.randperm(310, generator=generator)[:300], torch.full((310,), 7.0)
    expected = out.clone()
    expected[edge] = (left[i.long()] * right[j.long()]).sum(1)
    ours = cuda.pair_dots(*(t.to(device) for t in (left, right, i, j, edge, out)))
    close(ours, expected)


def known(rows: Tensor, values: Tensor, n_rows: int, n_values: int) -> tuple[Tensor, Tensor]:
    """Bounds of each row and its sorted distinct values."""
    keys = torch.unique(rows * n_values + values)
    return torch.searchsorted(keys, torch.arange(n_rows + 1) * n_values), keys % n_values


@pytest.mark.parametrize("seed", [0, 2**63 + 11, 2**64 - 1])
def test_negatives_are_the_cpus(cuda, device, seed) -> None:
    """User 0 has seen half of the items, user 1 five, user 2 none; a block of draws is 128."""
    users = torch.cat([torch.zeros(20, dtype=torch.int64), torch.ones(5, dtype=torch.int64)])
    items = torch.cat([torch.arange(20) * 2, torch.arange(5) * 7])
    rows = torch.arange(200) % 3
    low = torch.zeros_like(rows)
    ours = cuda.draw_negatives(*(t.to(device) for t in (rows, low, low + 40, *known(users, items, 3, 40))), seed).cpu()
    assert torch.equal(ours, NegativeItems(users, items, 3, 40).draw(rows, seed))
    assert not (ours[rows == 0] % 2 == 0).any()


def test_a_row_that_knows_everything_keeps_the_last_try(cuda, device) -> None:
    user, rows = torch.zeros(3, dtype=torch.int64), torch.zeros(20, dtype=torch.int64)
    ours = cuda.draw_negatives(*(t.to(device) for t in (rows, rows, rows + 3, *known(user, torch.arange(3), 1, 3))), 5)
    assert torch.equal(ours.cpu(), NegativeItems(user, torch.arange(3), 1, 3).draw(rows, 5))


def test_false_tails_are_the_cpus(cuda, device, graph) -> None:
    """Candidates of a triple are a range of nodes that depends on its head and tail."""
    few = (graph.heads != 2) & (graph.heads != 5) & (graph.heads != 7)
    heads, tails = graph.heads[few], graph.adjacency.tail.long()[few]
    low = torch.where(tails < 3, 0, 3)
    high = torch.where(tails < 3, 3, torch.where(heads < 3, 17, 30))
    ours = cuda.draw_negatives(*(t.to(device) for t in (heads, low, high, *known(heads, tails, 30, 30))), 5)
    assert torch.equal(ours.cpu(), NegativeTails(heads, tails, 3, 14, 30).draw(heads, tails, 5))


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("deterministic", [True, False])
def test_scatter_add_rows_equals_index_add(cuda, device, deterministic, index) -> None:
    where, g = torch.randint(0, 4, (700,), generator=torch.Generator().manual_seed(0)) * 2, rand(700, 19)
    expected = torch.zeros(8, 19, dtype=torch.float64).index_add(0, where, g.double())
    close(cuda.scatter_add_rows(where.to(index).to(device), g.to(device), 8, deterministic), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_bi_activate_has_the_cpus_mask_and_values(cuda, device, dtype, p) -> None:
    """With unit matrices and no bias bi-interaction is combine, then activate: the products add zeros only."""
    h, n = (rand(45, 37, dtype=dtype, seed=s).requires_grad_() for s in (0, 1))
    g, unit, seed = rand(45, 37, dtype=dtype, seed=2), torch.eye(37, dtype=dtype), 2**64 - 3
    none = torch.zeros(37, dtype=dtype)
    expected = bi_interaction(h, n, unit, none, unit, none, negative_slope=0.2, dropout=p, seed=seed)
    expected.backward(g)
    there = [t.detach().to(device) for t in (h, n)]
    total, product = cuda.bi_combine(*there)
    keep16 = round((1 - p) * 65536)
    draw = (0.2, keep16, 65536 / keep16, seed)
    ours = cuda.bi_activate(total, product, *draw)
    back = cuda.bi_combine_backward(*there, *cuda.bi_activate_backward(total, product, g.to(device), *draw))
    assert torch.equal(ours.cpu() == 0, expected == 0)
    if INTERPRETED:  # a device may contract a product and a sum into one rounding
        assert torch.equal(ours, expected)
    for mine, theirs in zip((ours, *back), (expected, h.grad, n.grad), strict=True):
        close(mine, theirs.detach())


def test_a_rows_mask_follows_its_key(cuda, device) -> None:
    a, rows = rand(20, 37).abs().to(device) + 1, torch.tensor([3, 17, 3])
    whole = cuda.bi_activate(a, a, 0.2, 40000, 1.5, 9)
    some = cuda.bi_activate(a[rows], a[rows], 0.2, 40000, 1.5, 9, rows.to(device))
    assert torch.equal(some, whole[rows])
    assert 0.2 < float((whole == 0).float().mean()) < 0.6


def test_bfloat16_is_activated(cuda, device) -> None:
    a, b = rand(9, 37, dtype=torch.bfloat16), rand(9, 37, dtype=torch.bfloat16, seed=1)
    expected = sum(torch.nn.functional.leaky_relu(t.float(), 0.2) for t in (a, b)).bfloat16()
    close(cuda.bi_activate(a.to(device), b.to(device), 0.2, 65536, 1.0, 0), expected)


def test_bi_combine_and_its_gradient(cuda, device) -> None:
    h, n = rand(45, 37).requires_grad_(), rand(45, 37, seed=1).requires_grad_()
    g_total, g_product = rand(45, 37, seed=2), rand(45, 37, seed=3)
    total, product = h + n, h * n
    torch.autograd.backward([total, product], [g_total, g_product])
    on = [t.detach().to(device) for t in (h, n, g_total, g_product)]
    for mine, theirs in zip(
        (*cuda.bi_combine(*on[:2]), *cuda.bi_combine_backward(*on)), (total, product, h.grad, n.grad), strict=True
    ):
        close(mine, theirs.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_block_topk_scan_keeps_what_passes(cuda, device, dtype) -> None:
    """5,000 items in two tiles: in item order, above the threshold, unseen; a full buffer counts on."""
    scores, capacity = rand(5, 5000, dtype=dtype), 40
    threshold = torch.tensor([1.5, 0.0, torch.inf, -torch.inf, 2.0])
    seen = [sorted(scores[u].float().topk(3).indices.tolist()) for u in range(5)]
    seen_indptr, flat = torch.arange(6) * 3, torch.tensor(seen).flatten()
    candidates, values = torch.full((5, capacity), -1, dtype=torch.int32), torch.zeros(5, capacity)
    count = torch.zeros(5, dtype=torch.int32)
    on = {k: v.to(device) for k, v in {"c": candidates, "v": values, "n": count}.items()}
    for first, stop in ((0, 4530), (4530, 5000)):
        tile = scores.to(device)[:, first:stop]
        cuda.block_topk_scan(
            tile, first, threshold.to(device), on["c"], on["v"], on["n"], seen_indptr.to(device), flat.to(device)
        )
    for u in range(5):
        passing = [i for i in range(5000) if float(scores[u, i]) >= float(threshold[u]) and i not in seen[u]]
        kept = passing[:capacity]
        assert int(on["n"][u]) == len(passing)
        assert on["c"][u, : len(kept)].tolist() == kept
        assert torch.equal(on["v"][u, : len(kept)].cpu(), scores[u, kept].float())


def test_nothing_in_nothing_out(cuda, device, nothing) -> None:
    a, x = nothing.adjacency.to(device), rand(C, 5).to(device)
    w = torch.zeros(0, device=device)
    rows = torch.zeros(0, dtype=torch.int64, device=device)
    assert torch.equal(cuda.sum_rows(a.indptr, a.tail, w, x), torch.zeros(N, 5, device=device))
    assert torch.equal(cuda.segment_reduce(a.indptr, x[:0], "max")[0], torch.zeros(N, 5, device=device))
    assert torch.equal(cuda.scatter_add_rows(rows, x[:0], 3), torch.zeros(3, 5, device=device))
    assert cuda.sum_rows(a.indptr[:1], a.tail, w, x).shape == (0, 5)
    assert cuda.edge_dots(a.indptr, a.tail, torch.zeros(N, 5, device=device), x).shape == (0,)
    assert cuda.edge_softmax(a.indptr, w).shape == cuda.edge_softmax_backward(a.indptr, w, w).shape == (0,)
    assert cuda.draw_negatives(rows, rows, rows, a.indptr, rows, 0).shape == (0,)
    assert cuda.bi_activate(x[:0], x[:0], 0.2, 65536, 1.0, 0).shape == (0, 5)
    assert cuda.pair_dots(x, x, rows, rows, rows, w).shape == (0,)


def test_the_plan_of_long_rows_covers_every_edge_once(cuda, device, graph) -> None:
    from kgrec.graphs.ops.cuda.spans import SEGMENT, spans

    indptr = graph.adjacency.indptr
    plan = spans(indptr.to(device), graph.adjacency.n_edges)
    assert spans(indptr, graph.adjacency.n_edges) is spans(indptr, graph.adjacency.n_edges)
    slots = np.array(plan.slot_row.tolist())
    used = slots[slots < N]
    assert used.tolist() == [2, 2, 2, 7, 7]
    assert plan.long_row.tolist()[:2] == [2, 7]
    assert set(plan.long_row.tolist()[2:]) <= {N}
    pieces = np.arange(len(used)) - np.array(plan.first_slot.tolist())[used]
    starts = np.array(indptr.tolist())[used] + pieces * SEGMENT
    assert starts.tolist() == [3, 259, 515, 900, 1156]


def test_the_benchmarks_rivals_give_the_same_numbers(cuda, device) -> None:
    """Every case runs; where a rival claims the same result it has it."""
    from benchmarks.kernels_cuda import cases, make_graph

    found = cases(make_graph(0.0001, device), width=16, batch=7, tile=(4, 70))
    assert len({case.name for case in found}) == len(found) == 17
    for case in found:
        ours = case.ours()
        for name, rival in case.rivals.items():
            theirs = rival()
            if not case.unlike:
                torch.testing.assert_close(
                    ours, theirs, rtol=1e-4, atol=1e-4, msg=lambda m, c=case, n=name: f"{c.name}, {n}: {m}"
                )
