"""Stage ``kg``: read the knowledge graph around the linked items."""

from __future__ import annotations

from kgrec.kg.build import build_kg
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    items: PathOption,
    links: PathOption,
    store: PathOption,
    kg: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Build the triples, entities and relations."""
    settings = load_params(params).kg
    write_report("kg", out, build_kg(items, links, store, kg, out, settings))


if __name__ == "__main__":
    run(main)
