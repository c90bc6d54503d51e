"""Stage ``interactions``: read ratings, items and users in whatever format they are published, into tables."""

from __future__ import annotations

from kgrec.data.interactions import build_interactions
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(ratings: PathOption, texts: PathOption, out: PathOption, params: PathOption = PARAMS) -> None:
    """Read ratings, items and users into tables."""
    settings = load_params(params).interactions
    write_report("interactions", out, build_interactions(ratings, texts, out, settings))


if __name__ == "__main__":
    run(main)
