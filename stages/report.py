"""Stage ``report``: one HTML page with what the pipeline did and what its model recommends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kgrec.serving.report import write_report as write_page
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    reports: Annotated[list[Path], typer.Argument(help="report.json of the stages, in their order")],
    media: PathOption,
    split: PathOption,
    training: PathOption,
    evaluation: PathOption,
    model: PathOption,
    quality: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Write the page."""
    settings = load_params(params).report
    page = out / "report.html"
    counts = write_page(reports, media, split, training, evaluation, model, page, settings, quality=quality)
    write_report("report", out, counts)


if __name__ == "__main__":
    run(main)
