"""CUDA kernels without a GPU: their results in Triton's interpreter, and that they compile for real devices.

The interpreter is chosen when Triton is first imported and patches the whole process, so it has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs Triton (extra `dev`, Linux)")

ROOT = Path(__file__).resolve().parents[3]


def child(*arguments: str, **variables: str) -> None:
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_equal_the_cpus_in_the_interpreter() -> None:
    child(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/graphs/ops/cuda_checks.py",
        TRITON_INTERPRET="1",
    )  # fmt: skip
