"""Stage ``split``: divide the interactions into train, validation and test, before anything is learnt."""

from __future__ import annotations

from kgrec.data.split import split_interactions
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(interactions: PathOption, links: PathOption, out: PathOption, params: PathOption = PARAMS) -> None:
    """Divide the interactions."""
    settings = load_params(params).split
    write_report("split", out, split_interactions(interactions, links, out, settings))


if __name__ == "__main__":
    run(main)
