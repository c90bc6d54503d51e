"""Segment reductions against plain torch, DGL and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import reference
from kgrec.graphs.ops.segment import segment_reduce
from tests.graphs.ops.small_graphs import GRAPHS, adjacency_of, gradients, rand

KINDS = ("sum", "mean", "max")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GRAPHS)
def test_equals_the_reference_and_finite_differences(name: str, kind: Any) -> None:
    indptr = adjacency_of(name).indptr
    x = rand(int(indptr[-1]), 3)
    ours, plain = segment_reduce(indptr, x, kind), reference.segment_reduce(indptr, x, kind)
    assert torch.allclose(ours, plain)
    assert torch.allclose(gradients(ours, x)[0], gradients(plain, x)[0])
    if 0 < len(x) < 20:
        assert gradcheck(lambda x: segment_reduce(indptr, x, kind), (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_equals_dgl(kind: Any) -> None:
    from kgrec.graphs.dgl_compat import dgl

    indptr = adjacency_of("random").indptr
    x = rand(1500, 3)
    filled = indptr.diff() > 0  # DGL's maximum of nothing is not zero
    ours, theirs = segment_reduce(indptr, x, kind)[filled], dgl.ops.segment_reduce(indptr.diff(), x, kind)[filled]
    assert torch.allclose(ours, theirs)
    assert torch.allclose(gradients(ours, x)[0], gradients(theirs, x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_int32_bounds_and_float32(kind: Any) -> None:
    indptr = adjacency_of("random").indptr
    x = rand(1500, 3)
    single = segment_reduce(indptr.int(), x.float(), kind)
    torch.testing.assert_close(single.double(), segment_reduce(indptr, x, kind), rtol=1e-5, atol=1e-5)
    (ours,), (right,) = gradients(single, x), gradients(segment_reduce(indptr, x, kind), x)
    torch.testing.assert_close(ours, right, rtol=1e-5, atol=1e-5)


def test_an_empty_segment_is_zero_and_takes_no_gradient_and_the_first_maximum_takes_all() -> None:
    indptr = torch.tensor([0, 0, 3, 3])
    x = torch.tensor([[-2.0], [-1.0], [-1.0]], dtype=torch.float64, requires_grad=True)
    assert segment_reduce(indptr, x, "mean").tolist() == [[0], [pytest.approx(-4 / 3)], [0]]
    out = segment_reduce(indptr, x, "max")
    assert out.tolist() == [[0], [-1], [0]]
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [[0], [1], [0]]


def test_nan_is_the_maximum() -> None:
    x = torch.tensor([[1.0, torch.nan], [torch.nan, 2.0], [3.0, 3.0]])
    assert segment_reduce(torch.tensor([0, 3]), x, "max").isnan().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_on_every_run_and_any_number_of_threads(
    kind: Any, over_threads: Callable[..., list[Any]]
) -> None:
    indptr, x = adjacency_of("random").indptr.int(), rand(1500, 3, dtype=torch.float32)

    def run() -> torch.Tensor:
        out = segment_reduce(indptr, x, kind)
        return torch.cat([out.detach(), *gradients(out, x)])

    first, *others = over_threads(run)
    assert all(torch.equal(first, other) for other in others)
