"""Adam by rows against Adam on all rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kgrec.training.adam import LASTING, RowAdam

N, D = 40, 7


def batches(steps: int) -> list[torch.Tensor]:
    """Rows per step, with repeats; row 39 is never read, row 38 in the first and last step alone."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, N - 2, (6,), generator=generator) for _ in range(steps)]
    rows[0] = rows[-1] = torch.tensor([N - 2, 3, 3])
    return rows


def train(
    optimizer: RowAdam | torch.optim.Adam, table: nn.Parameter, other: nn.Parameter, rows: list[torch.Tensor]
) -> None:
    read = optimizer.before_read(table) if isinstance(optimizer, RowAdam) else None
    for index in rows:
        if read:
            read(index)
        x = F.embedding(index, table, sparse=read is not None)
        optimizer.zero_grad()
        ((x * other).sin() + x.square()).sum().backward()
        optimizer.step()


def start(dtype: torch.dtype) -> tuple[nn.Parameter, nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return tuple(nn.Parameter(torch.randn(*shape, generator=generator).to(dtype)) for shape in ((N, D), (D,)))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("dtype", "tolerance", "steps"),
    [
        (torch.float32, 2e-5, 3),
        (torch.float32, 2e-5, 60),
        (torch.float64, 1e-10, 60),
        (torch.float64, 1e-10, LASTING + 150),
    ],
)
def test_equals_adam_on_all_rows(dtype: torch.dtype, tolerance: float, steps: int) -> None:
    ours, theirs = start(dtype), start(dtype)
    first, second = RowAdam(ours, lr=0.01), torch.optim.Adam(theirs, lr=0.01)
    train(first, *ours, batches(steps))
    train(second, *theirs, batches(steps))
    first.settle()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        for name in ("step", "exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(first.state[a][name], second.state[b][name], rtol=1e-4, atol=tolerance)
    untouched = start(dtype)[0]
    assert torch.equal(ours[0][N - 1], untouched[N - 1])
    assert not torch.equal(ours[0][N - 2], untouched[N - 2])


def test_rows_that_are_not_read_are_not_touched_until_they_are() -> None:
    table, other = start(torch.float32)
    optimizer = RowAdam([table, other], lr=0.01)
    train(optimizer, table, other, [torch.tensor([0, 1])])
    before = table.detach().clone()
    train(optimizer, table, other, [torch.tensor([1, 2])] * 3)
    assert torch.equal(table[0], before[0])
    optimizer.before_read(table)(torch.tensor([0]))
    assert not torch.equal(table[0], before[0])


def test_when_rows_are_settled_changes_no_bit() -> None:
    results = []
    for often in (False, True):
        table, other = start(torch.float32)
        optimizer = RowAdam([table, other], lr=0.01)
        for rows in batches(50):
            train(optimizer, table, other, [rows])
            if often:
                optimizer.settle()
        optimizer.settle()
        results.append(table.detach())
    assert torch.equal(*results)


def test_dense_gradients_are_adam() -> None:
    ours, theirs = start(torch.float64), start(torch.float64)
    for optimizer, (table, other) in ((RowAdam(ours, lr=0.01), ours), (torch.optim.Adam(theirs, lr=0.01), theirs)):
        for _ in range(30):
            optimizer.zero_grad()
            (table.sin().sum(0) * other).sum().backward()
            optimizer.step()
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_a_dense_gradient_while_rows_lag_is_refused() -> None:
    table, other = start(torch.float32)
    optimizer = RowAdam([table, other], lr=0.01)
    train(optimizer, table, other, [torch.tensor([0])])
    table.sum().backward()
    table.grad = torch.ones(N, D)
    with pytest.raises(RuntimeError, match="settle"):
        optimizer.step()
