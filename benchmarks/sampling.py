"""Neighbour-sampled KGAT against KGAT on the full graph: ``python benchmarks/sampling.py``.

Every fan-out, and the full graph, is trained for equal epochs by the same loop from the same seed, each in a process of its own.
The table gives, per fan-out, the edges a step aggregates over, seconds per epoch and what of them was drawing, the peak of
resident memory, and NDCG@20 on validation after every epoch. The last line is ``difference <best sampled NDCG@20 less full's>``.
Other uses::

    --fan-outs "full; 20,20; 5,5; {interact: 10, interact^-1: 20, '*': 3},{'*': 3}"     of layer 1, layer 2
    --share .02 --epochs 1      a look: a random part of the interactions and no triples; the graph stays whole
    --demo                      on the small synthetic film world
    --samplers                  how long DGL takes to draw a step's edges by run, by edge type, and from a heterograph

The data are those of ``train_step_data.py``: MovieLens-1M where it is at hand, else a synthetic film world.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table
from train_step_data import build, read_split

from kgrec.data.demo import DemoSettings
from kgrec.evaluation.protocol import EvaluateSettings, evaluate
from kgrec.evaluation.ranking import UserItems
from kgrec.graphs.data import GraphData, load_graph
from kgrec.graphs.sampling import NeighbourhoodSampler
from kgrec.models.base import Recommender
from kgrec.models.kgat import KGAT, KGATSettings
from kgrec.training.loop import LoopSettings, Trainer
from kgrec.training.run import keep_memory

FAN_OUTS = "full; -1,-1; 20,20; 10,10; 5,5; 2,2"


class Watched(NeighbourhoodSampler):
    """The sampler with a clock."""

    seconds, edges, steps = 0.0, 0, 0

    def sample(self, nodes: torch.Tensor, seed: int) -> Any:
        began = time.perf_counter()
        blocks = super().sample(nodes, seed)
        self.seconds += time.perf_counter() - began
        self.edges += sum(len(block.edge) for block in blocks)
        self.steps += 1
        return blocks


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train one model in this process."""
    torch.set_num_threads(task["threads"])
    keep_memory()
    folder = Path(task["folder"])
    data, split = load_graph(folder / "graph"), read_split(folder)
    users, items = (UserItems.from_pairs(*split[part], data.n_users) for part in ("train", "valid"))
    torch.manual_seed(task["seed"])
    model = KGAT(data, KGATSettings(layers=tuple(task["layers"])))
    sampler = None
    if task["fan_out"] is not None:
        fan_out = tuple(task["fan_out"])
        model.neighbourhood = sampler = Watched(model.adjacency, data.rels, data.relations, fan_out)
    if task["share"] < 1:
        chosen = torch.randperm(len(data.train_users), generator=torch.Generator().manual_seed(1))
        chosen = chosen[: int(task["share"] * len(chosen))].sort().values
        data = replace(data, train_users=data.train_users[chosen], train_items=data.train_items[chosen])
        model.phases = ("cf",)  # type: ignore[misc]

    def validate(model: Recommender) -> dict[str, float]:
        return evaluate(model, None, users, items, EvaluateSettings(topk=(20,)), device=torch.device("cpu"))

    loop = LoopSettings(
        epochs=task["epochs"], stopping_step=task["epochs"], train_batch_size=task["batch"],
        learning_rate=task["learning_rate"],
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as state:
        Trainer(model, data, loop, seed=task["seed"], validate=validate, state=Path(state), on_epoch=rows.append).run()
    layers = len(task["layers"])
    whole = model.adjacency.n_edges * (layers - 1) + model.target.n_edges
    return {
        "edges": sampler.edges / sampler.steps if sampler else whole,
        "drawing": sampler.seconds / len(rows) if sampler else 0.0,
        "seconds": float(np.mean([row["train_seconds"] for row in rows])),
        "peak": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
        "ndcg": [row["valid_NDCG@20"] for row in rows],
    }


def read_fan_outs(text: str) -> list[Any]:
    """``full; 5,5`` -> [None, [5, 5]]."""
    parts = [part.strip() for part in text.split(";")]
    return [None if part == "full" else yaml.safe_load(f"[{part}]") for part in parts]


def compare_samplers(data: GraphData, fan_out: int, nodes: torch.Tensor) -> dict[str, tuple[float, int]]:
    """Milliseconds, best of 5, and edges of one layer drawn for ``nodes`` in three ways."""
    from kgrec.graphs.dgl_compat import dgl
    from kgrec.graphs.heterograph import Edges, build_heterograph
    from kgrec.graphs.ops import Adjacency

    n = data.n_nodes
    adjacency = Adjacency.from_edges(data.heads, data.tails, (n, n))
    runs = NeighbourhoodSampler(adjacency, data.rels, data.relations, (fan_out,))
    # by edge type: one graph whose edges are numbered by relation
    by_rel = torch.argsort(data.rels, stable=True)
    number = torch.empty_like(by_rel)
    number[by_rel] = torch.arange(len(by_rel))
    columns = (adjacency.indptr.int(), adjacency.tail, number.int())
    one_type = dgl.graph(("csc", columns), num_nodes=n)
    offsets = [0, *torch.bincount(data.rels, minlength=data.n_relations).cumsum(0).tolist()]
    limits = torch.full((data.n_relations,), fan_out)
    # a heterograph: one list of edges for each (kind of tail, relation, kind of head)
    edges = Edges(data.heads.numpy(), data.rels.numpy(), data.tails.numpy())
    sizes = (data.n_users, data.n_items, data.n_entities)
    kinds = build_heterograph(sizes, data.relations, edges)
    bounds = np.cumsum([0, *sizes])
    of_kind = {
        name: (nodes[(nodes >= low) & (nodes < high)] - low).int()
        for name, low, high in zip(("user", "item", "entity"), bounds, bounds[1:], strict=False)
    }
    ways = {
        "by run, with its block": lambda: len(runs.sample(nodes, 1)[0].edge),
        "by edge type": lambda: dgl.sampling.sample_etype_neighbors(
            one_type, nodes.int(), offsets, limits, etype_sorted=True
        ).num_edges(),
        "heterograph": lambda: kinds.sample_neighbors(of_kind, fan_out, edge_dir="out").num_edges(),
    }
    found = {}
    for name, draw in ways.items():
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            count = draw()
            best = min(best, time.perf_counter() - began)
        found[name] = (best * 1e3, count)
    return found


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Train in a process of its own."""
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(task["threads"]))}
    done = subprocess.run(
        [sys.executable, __file__, "--inside"], input=json.dumps(task), text=True, stdout=subprocess.PIPE, env=environment,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default ../shared/data, else the demo")
    parser.add_argument("--fan-outs", default=FAN_OUTS)
    parser.add_argument("--layers", default="64,32")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--samplers", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.stdout.write("\n" + json.dumps(train(json.loads(sys.stdin.read()))) + "\n")
        return
    console = Console(width=132)
    folder = build(name="film-world", demo=DemoSettings.model_validate({})) if options.demo else build(options.data)
    if options.samplers:
        data = load_graph(folder / "graph")
        nodes = torch.arange(0, data.n_nodes, 3)
        table = Table("DGL's sampler", "ms", "edges", title=f"at most 5 edges a relation, {len(nodes):,} heads")
        for name, (ms, count) in compare_samplers(data, 5, nodes).items():
            table.add_row(name, f"{ms:.1f}", f"{count:,}")
        console.print(table)
        return
    task = {
        "folder": str(folder), "layers": [int(w) for w in options.layers.split(",")],
        **{key: getattr(options, key) for key in ("epochs", "batch", "learning_rate", "seed", "share", "threads")},
    }  # fmt: skip
    title = f"{folder.name}, layers {options.layers}, batch {options.batch}, {options.epochs} epochs"
    table = Table("fan-out", "edges/step", "s/epoch", "drawing, s", "peak, MiB", "NDCG@20 by epoch", title=title)
    best: dict[bool, float] = {}
    for fan_out in read_fan_outs(options.fan_outs):
        found = run({**task, "fan_out": fan_out})
        full = fan_out is None
        best[full] = max(best.get(full, 0.0), *found["ndcg"])
        shown = "full graph" if full else ", ".join(map(str, fan_out))
        print(shown, json.dumps(found), file=sys.stderr, flush=True)
        numbers = f"{found['edges']:,.0f}", f"{found['seconds']:.1f}", f"{found['drawing']:.1f}", f"{found['peak']:.0f}"
        table.add_row(shown, *numbers, " ".join(f"{value:.4f}" for value in found["ndcg"]))
    console.print(table)
    if len(best) == 2:
        console.print(f"difference {best[False] - best[True]:+.4f}")


if __name__ == "__main__":
    main()
