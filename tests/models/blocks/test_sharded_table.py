"""A table in three processes gives the rows and gradients of a whole one; alone it is the parameter itself."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from kgrec.graphs.ops import gather_rows
from kgrec.models.blocks import sharded_table
from kgrec.models.blocks.sharded_table import ShardedTable, is_first

WORLD = 3


def whole_table(n_rows: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(n_rows, 5, generator=torch.Generator().manual_seed(n_rows), dtype=dtype)


def wanted(n_rows: int, process: int) -> torch.Tensor:
    """Rows a process asks for: repeated, of few owners, or none."""
    rows = torch.randint(0, n_rows, (11,), generator=torch.Generator().manual_seed(process))
    return [rows, rows // WORLD * WORLD % n_rows, rows[:0]][process]


def upstream(shape: torch.Size, process: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + process), dtype=dtype)


CASES = [(7, torch.float32), (9, torch.float64), (2, torch.float32)]


def _work(process: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=process, world_size=WORLD, timeout=timedelta(hours=1)
    )
    sharded_table.ROWS_AT_ONCE = 2  # several messages even here
    found: dict[Any, Any] = {}
    for n_rows, dtype in CASES:
        table, own = ShardedTable(n_rows), nn.Parameter(whole_table(n_rows, dtype))
        table.split(own)
        for kind in ("rows", "all"):
            own.grad = None
            out = table(own, wanted(n_rows, process)) if kind == "rows" else table.all(own)
            out.backward(upstream(out.shape, process, dtype))
            found[n_rows, kind] = out.detach(), own.grad
        found[n_rows, "gathered"] = table.gather(own)
        found[n_rows, "first"] = is_first()
    torch.save(found, folder / f"{process}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder = tmp_path_factory.mktemp("table")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(n, folder)) for n in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [torch.load(folder / f"{n}.pt") for n in range(WORLD)]


@pytest.mark.parametrize(("n_rows", "dtype"), CASES)
@pytest.mark.parametrize("kind", ["rows", "all"])
def test_rows_and_gradients_are_those_of_the_whole_table(
    found: list[dict[Any, Any]], n_rows: int, dtype: torch.dtype, kind: str
) -> None:
    whole = nn.Parameter(whole_table(n_rows, dtype))
    for process in range(WORLD):
        out = whole[wanted(n_rows, process)] if kind == "rows" else whole * 1
        assert torch.equal(found[process][n_rows, kind][0], out)
        out.backward(upstream(out.shape, process, dtype))
    assert whole.grad is not None
    for process in range(WORLD):
        torch.testing.assert_close(found[process][n_rows, kind][1], whole.grad[process::WORLD])


@pytest.mark.parametrize(("n_rows", "dtype"), CASES)
def test_the_first_process_gathers_the_whole(found: list[dict[Any, Any]], n_rows: int, dtype: torch.dtype) -> None:
    assert torch.equal(found[0][n_rows, "gathered"], whole_table(n_rows, dtype))
    assert [one[n_rows, "gathered"] is None for one in found] == [False, True, True]
    assert [one[n_rows, "first"] for one in found] == [True, False, False]


def test_alone_it_is_the_parameter() -> None:
    own = nn.Parameter(whole_table(6, torch.float32))
    table = ShardedTable(6)
    assert table.all(own) is own
    rows = torch.tensor([4, 4, 0])
    assert torch.equal(table(own, rows), gather_rows(own, rows))
    assert torch.equal(table.gather(own), own)  # type: ignore[arg-type]
    assert is_first()
