"""TransR: the analytic properties of its energy, its loss and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from kgrec.models.base import KGBatch
from kgrec.models.blocks.transr import TransR


def energy(transr: TransR, h: torch.Tensor, r: int, t: torch.Tensor) -> float:
    w, e = transr.matrix[r], transr.relation[r]
    return float((w @ h + e - w @ t).square().sum())


def test_loss_is_the_formula_with_relations_in_any_order() -> None:
    torch.manual_seed(0)
    transr, x = TransR(3, 4, 2), torch.randn(6, 4)
    batch = KGBatch(
        torch.tensor([0, 1, 2, 5]), torch.tensor([2, 0, 2, 0]), torch.tensor([3, 4, 5, 0]), torch.tensor([1, 1, 0, 3])
    )
    rows = list(zip(batch.heads, batch.rels, batch.tails, batch.negative_tails, strict=True))
    terms = [math.log1p(math.exp(energy(transr, x[h], r, x[t]) - energy(transr, x[h], r, x[n]))) for h, r, t, n in rows]
    assert float(transr.loss(x.__getitem__, batch)) == pytest.approx(sum(terms) / 4, rel=1e-5)
    squares = sum(float((transr.matrix[r] @ x[k]).square().sum()) for h, r, t, n in rows for k in (h, t, n))
    assert float(transr.loss(x.__getitem__, batch, l2=0.5) - transr.loss(x.__getitem__, batch)) == pytest.approx(
        0.5 * squares / 8, rel=1e-4
    )


def test_equal_tails_cost_ln_2() -> None:
    transr, x = TransR(2, 4, 3), torch.randn(5, 4)
    t = torch.tensor([3, 4])
    assert float(
        transr.loss(x.__getitem__, KGBatch(torch.tensor([0, 1]), torch.tensor([0, 1]), t, t))
    ) == pytest.approx(math.log(2), rel=1e-5)


def test_energy_zero_translation_and_scaling() -> None:
    torch.manual_seed(1)
    transr = TransR(1, 3, 3)
    h, c = torch.randn(3), torch.randn(3)
    with torch.no_grad():
        transr.matrix[0] = torch.eye(3)
    assert energy(transr, h, 0, h + transr.relation[0].detach()) == pytest.approx(0, abs=1e-10)
    t = torch.randn(3)
    before = energy(transr, h, 0, t)
    assert energy(transr, h + c, 0, t + c) == pytest.approx(before, rel=1e-4)
    with torch.no_grad():
        transr.matrix.mul_(3)
        transr.relation.mul_(3)
    assert energy(transr, h, 0, t) == pytest.approx(9 * before, rel=1e-4)


def test_gradients_are_right() -> None:
    torch.manual_seed(2)
    transr = TransR(3, 4, 2).double()
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    batch = KGBatch(torch.tensor([0, 1, 2]), torch.tensor([2, 0, 2]), torch.tensor([3, 4, 5]), torch.tensor([1, 1, 0]))

    def loss(x: torch.Tensor, relation: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        # the same formula on free tensors, so that all three are checked
        transr.relation, transr.matrix = torch.nn.Parameter(relation), torch.nn.Parameter(matrix)
        return torch.func.functional_call(transr, {"relation": relation, "matrix": matrix}, (x, batch))

    transr.forward = lambda x, batch: transr.loss(x.__getitem__, batch, 0.1)  # type: ignore[method-assign]
    relation, matrix = (p.detach().clone().requires_grad_() for p in (transr.relation, transr.matrix))
    assert gradcheck(loss, (x, relation, matrix))
