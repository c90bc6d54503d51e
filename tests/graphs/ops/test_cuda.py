"""CUDA kernels without a GPU: their results in Triton's interpreter, and that they compile for real devices.

The interpreter is chosen when Triton is first imported and patches the whole process, so it has a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton", reason="needs Triton (extra `dev`, Linux)")

ROOT = Path(__file__).resolve().parents[3]
POINTERS = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


def child(*arguments: str, **variables: str) -> None:
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_equal_the_cpus_in_the_interpreter() -> None:
    child(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/graphs/ops/cuda_checks.py",
        TRITON_INTERPRET="1",
    )  # fmt: skip


def test_the_library_does_without_triton() -> None:
    """Neither importing kgrec nor running its operators on the CPU imports the CUDA kernels."""
    child(
        "-c",
        "import sys; sys.modules['triton'] = None; import torch\n"
        "from kgrec.graphs.ops import Adjacency, aggregate, edge_softmax\n"
        "a = Adjacency.from_edges(torch.tensor([0, 1]), torch.tensor([1, 0]), (2, 2))\n"
        "x = aggregate(a, edge_softmax(a, torch.zeros(2)), torch.ones(2, 3))\n"
        "assert 'kgrec.graphs.ops.cuda' not in sys.modules and float(x.sum()) == 6",
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The PTX of every kernel launched in a test, by name: a launch compiles for the wanted device and runs nothing."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.runtime.jit import JITFunction

    done: dict[str, str] = {}

    def launch(kernel: Any, *arguments: Any, grid: Any, warmup: bool, num_warps: int = 4, **constants: Any) -> None:
        given = dict(zip(kernel.arg_names, arguments, strict=False)) | constants
        signature, constexprs, attributes = {}, {}, {}
        for p in kernel.params:
            value = given[p.name]
            if p.is_constexpr:
                signature[p.name], constexprs[(p.num,)] = "constexpr", value
                continue
            signature[p.name] = POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            if isinstance(value, torch.Tensor) or (not p.do_not_specialize and value % 16 == 0):
                attributes[(p.num,)] = [["tt.divisibility", 16]]
        source = ASTSource(kernel, signature, constexprs, attributes)
        result = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": num_warps})
        assert result.asm["cubin"]
        done[kernel.__name__] = result.asm["ptx"]

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(JITFunction, "run", launch)
    return done


def test_kernels_compile_for_hopper(compiled: dict[str, str]) -> None:
    """No atomics anywhere; rows of 64 numbers are read 16 bytes at a time."""
    from kgrec.graphs.ops import cuda

    n, m = 50, 2000
    indptr, column = torch.arange(n + 1) * 40, torch.zeros(m, dtype=torch.int32)
    score, edge, x = torch.zeros(m), torch.arange(m), torch.zeros(n, 64)
    cuda.sum_rows(indptr, column, score, x, edge)
    cuda.edge_dots(indptr, column, x, x)
    cuda.edge_softmax_backward(indptr, cuda.edge_softmax(indptr, score), score)
    cuda.segment_reduce(indptr, torch.zeros(m, 64), "max")
    cuda.pair_dots(x, x, column, column, edge, score)
    cuda.draw_negatives(edge, edge, edge, indptr, edge, 0)
    cuda.bi_activate(x, x, 0.01, 60000, 1.1, 0)
    cuda.bi_activate_backward(x, x, x, 0.01, 60000, 1.1, 0, edge)
    cuda.bi_combine(x, x)
    cuda.bi_combine_backward(x, x, x, x)
    cuda.block_topk_scan(x.bfloat16(), 0, score, column[None].repeat(n, 1), x, column, indptr, edge)
    assert len(compiled) == 18
    for name, ptx in compiled.items():
        assert ".target sm_90" in ptx
        assert not re.search(r"^\s*(@%p\d+ )?(atom|red)\.", ptx, re.MULTILINE), name
    for name in ("_sum_spans", "_edge_dots", "_pair_dots", "_max_spans", "_activate", "_combine"):
        assert re.search(r"ld\.global(\.\w+)*\.v4", compiled[name]), name
