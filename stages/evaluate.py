"""Stage ``evaluate``: rank all items for every user with every model, and say which is better, honestly."""

from __future__ import annotations

from kgrec.evaluation.run import evaluate_models
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    models: PathOption, graph: PathOption, split: PathOption, out: PathOption, params: PathOption = PARAMS
) -> None:
    """Evaluate the models."""
    settings = load_params(params).evaluate
    write_report("evaluate", out, evaluate_models(models, graph, split, out, settings))


if __name__ == "__main__":
    run(main)
