"""kgrec's side of ``train_step.py``: kgrec's own trainer, as the pipeline runs it, in this process, with a clock around its phases.

It reads one JSON object from standard input and writes one to the file named there; ``train_step.py`` starts it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from recbole_side import peak_mb
from torch.profiler import ProfilerActivity, profile, record_function
from train_step_data import read_split, with_random_features

from kgrec.evaluation.protocol import EvaluateSettings, evaluate
from kgrec.evaluation.ranking import UserItems
from kgrec.graphs.data import load_graph
from kgrec.models.base import Recommender
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer
from kgrec.training.run import keep_memory, release_memory
from kgrec.training.state import derive_seed

#: family -> what the profiler calls its operators; the first that fits counts
FAMILIES = {
    "matrix products": r"aten::(mm|addmm|bmm|baddbmm|matmul|linear|_?scaled_mm)$|mkldnn",
    "fusion attention": r"scaled_dot_product|flash_attention|aten::_softmax",
    "optimizer": r"[Oo]ptimizer|adam",
    "gather and scatter": r"Index|aten::_?(index|gather|scatter|embedding|sort|argsort|nonzero)",
    "memory": r"aten::(empty|zeros|zero_|fill_|copy_|_to_copy|clone|cat|stack|resize)|AccumulateGrad",
}


def family(operator: str) -> str:
    """What an operator is counted as; kgrec's own (``_Aggregate``, ``_AggregateBackward``) each as a family of its own name."""
    name = operator.removeprefix("autograd::engine::evaluate_function: ")
    if own := re.fullmatch(r"(?:_([A-Z]\w*?)(?:Backward)?|(sampling))", name):
        return "kgrec " + (own[1] or own[2])
    return next((kind for kind, pattern in FAMILIES.items() if re.search(pattern, name)), "elementwise and other")


class Enough(Exception):
    """What was asked for is reached."""


