"""How an entry runs from the command line: paths as named options, what went wrong as one line, exit code 1."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from kgrec.errors import KgrecError

#: a file or folder the stage reads, or the folder it writes to
PathOption = Annotated[Path, typer.Option(show_default=False)]


def run(app: typer.Typer | Callable[..., Any]) -> None:
    """Run a typer app, or a function as one, on the program's arguments.

    A :class:`~kgrec.errors.KgrecError` becomes its message on standard error and exit code 1: it is the caller's to
    mend, and a traceback would hide the remedy. Anything else is ours to mend and keeps its traceback.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(function)
    try:
        app()
    except KgrecError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
