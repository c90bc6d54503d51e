"""Data parallel: several processes, started by ``torchrun``, train one model. Each works its share of a batch's slices;
gradients are summed, id tables are spread over the processes by rows, all else is in every process.

A process is alone unless ``torchrun`` started it; then everything here does nothing. Process 0 reports and writes. A process
that fails takes the others with it: its message reaches process 0, which raises it as one error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numba
import torch
from torch import Tensor, distributed, nn

from kgrec.device import find_device
from kgrec.errors import ConfigError, KgrecError, TrainingError
from kgrec.models.blocks.sharded_table import ShardedTable

#: seconds a failed process waits for process 0 to report in its stead
PATIENCE = 30.0


@dataclass(frozen=True)
class Group:
    """The processes that train together; methods that speak of others are collective."""

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Group:
        """The group this process is in."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def check_slices(self, slices: int) -> None:
        """:raises ConfigError: there are more processes than slices to share out"""
        if self.world > slices:
            raise ConfigError(
                f"train.slices is {slices}, but {self.world} processes train: set train.slices to {self.world} or more, "
                "or start fewer processes"
            )

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, all in one message per dtype."""
        if self.world == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in chosen])
            distributed.all_reduce(flat)
            for tensor, summed in zip(chosen, flat.split([tensor.numel() for tensor in chosen]), strict=True):
                tensor.copy_(summed.view_as(tensor))

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def agree(self, value: Any) -> Any:
        """What process 0 has for ``value``: floats that decide something must not differ by a rounding."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, 0)
        return box[0]

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


def shard(model: nn.Module) -> set[nn.Parameter]:
    """Spread the id tables of a model over the processes.

    A class names them in ``sharded``, for itself and not for its subclasses, which may read a table in another way; its
    instances have their :class:`ShardedTable` in ``tables``.

    :return: the parameters whose gradient arrives summed and of which each process has other rows
    """
    tables: dict[str, ShardedTable] = getattr(model, "tables", {})
    parameters = {name: model.get_parameter(name) for name in vars(type(model)).get("sharded", ())}
    if Group.current().world == 1:
        return set()
    for name, parameter in parameters.items():
        if tables[name].world == 1:
            tables[name].split(parameter)
    return set(parameters.values())


def started() -> int:
    """How many processes were started together, by the environment ``torchrun`` sets."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process is alone or the first of those `torchrun` started: the one that prints and writes reports."""
    return os.environ.get("RANK", "0") == "0"


def own_device(name: str) -> torch.device:
    """:func:`kgrec.device.find_device`, where several processes of a machine take a GPU each."""
    device = find_device(name)
    if started() == 1 or device.type != "cuda" or device.index is not None:
        return device
    return find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")


@contextmanager
def joined(device: torch.device, timeout: float) -> Iterator[Group]:
    """Join the processes that were started together while the block runs: NCCL on CUDA, gloo on the CPU.

    :param timeout: seconds a process waits for the others in one exchange
    :raises TrainingError: in process 0, another process failed or did not answer; in the others only where process 0 cannot
        say so
    """
    if started() == 1 or distributed.is_initialized():
        yield Group.current()
        return
    limit = timedelta(seconds=timeout)
    try:
        shared, rank, world = next(iter(distributed.rendezvous("env://", timeout=limit)))
        store = distributed.PrefixStore("kgrec", shared)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend, store=distributed.PrefixStore("group", store), rank=rank, world_size=world, timeout=limit
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the environment says that {started()} processes train together, but they do not meet "
            f"({_line(error)}): start them with torchrun, or unset WORLD_SIZE"
        ) from None
    numba.set_num_threads(max(1, min(numba.config.NUMBA_NUM_THREADS, torch.get_num_threads())))
    try:
        yield Group(rank, world)
    except Exception as error:
        _leave()
        _report(error, store, rank, world, timeout)
    finally:
        _leave()


def _leave() -> None:
    with suppress(RuntimeError):
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _report(error: Exception, store: Any, rank: int, world: int, timeout: float) -> None:
    """Raise in process 0 what went wrong first, wherever that was; elsewhere end quietly once process 0 has said it."""
    lost = isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
    if not lost:
        with suppress(RuntimeError):
            store.compare_set("failed", "", f"process {rank} failed: {_line(error)}")
    if rank == 0:
        message = _wait(store, "failed", 5.0) if lost else None
        with suppress(RuntimeError):
            store.set("told", "yes")
            # the store may live in this process: it stays until the others have read it
            store.wait([f"heard {other}" for other in range(1, world)], timedelta(seconds=2))
        if not lost:
            raise error
        raise TrainingError(
            message
            or f"a process was lost, or did not answer within train.timeout = {timeout:g} seconds ({_line(error)}); "
            "the last checkpoint is kept: start again to go on from it"
        ) from None
    if not (lost or isinstance(error, KgrecError)):
        raise error  # ours to mend: keep the traceback
    if _wait(store, "told", PATIENCE) is None:
        raise error
    with suppress(RuntimeError):
        store.set(f"heard {rank}", "yes")
    raise SystemExit(1)


def _wait(store: Any, key: str, seconds: float) -> str | None:
    """A value of the store, waited for; None where it does not come."""
    try:
        store.wait([key], timedelta(seconds=seconds))
        return store.get(key).decode()
    except RuntimeError:
        return None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
