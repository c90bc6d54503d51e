"""The film world of ``tests/films.py``."""

from __future__ import annotations

import pytest

from tests.films import World, films


@pytest.fixture
def world() -> World:
    return films()
