"""Stage ``link``: say which entity of the knowledge graph each item is."""

from __future__ import annotations

from kgrec.kg.links import link_items
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(items: PathOption, links: PathOption, store: PathOption, out: PathOption, params: PathOption = PARAMS) -> None:
    """Link items to entities."""
    settings = load_params(params).link
    write_report("link", out, link_items(items, links, store, out, settings))


if __name__ == "__main__":
    run(main)
