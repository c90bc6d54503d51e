"""Relation-wise projection multiplies each row by the matrix of its relation, one product per relation present.

Gathering one d x k matrix per row would take B d k floats (84 MB at B = 5120, d = k = 64); sorted rows need none of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


class _RelationProject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bounds: list[int]) -> Tensor:
        ctx.save_for_backward(x, matrix)
        ctx.bounds = bounds
        out = x.new_empty(len(x), matrix.shape[1])
        for r, (start, stop) in enumerate(pairwise(bounds)):
            if stop > start:
                torch.mm(x[start:stop], matrix[r].T, out=out[start:stop])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, matrix = ctx.saved_tensors
        g = gradients[0].contiguous()
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_matrix = torch.zeros_like(matrix) if ctx.needs_input_grad[1] else None
        for r, (start, stop) in enumerate(pairwise(ctx.bounds)):
            if stop == start:
                continue
            if grad_x is not None:
                torch.mm(g[start:stop], matrix[r], out=grad_x[start:stop])
            if grad_matrix is not None:
                torch.mm(g[start:stop].T, x[start:stop], out=grad_matrix[r])
        return grad_x, grad_matrix, None


def relation_project(x: Tensor, matrix: Tensor, bounds: list[int]) -> Tensor:
    """``out[b] = matrix[r(b)] @ x[b]`` for rows sorted by relation.

    :param x: shape: (B, D), rows sorted by relation
    :param matrix: shape: (R, K, D)
    :param bounds: R + 1 row numbers; relation r has rows ``bounds[r]:bounds[r + 1]``
    :return: shape: (B, K)
    """
    return _RelationProject.apply(x, matrix, bounds)
