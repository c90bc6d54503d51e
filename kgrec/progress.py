"""One progress bar for all long work: done, total, rate and time left, on standard error, silent when not a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_active = False

if not structlog.is_configured():
    # a library says nothing on standard output; an application that wants the events configures structlog itself
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def get_logger(name: str) -> Any:
    """Logger of named events with values: ``log.info("finished epoch", epoch=3, loss=0.21)``."""
    return structlog.get_logger(name)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields.get('unit', 'it')}/s")


class ItemProgress:
    """Handle of a running bar."""

    def __init__(self, progress: Progress | None, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Move the bar by ``n`` units; ``fields`` (``loss=0.21``) are shown behind it."""
        if self._progress is None:
            return
        note = "  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items())
        self._progress.update(self._task, advance=n)
        if note:
            self._progress.update(self._task, note=note)

    def expect(self, total: float | None) -> None:
        """Say, or correct, how many units there are."""
        if self._progress is not None:
            self._progress.update(self._task, total=total)


@contextmanager
def item_progress(description: str, total: float | None, unit: str = "it") -> Iterator[ItemProgress]:
    """Show a bar for ``total`` units while the block runs. Nested bars are silent."""
    global _active
    if _active or not sys.stderr.isatty():
        yield ItemProgress(None, None)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, unit=unit, note="")
        _active = True
        try:
            yield ItemProgress(progress, task)
        finally:
            _active = False
