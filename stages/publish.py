"""Stage ``publish``: make the chosen model a folder that answers on its own, with its card and its lineage."""

from __future__ import annotations

from kgrec.serving.publish import publish_model
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    model: PathOption,
    evaluation: PathOption,
    graph: PathOption,
    split: PathOption,
    items: PathOption,
    media: PathOption,
    sources: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Publish the model."""
    settings = load_params(params).publish
    counts = publish_model(model, evaluation, graph, split, items, media, sources, out / "model", settings)
    write_report("publish", out, counts)


if __name__ == "__main__":
    run(main)
