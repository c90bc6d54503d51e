"""``kgrec extract``: read RDF dumps into a compact store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def extract(
    dumps: Annotated[
        list[str],
        typer.Argument(
            help="RDF dumps: paths or URLs; .gz, .bz2, .zst or plain; N-Triples, Turtle …", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder of the store to write", show_default=False)],
    work: Annotated[
        Path | None, typer.Option(help="where a run that is killed goes on; beside the store if not given")
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="YAML file with a section `extract`; defaults if not given", show_default=False)
    ] = None,
) -> None:
    """Read RDF dumps once into a store: facts, types, names, dates and keys. A run that was killed goes on."""
    from kgrec.cli.common import echo_json, log_to_stderr, section
    from kgrec.kg.store import ExtractSettings, build_store

    log_to_stderr()
    settings = section(ExtractSettings, params, "extract") if params else ExtractSettings()
    echo_json(build_store([*dumps, *settings.dumps], out, settings, work))
