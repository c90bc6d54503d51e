"""Relation-wise projection against one gathered matrix per row, DGL and finite differences."""

from __future__ import annotations

import torch
from torch.autograd import gradcheck

from kgrec.graphs.ops import reference, relation_project
from tests.graphs.ops.small_graphs import gradients, rand

BOUNDS = [0, 2, 2, 6, 7]  # relation 1 has no rows


def test_equals_the_reference_and_finite_differences() -> None:
    x, matrix = rand(7, 3), rand(4, 2, 3, seed=1)
    ours, plain = relation_project(x, matrix, BOUNDS), reference.relation_project(x, matrix, BOUNDS)
    assert torch.allclose(ours, plain)
    for a, b in zip(gradients(ours, x, matrix), gradients(plain, x, matrix), strict=True):
        assert torch.allclose(a, b)
    assert gradcheck(lambda x, m: relation_project(x, m, BOUNDS), (x, matrix))


def test_equals_dgl() -> None:
    from kgrec.graphs.dgl_compat import dgl

    x, matrix = rand(7, 3), rand(4, 2, 3, seed=1)
    ours = relation_project(x, matrix, BOUNDS)
    theirs = dgl.ops.segment_mm(x, matrix.transpose(1, 2).contiguous(), torch.tensor(BOUNDS).diff())
    assert torch.allclose(ours, theirs)
    for a, b in zip(gradients(ours, x, matrix), gradients(theirs, x, matrix), strict=True):
        assert torch.allclose(a, b)


def test_no_rows_at_all() -> None:
    x, matrix = rand(0, 3), rand(4, 2, 3, seed=1)
    out = relation_project(x, matrix, [0] * 5)
    assert out.shape == (0, 2)
    assert not gradients(out, x, matrix)[1].any()
