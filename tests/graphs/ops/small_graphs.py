"""Small graphs with everything that trips an operator, and seeded numbers for them."""

from __future__ import annotations

import torch
from torch import Tensor

from kgrec.graphs.ops import Adjacency


def _random() -> tuple[Tensor, Tensor, int]:
    """300 nodes, most without edges, one with a third of them all."""
    generator = torch.Generator().manual_seed(3)
    heads = torch.randint(300, (1500,), generator=generator) // 3 * 3
    heads[::3] = 6
    return heads.sort().values, torch.randint(300, (1500,), generator=generator), 300


_HEADS = torch.tensor([0, 0, 0, 1, 2, 3, 3, 3, 5, 6, 7, 7])
_TAILS = torch.tensor([1, 1, 2, 0, 2, 7, 5, 6, 0, 1, 3, 3])

#: name -> (heads, tails, number of nodes)
GRAPHS: dict[str, tuple[Tensor, Tensor, int]] = {
    "parallel edges, a self loop, isolated nodes": (_HEADS, _TAILS, 9),
    "no edges": (_HEADS[:0], _TAILS[:0], 3),
    "one head": (torch.zeros(40, dtype=torch.int64), torch.arange(40) % 5, 6),
    "random": _random(),
}


def adjacency_of(name: str, dtype: torch.dtype = torch.int64) -> Adjacency:
    """The graph as an adjacency, built from ids of ``dtype``."""
    heads, tails, n = GRAPHS[name]
    return Adjacency.from_edges(heads.to(dtype), tails.to(dtype), (n, n))


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that want a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the inputs for one fixed gradient of ``out``."""
    g = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return torch.autograd.grad(out, inputs, g)
