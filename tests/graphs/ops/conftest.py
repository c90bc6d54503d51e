"""What the tests of the operators share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import pytest


@pytest.fixture
def over_threads() -> Callable[[Callable[[], Any]], list[Any]]:
    """Calls a function twice on one thread and twice on two (where the machine has two) and gives the four results."""

    def run(function: Callable[[], Any]) -> list[Any]:
        before, results = numba.get_num_threads(), []
        try:
            for threads in (1, 1, 2, 2):
                numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
                results.append(function())
        finally:
            numba.set_num_threads(before)
        return results

    return run
