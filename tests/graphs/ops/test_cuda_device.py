"""The checks of ``cuda_checks.py`` on a GPU, and what only a device can show: equal bits from run to run, gradients through
the operators, and DGL's results."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import Adjacency, aggregate, edge_softmax
from tests.graphs.ops.cuda_checks import *  # noqa: F403
from tests.graphs.ops.cuda_checks import Graph, close, rand

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device() -> str:
    return "cuda"


def dense(seed: int = 0) -> Adjacency:
    """5,000 rows and 200,000 edges; some rows are long."""
    generator = torch.Generator().manual_seed(seed)
    heads = (torch.rand(200_000, generator=generator) ** 3 * 5000).long().sort().values
    return Adjacency.from_edges(heads, torch.randint(0, 3000, (200_000,), generator=generator), (5000, 3000))


def test_two_runs_are_equal_to_the_bit(cuda) -> None:
    a = dense().to("cuda")
    w, x, index = rand(a.n_edges).cuda(), rand(3000, 64).cuda(), a.tail.long()
    g = rand(a.n_edges, 16).cuda()
    for run in (
        lambda: cuda.sum_rows(a.indptr, a.tail, w, x),
        lambda: cuda.edge_softmax(a.indptr, w),
        lambda: cuda.edge_softmax_backward(a.indptr, w, w),
        lambda: cuda.segment_reduce(a.indptr, g, "mean")[0],
        lambda: cuda.scatter_add_rows(index, g, 3000),
    ):
        first = run()
        assert all(torch.equal(first, run()) for _ in range(5))


def test_operators_on_the_device_equal_the_cpus_both_ways() -> None:
    a = dense()
    score, x, g = rand(a.n_edges), rand(3000, 64, seed=1), rand(5000, 64, seed=2)
    results = []
    for device in ("cpu", "cuda"):
        there = a.to(device)
        s, y = (t.to(device).requires_grad_() for t in (score, x))
        out = aggregate(there, edge_softmax(there, s), y)
        out.backward(g.to(device))
        results.append((out, s.grad, y.grad))
    for ours, cpu in zip(results[1], results[0], strict=True):
        close(ours.detach(), cpu.detach())


def test_gradients_are_right(graph: Graph) -> None:
    small = Adjacency.from_edges(graph.heads[-10:], graph.adjacency.tail[-10:].long(), (12, 9)).to("cuda")
    w, x = (
        rand(10, dtype=torch.float64).cuda().requires_grad_(),
        rand(9, 3, dtype=torch.float64).cuda().requires_grad_(),
    )
    assert gradcheck(lambda w, x: aggregate(small, edge_softmax(small, w), x), (w, x))


def test_aggregation_of_a_softmax_equals_dgl_on_the_cpu(cuda, graph: Graph) -> None:
    from kgrec.graphs.dgl_compat import dgl

    score, x = rand(len(graph.heads)), rand(12, 40, seed=1)
    theirs = dgl.graph((graph.adjacency.tail.long(), graph.heads), num_nodes=12)  # messages go from tail to head
    theirs.edata["a"] = dgl.nn.functional.edge_softmax(theirs, score)
    theirs.ndata["x"] = x
    theirs.update_all(dgl.function.u_mul_e("x", "a", "m"), dgl.function.sum("m", "y"))
    a = graph.adjacency.to("cuda")
    close(cuda.sum_rows(a.indptr, a.tail, cuda.edge_softmax(a.indptr, score.cuda()), x.cuda()), theirs.ndata["y"])
