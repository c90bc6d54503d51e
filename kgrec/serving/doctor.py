"""The doctor says what this machine has of what kgrec uses, and what to do about what it has not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "missing"]

#: below these a run of the ml-1m recipe gets tight, GiB
DISK_GIB, MEMORY_GIB = 10.0, 8.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    status: Status
    """``ok``; ``warn``: works, but less or slower; ``missing``: something kgrec needs is not there"""
    found: str
    remedy: str = ""


def diagnose(folder: Path = Path(".")) -> list[Finding]:
    """Look at everything; a check that fails in an unforeseen way is itself a finding, never an exception.

    :param folder: where artifacts will be written, for the free disk space
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", _python), ("PyTorch", _torch), ("DGL", _dgl), ("encoders", _encoders), ("pipeline", _pipeline),
        ("CPU and memory", _memory), ("disk", lambda: _disk(folder)),
    ]  # fmt: skip
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings.extend(check())
        except Exception as error:
            findings.append(Finding(name, "missing", f"cannot be checked: {_reason(error)}", "install kgrec again"))
    return findings


def _reason(error: Exception) -> str:
    """First line of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        yield Finding("Python", "warn", found, "tested with 3.10 to 3.12; make an environment with one of these")
    elif platform.system() != "Linux":
        yield Finding("Python", "warn", found, "kgrec is tested on Linux only")
    else:
        yield Finding("Python", "ok", found)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("PyTorch", "missing", f"does not import ({error})", "pip install 'torch>=2.13,<2.16'")
        return
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if (2, 13) <= release <= (2, 15):
        yield Finding("PyTorch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    else:
        yield Finding("PyTorch", "warn", torch.__version__, "tested with 2.13 to 2.15: pip install 'torch>=2.13,<2.16'")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Finding(f"CUDA device {index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    elif shutil.which("nvidia-smi"):
        remedy = (
            "this PyTorch is built without CUDA, or the driver is too old; install the CUDA build of the same version"
        )
        yield Finding("CUDA", "warn", "an NVIDIA driver is there, but PyTorch sees no device", remedy)
    else:
        yield Finding("CUDA", "warn", "no device", "training runs on the CPU: fine for the demo, long for ml-1m")


def _dgl() -> Iterator[Finding]:
    try:
        from kgrec.graphs.dgl_compat import dgl
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        yield Finding(
            "DGL",
            "missing",
            f"does not import ({reason})",
            "pip install 'dgl>=2.1,<2.2' 'setuptools>=70' 'packaging>=24'",
        )
        return
    yield Finding("DGL", "ok", f"{dgl.__version__} (graphs on the CPU; kgrec's own kernels use CUDA)")


def _encoders() -> Iterator[Finding]:
    from kgrec.features.encoders import available_encoders

    choices = available_encoders()
    for one in choices:
        kinds = " and ".join(one.modalities)
        if one.available:
            yield Finding(f"encoder {one.name}", "ok", f"{kinds}: {one.note}")
        else:
            yield Finding(f"encoder {one.name}", "warn", f"{kinds}: not here yet", one.note)
    if not any(one.available for one in choices):
        yield Finding("encoders", "missing", "none can be had", "install kgrec again; two come with it")


def _pipeline() -> Iterator[Finding]:
    for package in ("dvc", "dvclive"):
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "warn", "not installed", "only the pipeline needs it: pip install 'kgrec[pipeline]'")
    if shutil.which("git"):
        yield Finding("git", "ok", shutil.which("git") or "")
    else:
        yield Finding("git", "warn", "not found", "only the pipeline needs it: install git")


def _memory() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    if text != "max":
        total = min(total, int(text) / 2**30)
    found = f"{cores} cores, {total:.1f} GiB memory"
    if total < MEMORY_GIB:
        yield Finding("CPU and memory", "warn", found, f"ml-1m wants {MEMORY_GIB:.0f} GiB; the demo runs with less")
    else:
        yield Finding("CPU and memory", "ok", found)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.1f} GiB free at {folder.resolve()}"
    if free < DISK_GIB:
        yield Finding("disk", "warn", found, f"artifacts and caches of ml-1m want {DISK_GIB:.0f} GiB; free some space")
    else:
        yield Finding("disk", "ok", found)
