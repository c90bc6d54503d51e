"""The world in memory of ``tests/worlds.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kgrec.graphs.data import GraphData
from tests.worlds import make_world


@pytest.fixture(scope="session")
def world() -> GraphData:
    return make_world()


@pytest.fixture(scope="session")
def worlds() -> Callable[..., GraphData]:
    return make_world
