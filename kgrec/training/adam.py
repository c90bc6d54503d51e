"""Adam by rows: a table of which a step reads some rows is updated in those rows alone, with the result of Adam on all rows.

Adam (Kingma and Ba, ICLR 2015, algorithm 1) moves a row that has no gradient too, as long as its moments last. Here such a row
is left until it is next read, and then takes the missed steps one by one while it lies in a register, so that a step costs as
many bytes as it reads rows. After ``LASTING`` steps without a gradient what is left to move is below 1e-12 of the first of
them; from there on only the moments shrink.

Legend: N rows, d width, t steps so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numba
import numpy as np
import torch
from torch import Tensor, nn

from kgrec.graphs.ops import distinct
from kgrec.graphs.ops.arrays import numpy_view

#: steps without a gradient after which a row stays: .9 to this power is 1e-12
LASTING = 262


# error_model: without a test for zero LLVM can divide whole vectors
_kernel = numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
_parallel = numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy", parallel=True)


@_kernel
def _fade(value, mean, square, size, scale, beta1, beta2, eps):
    """A step without a gradient, of one row."""
    for j in range(len(value)):
        m, v = beta1 * mean[j], beta2 * square[j]
        value[j] -= size * m / (np.sqrt(v) * scale + eps)
        mean[j], square[j] = m, v


@_kernel
def _move(g, value, mean, square, size, scale, beta1, beta2, eps):
    """A step, of one row."""
    one = value.dtype.type(1)
    for j in range(len(value)):
        m, v = beta1 * mean[j] + (one - beta1) * g[j], beta2 * square[j] + (one - beta2) * (g[j] * g[j])
        value[j] -= size * m / (np.sqrt(v) * scale + eps)
        mean[j], square[j] = m, v


@_parallel
def _catch_up(rows, value, mean, square, last, step, sizes, scales, beta1, beta2, eps):
    """Take the steps ``last[row] + 1 .. step``, which brought these rows no gradient."""
    real = value.dtype.type
    for i in numba.prange(len(rows)):
        row = rows[i]
        stop = min(step, last[row] + LASTING)
        for k in range(last[row] + 1, stop + 1):
            _fade(value[row], mean[row], square[row], real(sizes[k]), real(scales[k]), beta1, beta2, eps)
        if step > stop:
            fade1, fade2 = beta1 ** (step - stop), beta2 ** (step - stop)
            for j in range(value.shape[1]):
                mean[row, j] *= fade1
                square[row, j] *= fade2
        last[row] = step


@_parallel
def _step_rows(rows, g, value, mean, square, last, step, sizes, scales, beta1, beta2, eps):
    real = value.dtype.type
    for i in numba.prange(len(rows)):
        row = rows[i]
        _move(g[i], value[row], mean[row], square[row], real(sizes[step]), real(scales[step]), beta1, beta2, eps)
        last[row] = step


@_parallel
def _step_all(g, value, mean, square, step, sizes, scales, beta1, beta2, eps):
    real = value.dtype.type
    size, scale, part = real(sizes[step]), real(scales[step]), 4096
    for chunk in numba.prange((len(value) + part - 1) // part):
        here = slice(chunk * part, min((chunk + 1) * part, len(value)))
        _move(g[here], value[here], mean[here], square[here], size, scale, beta1, beta2, eps)


@_parallel
def _sum_repeated(position, g, out):
    """Every thread adds up its own columns, in the order of ``position``."""
    for part in numba.prange((g.shape[1] + 15) // 16):
        for i in range(len(position)):
            for j in range(16 * part, min(16 * part + 16, g.shape[1])):
                out[position[i], j] += g[i, j]


class RowAdam:
    """Adam on the CPU, whose sparse gradients (rows of a table) cost no more than their rows, exactly as if they were dense.

    Whoever reads rows of such a table says so first, through :meth:`before_read`; whoever reads the table otherwise calls
    :meth:`settle`. The state is that of torch's Adam: ``step``, ``exp_avg``, ``exp_avg_sq`` per parameter. (Torch's own imports
    its compiler with the first parameter: 160 MB and seconds.)
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.params, self.lr, self.betas, self.eps = list(params), lr, betas, eps
        self.state: defaultdict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)
        #: shape: (N,), int64; the step each row of a table has come to, where rows lag
        self._last: dict[nn.Parameter, np.ndarray] = {}
        #: the last rows that were read: of what, which, and the distinct ones
        self._read: tuple[nn.Parameter, Tensor, tuple[Tensor, Tensor]] | None = None
        #: by step: learning rate over 1 - beta1^k, and one over the root of 1 - beta2^k (a division less per number)
        self._sizes, self._scales = np.zeros(1), np.ones(1)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def before_read(self, parameter: nn.Parameter) -> Callable[[Tensor], None]:
        """What to call with row numbers, shape (B,), int64, before these rows of ``parameter`` are read."""

        def read(rows: Tensor) -> None:
            self._read = parameter, rows, distinct(rows, len(parameter))
            if parameter in self._last:
                self._catch_up(parameter, self._read[2][0])

        return read

    def settle(self) -> None:
        """Bring all rows to the current step."""
        for parameter, last in list(self._last.items()):
            self._catch_up(parameter, torch.from_numpy(np.flatnonzero(last < int(self.state[parameter]["step"]))))
            del self._last[parameter]

    @torch.no_grad()
    def step(self) -> None:
        """One step of every parameter with a gradient.

        :raises RuntimeError: a gradient of the whole table while some of its rows lag
        """
        for p in self.params:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            if p.grad.is_sparse:
                self._step_rows(p, p.grad._indices()[0], p.grad._values())
                continue
            if p in self._last:
                raise RuntimeError(
                    "rows of a table lag while all of it has a gradient: call settle() before it is read whole"
                )
            state["step"] += 1
            flat = (t.reshape(-1) for t in (p.grad.contiguous(), p.detach(), state["exp_avg"], state["exp_avg_sq"]))
            _step_all(*map(numpy_view, flat), *self._numbers(p))

    def _step_rows(self, parameter: nn.Parameter, index: Tensor, values: Tensor) -> None:
        state = self.state[parameter]
        if parameter not in self._last:
            self._last[parameter] = np.full(len(parameter), int(state["step"]), np.int64)
        known = self._read is not None and self._read[0] is parameter and torch.equal(self._read[1], index)
        rows, position = self._read[2] if known and self._read else distinct(index, len(parameter))
        self._catch_up(parameter, rows)
        state["step"] += 1
        total = torch.zeros(len(rows), values.shape[1], dtype=values.dtype)
        _sum_repeated(numpy_view(position), numpy_view(values), numpy_view(total))
        _step_rows(numpy_view(rows), numpy_view(total), *self._arrays(parameter), *self._numbers(parameter))

    def _catch_up(self, parameter: nn.Parameter, rows: Tensor) -> None:
        if len(rows):
            _catch_up(numpy_view(rows), *self._arrays(parameter), *self._numbers(parameter))

    def _arrays(self, parameter: nn.Parameter) -> tuple[np.ndarray, ...]:
        state = self.state[parameter]
        return *map(numpy_view, (parameter, state["exp_avg"], state["exp_avg_sq"])), self._last[parameter]

    def _numbers(self, parameter: nn.Parameter) -> tuple[Any, ...]:
        step, (beta1, beta2) = int(self.state[parameter]["step"]), self.betas
        if len(self._sizes) <= step:
            k = np.arange(len(self._sizes), 2 * step + 1)
            self._sizes = np.concatenate([self._sizes, self.lr / (1 - beta1**k)])
            self._scales = np.concatenate([self._scales, 1 / np.sqrt(1 - beta2**k)])
        real = np.float64 if parameter.dtype == torch.float64 else np.float32
        return step, self._sizes, self._scales, real(beta1), real(beta2), real(self.eps)


Adam: TypeAlias = RowAdam | torch.optim.Adam


def make_adam(model: nn.Module, lr: float) -> Adam:
    """Adam by rows on the CPU; elsewhere torch's, where all rows of a table cost little beside a step."""
    params = list(model.parameters())
    cpu = all(p.device.type == "cpu" for p in params)
    return RowAdam(params, lr) if cpu else torch.optim.Adam(params, lr=lr, fused=True)


@contextmanager
def rows_read(model: nn.Module, optimizer: Adam) -> Iterator[None]:
    """While it lasts, the tables of a model say which rows are read and have sparse gradients; in the end no row lags."""
    if not isinstance(optimizer, RowAdam):
        yield
        return
    tables = getattr(model, "tables", {})
    for name, table in tables.items():
        table.before_read = optimizer.before_read(model.get_parameter(name))
    try:
        yield
    finally:
        for table in tables.values():
            table.before_read = None
        optimizer.settle()


def settle(optimizer: Adam) -> None:
    """Let no row lag behind."""
    if isinstance(optimizer, RowAdam):
        optimizer.settle()
