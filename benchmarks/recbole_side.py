"""RecBole's side of ``train_step.py``: RecBole 1.2.1 trains its KGAT in this process and tells what it took.

RecBole lives in a folder of its own, never in the project's environment, and is on the path of this process alone::

    pip install --no-deps --target .kgrec/bench/recbole recbole==1.2.1 colorlog==4.7.2 texttable tensorboard absl-py

What else it imports (torch, numpy, pandas, scipy, scikit-learn, DGL, tqdm, tabulate, colorama) is the project's. :func:`prepare`
gives it back the names that NumPy and DGL have dropped since; sampling, model, loss, optimizer and evaluation are RecBole's,
untouched.

It reads one JSON object from standard input and writes one to the file named there; ``train_step.py`` starts it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def peak_mb() -> float:
    """Peak of this process's resident memory, MB of 10^6 bytes. (``getrusage`` would tell that of its parent, if larger.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def prepare() -> None:
    """Names that RecBole 1.2.1 uses and today's libraries lack."""
    for old, new in (
        ("float_", np.float64),
        ("complex_", np.complex128),
        ("unicode_", np.str_),
        ("string_", np.bytes_),
    ):
        if not hasattr(np, old):
            setattr(np, old, new)
    from kgrec.graphs.dgl_compat import DGLGraph, dgl

    # DGL 1.0 gave this name to a sparse matrix of its own and called the old function adj_external
    DGLGraph.adjacency_matrix = DGLGraph.adj_external
    edge_subgraph = dgl.edge_subgraph
    # and preserve_nodes=True became relabel_nodes=False
    dgl.edge_subgraph = lambda graph, edges, preserve_nodes: edge_subgraph(
        graph, edges, relabel_nodes=not preserve_nodes
    )


class _Enough(Exception):
    """The steps asked for are done."""


class Clock:
    """Seconds of each phase of an epoch, measured around RecBole's own functions.

    :param steps: stop each phase after one step that is not counted and this many that are, and scale the time up to the whole
        phase; None runs whole phases
    """

    def __init__(self, trainer: Any, steps: int | None) -> None:
        self.seconds: dict[str, float] = {}
        self.steps, self.model = steps, trainer.model
        base = type(trainer).__mro__[1]
        run, refresh = base._train_epoch, trainer.model.update_attentive_A

        def train_phase(this: Any, data: Any, epoch: int, loss_func: Any = None, show_progress: bool = False) -> Any:
            phase = "kg" if loss_func else "cf"
            loss = loss_func or this.model.calculate_loss
            if self.steps is None:
                return self._timed(phase, lambda: run(this, data, epoch, loss_func=loss, show_progress=show_progress))
            return self._some_steps(phase, len(data), loss, lambda f: run(this, data, epoch, loss_func=f))

        base._train_epoch = train_phase
        trainer.model.update_attentive_A = lambda: self._timed("attention", refresh)

    def _timed(self, phase: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.seconds[phase] = time.perf_counter() - began
        return result

    def _some_steps(self, phase: str, total: int, loss: Callable, run: Callable) -> float:
        began, done, steps = 0.0, 0, min(self.steps or total, total - 1)

        def counted(batch: Any) -> Any:
            nonlocal began, done
            if done == 1:
                began = time.perf_counter()
            if done == steps + 1:
                self.seconds[phase] = (time.perf_counter() - began) / steps * total
                raise _Enough
            done += 1
            return loss(batch)

        try:
            run(counted)
        except _Enough:
            return 0.0
        self.seconds[phase] = (time.perf_counter() - began) / steps * total
        return 0.0


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate after every epoch; evaluation is in no time.

    :param task: see :func:`train_step.recbole_task`
    """
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_logger, init_seed

    atomic = Path(task["atomic"])
    began = time.perf_counter()
    config = Config(
        model="KGAT",
        dataset=atomic.name,
        config_dict={
            "data_path": str(atomic.parent), "checkpoint_dir": task["work"], "state": "WARNING", "show_progress": False,
            "use_gpu": False, "seed": task["seed"],
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {
                "inter": ["user_id", "item_id"], "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"],
            },
            "eval_args": {"group_by": "user", "order": "RO", "split": {"RS": [0.8, 0.1, 0.1]}, "mode": "full"},
            "metrics": ["NDCG", "Recall"], "topk": [20], "valid_metric": "NDCG@20", "metric_decimal_place": 12,
            "epochs": task["epochs"], "train_batch_size": task["batch"], "layers": task["layers"], **task["settings"],
        },
    )  # fmt: skip
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)
    setup = time.perf_counter() - began

    clock = Clock(trainer, task["steps"])
    epochs: list[dict[str, float]] = []
    for epoch in range(task["epochs"]):
        trainer._train_epoch(train_data, epoch, show_progress=False)
        row = dict(clock.seconds)
        for name, data in (("valid", valid_data), ("test", test_data)):
            row[name] = float(trainer.evaluate(data, load_best_model=False)["ndcg@20"])
        epochs.append(row)
        print(f"recbole epoch {epoch + 1} {json.dumps(row)}", file=sys.stderr, flush=True)
        target = task["target"]
        if target and all(row[part] >= target for part in task["target_on"]):
            break

    _save_vectors(model, dataset, Path(task["vectors"]))
    counts = {
        "users": dataset.user_num - 1, "items": dataset.item_num - 1, "nodes": dataset.user_num + dataset.entity_num - 2,
        "edges": len(model.all_hs), "relations": len(torch.unique(model.all_rs)), "triples": len(dataset.kg_feat),
        "interactions": len(train_data._dataset.inter_feat),
    }  # fmt: skip
    train_data.set_mode(_state("RS"))
    steps = {"cf": len(train_data)}
    train_data.set_mode(_state("KG"))
    steps["kg"] = len(train_data)
    return {
        "epochs": epochs, "setup": setup, "counts": counts, "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()), "peak_mb": peak_mb(),
    }  # fmt: skip


def _state(name: str) -> Any:
    from recbole.utils import KGDataLoaderState

    return KGDataLoaderState[name]


@torch.no_grad()
def _save_vectors(model: Any, dataset: Any, path: Path) -> None:
    """Write user and item vectors in kgrec's numbering: a user's token is its index, an item's its node."""
    model.eval()
    users, entities = model.forward()
    user_index = dataset.field2id_token["user_id"][1:].astype(np.int64)
    item_index = dataset.field2id_token["item_id"][1:].astype(np.int64)
    first = int(item_index.min())
    np.savez(
        path,
        users=users[1:].numpy()[np.argsort(user_index)],
        items=entities[1 : dataset.item_num].numpy()[np.argsort(item_index - first)],
    )


def main() -> None:
    """Run the task on standard input."""
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    prepare()
    result = train(task)
    Path(task["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
