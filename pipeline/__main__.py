"""``python -m pipeline use RECIPE`` chooses what runs, ``python -m pipeline table`` shows what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.entry import run
from pipeline.layout import PARAMS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def use(
    recipe: Annotated[str, typer.Argument(help="name of a recipe in pipeline/recipes/")],
    data: Annotated[Path | None, typer.Option(help="folder of your own copies of the sources")] = None,
) -> None:
    """Write params.yaml from a recipe."""
    from pipeline.recipe import write_params

    write_params(recipe, data)
    typer.echo(f"{PARAMS} is now the recipe {recipe}; run it with `make repro`")


@app.command()
def table() -> None:
    """Show the metrics of all models, the folder of the published one, and the page."""
    from pipeline.table import summary

    typer.echo(summary())


if __name__ == "__main__":
    run(app)
