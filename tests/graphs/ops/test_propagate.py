"""Propagation in one go against the same layers taken one by one, in float64 and on the edge list."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import numba
import pytest
import torch
from torch.nn import functional as F

from kgrec.graphs.ops import Adjacency, Layer, WeightedGraph, bi_interaction, can_propagate, propagate

N, PREFIX = 200, 60


def make_graph(n_edges: int = 3000) -> tuple[Adjacency, torch.Tensor]:
    """Heads of very unequal degree, parallel edges, heads and tails without an edge."""
    generator = torch.Generator().manual_seed(0)
    heads = (torch.rand(n_edges, generator=generator) ** 3 * (N - 20)).long().sort().values
    tails = torch.randint(10, N, (n_edges,), generator=generator)
    tails[1::2] = tails[::2]  # many edges twice
    return Adjacency.from_edges(heads, tails, (N, N)), torch.rand(n_edges, generator=generator) / 5


def make_layers(widths: tuple[int, ...]) -> list[Layer]:
    generator = torch.Generator().manual_seed(1)

    def weight(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) / 8).requires_grad_()

    return [Layer(weight(k, d), weight(k), weight(k, d), weight(k)) for d, k in pairwise(widths)]


def one_by_one(adjacency, weight, x, layers, rows, dropout, seeds):  # type: ignore[no-untyped-def]
    """The layers in float64 on the edge list, with the masks that :func:`bi_interaction` draws."""
    heads, tails = adjacency.heads(), adjacency.tail.long()
    outputs = [x[rows]]
    for layer, seed in zip(layers, seeds, strict=True):
        w1, b1, w2, b2 = layer
        n = torch.zeros_like(x).index_add(0, heads, weight[:, None] * x[tails])
        y = F.leaky_relu((x + n) @ w1.T + b1, 0.01) + F.leaky_relu((x * n) @ w2.T + b2, 0.01)
        ones = torch.ones(len(x), 4)
        eye = torch.zeros(len(w1), 4)
        mask = bi_interaction(
            ones, ones, eye, torch.ones(len(w1)), eye, torch.zeros(len(w1)), dropout=dropout, seed=seed
        )
        x = y * mask
        outputs.append(x[rows])
    return outputs


@pytest.mark.parametrize("widths", [(64, 64, 32, 16), (64, 64), (32, 96, 32, 48)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equals_the_layers_one_by_one(widths: tuple[int, ...], dropout: float) -> None:
    adjacency, weight = make_graph()
    layers = make_layers(widths)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(N, widths[0], generator=generator).requires_grad_()
    rows = torch.tensor([0, 1, 2, 3, 7, 18, 30, 31, 59])
    graph = WeightedGraph.of(adjacency, weight)
    target = WeightedGraph.of(adjacency.first_rows(PREFIX), weight)
    seeds = [11 + k for k in range(len(layers))]
    graphs = [graph] * (len(layers) - 1) + [target]
    assert can_propagate(x, widths)
    ours = propagate(graphs, x, layers, rows, negative_slope=0.01, dropout=dropout, seeds=seeds)
    x64 = x.detach().double().requires_grad_()
    layers64 = [Layer(*(w.detach().double().requires_grad_() for w in layer)) for layer in layers]
    theirs = one_by_one(adjacency, weight.double(), x64, layers64, rows, dropout, seeds)
    signs = [torch.randn(y.shape, generator=generator) for y in ours]
    sum((y * s).sum() for y, s in zip(ours, signs, strict=True)).backward()
    sum((y * s).sum() for y, s in zip(theirs, signs, strict=True)).backward()
    pairs = [*zip(ours, theirs, strict=True), (x.grad, x64.grad)]
    pairs += [
        (a.grad, b.grad) for one, two in zip(layers, layers64, strict=True) for a, b in zip(one, two, strict=True)
    ]
    for ours_one, theirs_one in pairs:
        assert float(theirs_one.detach().abs().max()) > 0
        assert float((ours_one - theirs_one).abs().max() / theirs_one.abs().max()) < 1e-5


def run(rows: torch.Tensor) -> list[torch.Tensor]:
    adjacency, weight = make_graph()
    layers = make_layers((64, 64, 32))
    x = torch.randn(N, 64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    graphs = [WeightedGraph.of(adjacency, weight)] * 2
    outputs = propagate(graphs, x, layers, rows, negative_slope=0.2, dropout=0.2, seeds=[1, 2])
    sum(y.square().sum() for y in outputs).backward()
    return [*(y.detach() for y in outputs), x.grad, *(w.grad for layer in layers for w in layer)]


def test_threads_change_no_bit() -> None:
    rows, threads = torch.arange(0, N, 3), numba.get_num_threads()
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    try:
        results = []
        for count in (1, 2):
            numba.set_num_threads(count)
            results.append(run(rows))
    finally:
        numba.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_row_does_not_depend_on_the_other_rows_asked_for() -> None:
    some, every = torch.tensor([0, 5, 6, 150, 199]), torch.arange(N)
    for few, all_rows in zip(run(some)[:3], run(every)[:3], strict=True):
        assert torch.equal(few, all_rows[some])


def test_other_widths_and_types_are_left_to_the_layers() -> None:
    x = torch.zeros(3, 64)
    assert can_propagate(x, (64, 32, 16))
    assert not can_propagate(x.double(), (64, 32, 16))
    assert not can_propagate(x, (64, 20, 16))
    assert not can_propagate(x, (64, 32, 10))


def test_narrow_registers_give_the_same_bits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Vectors of 8 numbers, as on a processor without 512-bit registers."""
    program = """
import hashlib
import llvmlite.binding as binding
binding.get_host_cpu_features = binding.FeatureMap
import torch
from kgrec.graphs.ops import simd
from tests.graphs.ops.test_propagate import run
digest = hashlib.sha256()
for tensor in run(torch.arange(0, 200, 3)):
    digest.update(tensor.numpy().tobytes())
print(simd.LANES, digest.hexdigest())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    digest = hashlib.sha256()
    for tensor in run(torch.arange(0, N, 3)):
        digest.update(tensor.numpy().tobytes())
    assert done.stdout.split() == ["8", digest.hexdigest()]
