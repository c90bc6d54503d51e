"""Stage ``graph``: number users, items and entities, and join them into graphs."""

from __future__ import annotations

from kgrec.graphs.build import build_graph
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    split: PathOption,
    items: PathOption,
    links: PathOption,
    triples: PathOption,
    entities: PathOption,
    features: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Build the graphs, the vocabulary and the sequences."""
    settings = load_params(params).graph
    write_report("graph", out, build_graph(split, items, links, triples, entities, features, out, settings))


if __name__ == "__main__":
    run(main)