class TimedTrainer(Trainer):
    """The trainer with a clock.

    :param steps: run one step of each phase that is not counted and this many that are, and scale their time up to the whole
        phase; None runs whole phases
    """

    def __init__(self, *args: Any, steps: int | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        self.most = steps
        #: phase -> seconds in this epoch, and the seconds of each of its steps
        self.seconds: dict[str, float] = {}
        self.step_seconds: dict[str, list[float]] = {}
        refresh = self.model.refresh

        def timed_refresh() -> None:
            began = time.perf_counter()
            refresh()
            self.seconds["attention"] = time.perf_counter() - began

        self.model.refresh = timed_refresh  # type: ignore[method-assign]

    def whole_steps(self, phase: str) -> int:
        """Steps of a whole phase."""
        return super()._steps(phase)

    def _steps(self, phase: str) -> int:
        steps = super()._steps(phase)
        return min(steps, self.most + 1) if self.most else steps

    def _phase(self, phase: str, *args: Any) -> Iterator[Any]:
        began = last = time.perf_counter()
        self.step_seconds[phase] = []
        for outcome in super()._phase(phase, *args):
            now = time.perf_counter()
            self.step_seconds[phase].append(now - last)
            yield outcome
            last = time.perf_counter()
        self.seconds[phase] = time.perf_counter() - began
        counted = self.step_seconds[phase][1:]
        if self.most and counted:
            self.seconds[phase] = sum(counted) / len(counted) * self.whole_steps(phase)

    def _cf_batch(self, *args: Any) -> Any:
        with record_function("sampling"):
            return super()._cf_batch(*args)

    def _kg_batch(self, *args: Any) -> Any:
        with record_function("sampling"):
            return super()._kg_batch(*args)


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate after every epoch; evaluation is in no time.

    :param task: see :func:`train_step.our_task`
    """
    folder = Path(task["folder"])
    began = time.perf_counter()
    keep_memory()
    data = load_graph(folder / task["graph"], folder / "mapped" if task["mapped"] else None)
    if task["model"] == "multi_kg4rec":
        data = with_random_features(data)
    pairs = {"train": torch.stack([data.train_users, data.train_items])}
    pairs |= {name: torch.from_numpy(part) for name, part in read_split(folder, ("valid", "test")).items()}
    parts = {name: UserItems.from_pairs(*part, data.n_users) for name, part in pairs.items()}
    seen = UserItems.from_pairs(*torch.cat([pairs["train"], pairs.pop("valid")], 1), data.n_users)
    protocol = EvaluateSettings(topk=(20,), metrics=("NDCG", "Recall"))

    def validate(model: Recommender) -> dict[str, float]:
        if task["steps"]:
            return {"NDCG@20": 0.0, "test": 0.0}
        valid = evaluate(model, None, parts["train"], parts["valid"], protocol)
        test = evaluate(model, None, seen, parts["test"], protocol)
        return {"NDCG@20": valid["NDCG@20"], "test": test["NDCG@20"]}

    release_memory()
    torch.manual_seed(derive_seed(task["seed"], "weights"))
    model = build_model(task["model"], data, task["settings"])
    loop = LoopSettings.model_validate({"epochs": task["epochs"], "stopping_step": task["epochs"] + 1, **task["loop"]})
    epochs: list[dict[str, float]] = []

    def on_epoch(row: dict[str, float]) -> None:
        seconds = sum(trainer.seconds.values()) if task["steps"] else row["train_seconds"]
        epochs.append({**trainer.seconds, "epoch": seconds, "valid": row["valid_NDCG@20"], "test": row["valid_test"]})
        print(f"kgrec epoch {len(epochs)} {json.dumps(epochs[-1])}", file=sys.stderr, flush=True)
        if task["target"] and all(epochs[-1][part] >= task["target"] for part in task["target_on"]):
            raise Enough
        if task["budget"] and sum(one["epoch"] for one in epochs) > task["budget"]:
            raise Enough

    with tempfile.TemporaryDirectory() as state:
        trainer = TimedTrainer(
            model,
            data,
            loop,
            seed=task["seed"],
            validate=validate,
            state=Path(state),
            on_epoch=on_epoch,
            steps=task["steps"],
        )
        setup = time.perf_counter() - began
        table = None
        try:
            if task["profile"]:
                table = _profile(trainer)
            else:
                trainer.run()
        except Enough:
            pass
    return {
        "epochs": epochs, "setup": setup, "step_seconds": trainer.step_seconds, "profile": table,
        "attention": trainer.seconds.get("attention"),
        "counts": {
            "users": data.n_users, "items": data.n_items, "nodes": data.n_nodes, "edges": len(data.heads),
            "relations": data.n_relations, "interactions": len(data.train_users), "triples": len(getattr(trainer, "triples", ())),
        },
        "steps": {phase: trainer.whole_steps(phase) for phase in trainer.phases},
        "parameters": sum(p.numel() for p in model.parameters()), "peak_mb": peak_mb(),
    }  # fmt: skip


def _profile(trainer: TimedTrainer) -> dict[str, dict[str, Any]]:
    """Where a step's time goes, by phase: seconds per step of each family, and the profiler's own table."""
    for _ in range(2):  # the first warms up, here and below
        trainer.model.refresh()
    tables = {}
    for phase in trainer.phases:
        steps = trainer._steps(phase)
        for number in range(2):
            trainer.model.train()
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                began = time.perf_counter()
                for _ in trainer._phase(phase, number + 1, 0, steps):
                    pass
                wall = time.perf_counter() - began
        families: dict[str, float] = {}
        for event in profiler.key_averages():
            name = family(event.key)
            families[name] = families.get(name, 0.0) + event.self_cpu_time_total / 1e6
        families["outside operators"] = wall - sum(families.values())
        tables[phase] = {
            "steps": steps, "wall": wall / steps,
            "families": {name: seconds / steps for name, seconds in families.items()},
            "table": profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40),
        }  # fmt: skip
    return tables


def main() -> None:
    """Run the task on standard input."""
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    result = train(task)
    Path(task["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
