"""The triples' loss in two passes against the same written out."""

from __future__ import annotations

import numba
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from kgrec.graphs.ops import triple_loss
from tests.graphs.ops.small_graphs import gradients, rand

#: relation 1 often, relation 3 never
RELS = torch.tensor([0, 1, 1, 1, 2])


def written_out(x: Tensor, relation: Tensor, rels: Tensor) -> tuple[Tensor, Tensor]:
    head, tail, false = x.view(len(rels), 3, -1).unbind(1)
    there = head + relation[rels]
    near, far = (there - tail).square().sum(-1), (there - false).square().sum(-1)
    return F.softplus(near - far).mean(), x.square().sum() / (2 * len(rels))


@pytest.mark.parametrize("width", [1, 5, 33])
def test_equals_the_formula_and_finite_differences(width: int) -> None:
    x, relation = rand(15, width), rand(4, width, seed=1)
    ours, plain = triple_loss(x, relation, RELS), written_out(x, relation, RELS)
    for a, b in zip(ours, plain, strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-12)
    for factors in ((1, 0), (0, 1), (2, 0.3)):
        sums = [sum(f * term for f, term in zip(factors, terms, strict=True)) for terms in (ours, plain)]
        a, b = (torch.autograd.grad(total, (x, relation), retain_graph=True, allow_unused=True) for total in sums)
        assert torch.allclose(a[0], b[0], atol=1e-13)
        assert torch.allclose(a[1], torch.zeros(4, width).double() if b[1] is None else b[1], atol=1e-13)
    assert gradcheck(lambda *v: triple_loss(*v, RELS), (x, relation))


def test_far_triples_have_a_finite_loss() -> None:
    x, relation = (100 * rand(15, 4).detach()).requires_grad_(), rand(4, 4)
    loss, _ = triple_loss(x, relation, RELS)
    assert float(loss) == pytest.approx(float(written_out(x, relation, RELS)[0]), rel=1e-12)
    assert float(loss) > 100
    assert all(g.isfinite().all() for g in gradients(loss, x, relation))


def test_threads_change_no_bit() -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    generator, threads, results = torch.Generator().manual_seed(0), numba.get_num_threads(), []
    x, relation = (torch.randn(n, 64, generator=generator).requires_grad_() for n in (3 * 500, 7))
    rels = torch.randint(0, 7, (500,), generator=generator).sort().values
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            loss, squares = triple_loss(x, relation, rels)
            results.append([loss.detach(), squares.detach(), *gradients(loss + squares, x, relation)])
    finally:
        numba.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
