"""An error of the caller's is one red line on standard error and exit code 1; ``--debug`` shows where it came from."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from kgrec.errors import KgrecError


class Commands(TyperGroup):
    """The group of all commands; it turns a :class:`~kgrec.errors.KgrecError` into a line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KgrecError as error:
            if ctx.params.get("debug"):
                raise
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(1) from None
