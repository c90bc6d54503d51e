"""The ranking loss in two passes against the same written out."""

from __future__ import annotations

import numba
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from kgrec.graphs.ops import rank_loss
from tests.graphs.ops.small_graphs import gradients, rand

#: rows 0 and 3 often, row 6 never; a triple whose three rows are one
POSITION = torch.tensor([0, 0, 1, 3, 2, 3, 4, 3, 5, 2, 0, 3, 4, 5, 2])


def written_out(layers, normalise, position):  # type: ignore[no-untyped-def]
    z = torch.cat([F.normalize(x) if flag else x for x, flag in zip(layers, normalise, strict=True)], 1)
    user, positive, negative = z[position].split(len(position) // 3)
    loss = F.softplus((user * negative).sum(-1) - (user * positive).sum(-1)).mean()
    return loss, sum(v.square().sum() for v in (user, positive, negative)) / (2 * len(user))


@pytest.mark.parametrize("normalise", [(False, True, True), (False, False, False)])
def test_equals_the_formula_and_finite_differences(normalise: tuple[bool, ...]) -> None:
    layers = [rand(7, 5), rand(7, 3, seed=1), rand(7, 17, seed=2)]
    ours, plain = rank_loss(layers, normalise, POSITION), written_out(layers, normalise, POSITION)
    for a, b in zip(ours, plain, strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-12)
    for a, b in zip(
        gradients(2 * ours[0] + 0.3 * ours[1], *layers), gradients(2 * plain[0] + 0.3 * plain[1], *layers), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-13)
    assert gradcheck(lambda *x: rank_loss(x, normalise, POSITION), layers)


def test_zero_rows_stay_zero_and_large_scores_are_finite() -> None:
    zero, large = torch.zeros(7, 4, requires_grad=True), (100 * rand(7, 3).detach()).requires_grad_()
    layers = [large, zero.double()]
    loss, l2 = rank_loss(layers, (False, True), POSITION)
    expected, _ = written_out(layers, (False, True), POSITION)
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)
    assert float(loss) > 100
    assert all(g.isfinite().all() for g in gradients(loss + l2, *layers[:1]))


def test_threads_change_no_bit() -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    generator, threads, results = torch.Generator().manual_seed(0), numba.get_num_threads(), []
    layers = [torch.randn(300, d, generator=generator).requires_grad_() for d in (64, 32)]
    position = torch.randint(0, 300, (3 * 500,), generator=generator)
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            loss, l2 = rank_loss(layers, (False, True), position)
            results.append([loss.detach(), l2.detach(), *gradients(loss + l2, *layers)])
    finally:
        numba.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
