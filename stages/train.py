"""Stage ``train``: fit every model of the recipe on the training interactions; DVCLive shows the curves meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dvclive import Live

from kgrec.training.distributed import is_first_process
from kgrec.training.run import train_models
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(graph: PathOption, split: PathOption, out: PathOption, state: PathOption, params: PathOption = PARAMS) -> None:
    """Train the models."""
    settings = load_params(params).train
    if not is_first_process():
        train_models(graph, split, out / "models", settings, state)
        return
    with Live(str(out / "live"), save_dvc_exp=False, dvcyaml=None, monitor_system=False) as live:

        def on_epoch(epoch: Mapping[str, Any]) -> None:
            live.step = int(epoch["epoch"])
            for name, value in epoch.items():
                if name not in ("model", "epoch", "seconds", "train_seconds"):
                    live.log_metric(f"{epoch['model']}/{name}", value)
            live.make_summary()

        counts = train_models(graph, split, out / "models", settings, state, on_epoch=on_epoch)
    write_report("train", out, counts)


if __name__ == "__main__":
    run(main)
