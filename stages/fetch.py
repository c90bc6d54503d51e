"""Stage ``fetch``: bring the raw files of the recipe, as published, or generate the demo world."""

from __future__ import annotations

from kgrec.data.fetch import fetch
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(out: PathOption, cache: PathOption, params: PathOption = PARAMS) -> None:
    """Bring the raw files of the recipe."""
    settings = load_params(params).fetch
    write_report("fetch", out, fetch(out, settings, cache))


if __name__ == "__main__":
    run(main)
