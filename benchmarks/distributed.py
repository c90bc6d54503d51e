"""Data parallel on one machine: seconds per step, bytes sent, memory and losses of 1, 2, .. gloo processes on one batch.

    python benchmarks/distributed.py

The graph is synthetic (items of power-law popularity); processes share the machine's cores, so what it shows is what sharing
costs, not what more machines give. Every process count works the same slices of the same batches; the last line is the largest
relative difference of any step's loss from that of one process. `table MB` is what a process holds of the id table: its rows,
their gradient, and two moments for each of the two phases.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import distributed

from kgrec.graphs.data import GraphData
from kgrec.graphs.sampling import NeighbourhoodSampler
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer

#: name -> layers, neighbours drawn per layer (None: the full graph)
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None]] = {
    "full graph": ((64,), None),
    "sampled": ((64,), (10,)),
}
RELATIONS = 10


def synthetic(users: int, items: int, entities: int, seed: int = 0) -> GraphData:
    """A graph with 50 interactions per user, 10 triples per item and their inverses."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1) ** 0.8
    pairs = np.unique(
        np.stack([np.repeat(np.arange(users), 50), rng.choice(items, 50 * users, p=popularity / popularity.sum())], 1),
        axis=0,
    )
    user, item = pairs[:, 0], pairs[:, 1] + users
    head = users + rng.integers(0, items, 10 * items)
    tail = users + items + rng.integers(0, entities, 10 * items)
    rel = rng.integers(1, RELATIONS, 10 * items)
    edges = np.concatenate(
        [
            np.stack([user, np.zeros_like(user), item], 1), np.stack([item, np.full_like(user, RELATIONS), user], 1),
            np.stack([head, rel, tail], 1), np.stack([tail, rel + RELATIONS, head], 1),
        ]
    )  # fmt: skip
    edges = np.unique(edges, axis=0)
    heads, rels, tails = (torch.from_numpy(column.copy()) for column in edges.T)
    names = [f"{number}{side}" for side in ("", "^-1") for number in range(RELATIONS)]
    train = torch.from_numpy(pairs)
    return GraphData(
        users, items, entities, names, heads, rels, tails, train[:, 0].contiguous(), train[:, 1].contiguous()
    )


class Sent:
    """Bytes this process hands to the exchanges, those to itself left out."""

    def __init__(self) -> None:
        self.bytes = 0

    def count(self, name: str, tensor_at: int, times: float) -> None:
        """Count what calls of an exchange send. ``times`` the tensor's bytes"""
        original = getattr(distributed, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            tensor = arguments[tensor_at]
            self.bytes += int(tensor.numel() * tensor.element_size() * times)
            return original(*arguments, **options)

        setattr(distributed, name, counted)


def measure(process: int, world: int, arguments: argparse.Namespace, folder: str) -> None:
    """What one process of ``world`` does; it writes its figures to the folder."""
    torch.set_num_threads(max(1, arguments.threads // world))
    import numba

    numba.set_num_threads(max(1, min(arguments.threads // world, numba.config.NUMBA_NUM_THREADS)))
    sent = Sent()
    if world > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meet{world}", rank=process, world_size=world,
            timeout=timedelta(seconds=600),
        )  # fmt: skip
        others = world - 1
        sent.count("all_to_all_single", 1, others / world)
        sent.count("all_gather", 1, others)
        sent.count("all_reduce", 0, 2 * others / world)
    data = synthetic(arguments.users, arguments.items, arguments.entities)
    figures = {}
    for case, (layers, fan_out) in CASES.items():
        torch.manual_seed(0)
        model = build_model("kgat", data, {"embedding_size": 64, "layers": layers})
        if fan_out:
            model.neighbourhood = NeighbourhoodSampler(model.adjacency, data.rels, data.relations, fan_out)
        loop = LoopSettings(train_batch_size=arguments.batch, kg_batch_size=arguments.batch, slices=arguments.slices)
        trainer = Trainer(model, data, loop, seed=1, validate=lambda _: {}, state=Path(folder) / "state")
        trainer._refresh()
        model.train()
        row: dict[str, Any] = {"losses": []}
        for phase in trainer.phases:
            seconds, sent.bytes, started = [], 0, time.perf_counter()
            for number, (_, _, values) in enumerate(trainer._phase(phase, 1, 0, arguments.steps + 1)):
                row["losses"].append(float(values[-1]))
                if number:
                    seconds.append(time.perf_counter() - started)
                started = time.perf_counter()
            row[phase] = statistics.median(seconds)
            row[f"{phase}_bytes"] = sent.bytes / (arguments.steps + 1)
        moments = [v for o in trainer.optimizers.values() for v in o.state.get(model.node, {}).values()]
        row["table"] = sum(t.numel() * t.element_size() for t in (model.node, model.node.grad, *moments))
        figures[case] = row
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        figures["peak"] = int(line.split()[1]) / 1024
    (Path(folder) / f"{world}.{process}.json").write_text(json.dumps(figures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--entities", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--slices", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="measured steps per phase")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=2, help="in all, shared by the processes")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found: dict[int, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for world in arguments.processes:
            workers = [context.Process(target=measure, args=(n, world, arguments, folder)) for n in range(world)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
                if worker.exitcode:
                    raise SystemExit(f"a process of {world} ended with exit code {worker.exitcode}")
            found[world] = [json.loads((Path(folder) / f"{world}.{n}.json").read_text()) for n in range(world)]
    nodes = arguments.users + arguments.items + arguments.entities
    table = Table(
        title=f"KGAT on a synthetic graph of {nodes:,} nodes, batch {arguments.batch}, {arguments.slices} slices"
    )
    for column in ("training", "processes", "cf ms/step", "kg ms/step", "cf MB sent", "kg MB sent", "table MB"):
        table.add_column(column, justify="left" if column == "training" else "right")
    for case in CASES:
        for world, processes in found.items():
            row = processes[0][case]
            table.add_row(
                case, str(world), f"{1e3 * row['cf']:.1f}", f"{1e3 * row['kg']:.1f}", f"{row['cf_bytes'] / 1e6:.2f}",
                f"{row['kg_bytes'] / 1e6:.2f}", f"{row['table'] / 1e6:.1f}",
            )  # fmt: skip
    console = Console(width=132)
    console.print(table)
    for world, processes in found.items():
        console.print(
            f"peak memory of each of {world}: " + ", ".join(f"{one.get('peak', 0):.0f} MB" for one in processes)
        )
    first = found[arguments.processes[0]][0]
    difference = max(
        abs(a - b) / abs(b)
        for processes in found.values()
        for one in processes
        for case in CASES
        for a, b in zip(one[case]["losses"], first[case]["losses"], strict=True)
    )
    console.print(f"largest relative difference of a loss {difference:.2e}")


if __name__ == "__main__":
    main()
