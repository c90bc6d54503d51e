"""exp and tanh against numpy's in float64, in units of the last place of float32."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest

from kgrec.graphs.ops.elementary import exp, tanh


@numba.njit(error_model="numpy")
def exp_of(x, out):
    for i in range(len(x)):
        out[i] = exp(x[i])


@numba.njit(error_model="numpy")
def tanh_of(x, out):
    for i in range(len(x)):
        out[i] = tanh(x[i])


@pytest.mark.parametrize(
    ("kernel", "numpy", "low", "high"),
    [
        (exp_of, np.exp, -103.9, -80.0),  # subnormal results
        (exp_of, np.exp, -90.0, 88.72),
        (exp_of, np.exp, -1.0, 1.0),
        (tanh_of, np.tanh, -1.0, 1.0),
        (tanh_of, np.tanh, 0.62, 0.63),  # where two formulas meet
        (tanh_of, np.tanh, -1e-3, 1e-3),
        (tanh_of, np.tanh, 1.0, 30.0),
    ],
)
def test_error_is_below_two_units_in_the_last_place(
    kernel: Callable[..., None], numpy: Callable[..., np.ndarray], low: float, high: float
) -> None:
    x = np.linspace(low, high, 400_001, dtype=np.float32)
    out = np.empty_like(x)
    kernel(x, out)
    right = numpy(x.astype(np.float64))
    unit = np.spacing(np.abs(right).astype(np.float32)).astype(np.float64)
    assert (np.abs(out - right) / unit).max() < 2


def test_ends_of_the_range_and_nan() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -1e30, 88.8, -105], dtype=np.float32)
    out = np.empty_like(x)
    exp_of(x, out)
    np.testing.assert_array_equal(out, np.array([np.nan, np.inf, 0, 1, np.inf, 0, np.inf, 0], dtype=np.float32))
    tanh_of(x, out)
    np.testing.assert_array_equal(out, np.array([np.nan, 1, -1, 0, 1, -1, 1, -1], dtype=np.float32))


def test_float64_is_numpys() -> None:
    x = np.linspace(-3, 3, 101)
    out = np.empty_like(x)
    exp_of(x, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-15)
    tanh_of(x, out)
    np.testing.assert_allclose(out, np.tanh(x), rtol=1e-15)


def test_a_number_has_one_result_wherever_it_stands() -> None:
    x = np.linspace(-5, 5, 37, dtype=np.float32)
    for kernel in (exp_of, tanh_of):
        whole, one = np.empty_like(x), np.empty(1, dtype=np.float32)
        kernel(x, whole)
        for i in range(len(x)):
            kernel(x[i : i + 1], one)
            assert one[0] == whole[i]
