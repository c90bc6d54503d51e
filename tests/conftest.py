"""Fixtures all tests share. The machine's threads are left to the kernels; real data is used where it is present."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

# as an application would: events from INFO on, to standard error
structlog.configure(
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data (``KGREC_DATA``, else ``../shared/data``), or a skip that says what is missing."""
    folder = Path(os.environ.get("KGREC_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ml-1m" / "ml-1m.zip").exists():
        pytest.skip(f"real data not found at {folder} (set KGREC_DATA)")
    return folder


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """A Ray cluster of two workers on this machine."""
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
        yield
        ray.shutdown()
