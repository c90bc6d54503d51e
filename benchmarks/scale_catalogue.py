"""A share of the large catalogue, run for real beside what the memory model of ``docs/scale.md`` says.

    python benchmarks/scale.py --catalogue 0.1

Every step is a process of its own: the tables are written, the graph stage joins them, the graph is written as files and
opened, KGAT with one layer of 64 takes steps on the full graph and on sampled neighbourhoods, users are ranked. ``own`` is the
largest anonymous resident memory of the process (what the system cannot drop), ``peak`` everything resident, pages of mapped
files included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catalogue as synthetic

STEPS = ("tables", "graph", "write files", "open files", "full graph", "sampled", "rank")
WIDTH, RELATION, BATCH, FAN_OUT, RANKED = 64, 64, 2048, 10, 1000
#: steps of training that are timed, after one that is not
TIMED = 3


class Watch:
    """Largest anonymous resident memory of this process since it was made, looked at every 20 milliseconds."""

    def __init__(self) -> None:
        self.largest = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.largest = max(self.largest, _status("RssAnon"))
            time.sleep(0.02)


def _status(name: str) -> int:
    """Bytes."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


def inside(step: str, argument: str) -> None:
    """Do one step in this process and print what it took, as JSON."""
    given = json.loads(argument)
    folder = Path(given["folder"])
    import kgrec.evaluation.protocol
    import kgrec.graphs.build
    import kgrec.graphs.dgl_compat
    import kgrec.graphs.mapped
    import kgrec.models.registry  # noqa: F401

    base, watch, started = _status("RssAnon"), Watch(), time.perf_counter()
    found = _WORK[step](folder, given["scale"])
    print(
        "\n" + json.dumps(
            {"seconds": time.perf_counter() - started, "own": max(watch.largest, _status("RssAnon")) - base,
             "peak": _status("VmHWM"), **(found or {})}
        )
    )  # fmt: skip


def _tables(folder: Path, scale: float) -> None:
    synthetic.write_tables(folder / "tables", synthetic.Sizes().scaled(scale))


def _graph(folder: Path, scale: float) -> dict[str, Any]:
    from kgrec.graphs.build import GraphSettings, build_graph

    tables = folder / "tables"
    paths = {name: tables / f"{name}.parquet" for name in ("items", "links", "triples", "entities")}
    counts = build_graph(
        tables / "split", **paths, features=tables / "features", out=folder / "graph", settings=GraphSettings()
    )
    return {"counts": counts}


def _files(folder: Path, scale: float) -> dict[str, Any]:
    from kgrec.graphs.mapped import open_mapped

    data = open_mapped(folder / "graph", folder / "mapped")
    (arrays,) = (path for path in (folder / "mapped").iterdir() if path.is_dir())
    return {
        "edges": len(data.heads),
        "nodes": data.n_nodes,
        "bytes": sum(path.stat().st_size for path in arrays.iterdir()),
    }


def _model(folder: Path) -> tuple[Any, Any]:
    import torch

    from kgrec.graphs.data import load_graph
    from kgrec.models.registry import build_model

    torch.manual_seed(0)
    data = load_graph(folder / "graph", mapped=folder / "mapped")
    return data, build_model("kgat", data, {"embedding_size": WIDTH, "relation_size": RELATION, "layers": [WIDTH]})


def _train(folder: Path, fan_out: tuple[int, ...] | None) -> dict[str, Any]:
    import torch

    from kgrec.graphs.sampling import NeighbourhoodSampler
    from kgrec.models.base import CFBatch

    data, model = _model(folder)
    if fan_out:
        model.neighbourhood = NeighbourhoodSampler(model.adjacency, data.rels, data.relations, fan_out)
    started = time.perf_counter()
    model.refresh()
    attention = time.perf_counter() - started
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    generator, seconds = torch.Generator().manual_seed(0), []
    model.train()
    for number in range(TIMED + 1):
        started = time.perf_counter()
        chosen = torch.randint(len(data.train_users), (BATCH,), generator=generator)
        negatives = torch.randint(data.n_items, (BATCH,), generator=generator)
        model.step_seed = number
        loss = sum(model.cf_loss(CFBatch(data.train_users[chosen], data.train_items[chosen], negatives)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return {"attention": attention, "step": min(seconds[1:]), "interactions": len(data.train_users)}


def _rank(folder: Path, scale: float) -> dict[str, Any]:
    """Ranks by id vectors of the users' and items' width, so that only ranking is measured."""
    import numpy as np
    import torch

    from kgrec.evaluation.ranking import UserItems, rank_topk
    from kgrec.graphs.data import load_graph

    data = load_graph(folder / "graph", mapped=folder / "mapped")
    seen = UserItems.from_pairs(data.train_users, data.train_items, data.n_users)
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 2 * WIDTH, generator=generator) for n in (data.n_users, data.n_items))

    class Products:
        """Scores are inner products."""

        def full_scores(self, rows: torch.Tensor) -> torch.Tensor:
            return users[rows] @ items.T

    started = time.perf_counter()
    rank_topk(Products(), np.arange(RANKED), seen, 20)
    return {"users": data.n_users, "rate": RANKED / (time.perf_counter() - started)}


_WORK: dict[str, Callable[[Path, float], dict[str, Any] | None]] = {
    "tables": _tables,
    "graph": _graph,
    "write files": _files,
    "open files": _files,
    "full graph": lambda folder, scale: _train(folder, None),
    "sampled": lambda folder, scale: _train(folder, (FAN_OUT,)),
    "rank": _rank,
}


def predict(
    users: int, items: int, entities: int, interactions: int, triples: int, width: int, ranks: int = 1
) -> dict[str, float]:
    """Bytes of own memory of every step at its peak: the formulae of docs/scale.md.

    :param interactions: in train
    :param ranks: processes that share the id tables and their moments by rows
    """
    nodes, edges = users + items + entities, 2 * (interactions + triples)
    features = 2 * width * (items + entities)
    vectors = 4 * 4 * WIDTH * nodes  # weights, gradient, two moments
    #: share of the edges whose head is a user or an item; every other triple of the catalogue is about an item
    share = (2 * interactions + triples / 2) / edges
    lists = (24 + 16 * share) * edges  # of a mapped graph
    return {
        "graph": max(48 * edges, 24 * edges + 2 * features) + 16 * interactions + 24 * triples,
        "files": 40 * edges + 16 * interactions + 24 * nodes + 16 * 16 * items + features,
        "write files": max(60 * edges + 16 * nodes, 24 * edges + 3 * features),
        "open files": 0,
        "full graph": vectors + lists + 12 * WIDTH * (users + items),
        "sampled": vectors / ranks + lists + 2 * edges,
        "rank": 8 * WIDTH * (users + items) + 32 * interactions + 8 * min(2**25, RANKED * items),
    }


def run(scale: float, folder: Path) -> None:
    """Run every step and print it beside the model."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = synthetic.Sizes().scaled(scale)
    told: dict[str, dict[str, Any]] = {}
    print(f"synthetic catalogue, {scale:g} of: {synthetic.Sizes()}")
    print(f"{'step':12} {'seconds':>8} {'own, MiB':>9} {'model, MiB':>11} {'peak, MiB':>10}")
    predicted: dict[str, float] = {}
    here = Path(__file__).with_name("scale.py")
    for step in STEPS:
        argument = json.dumps({"folder": str(folder), "scale": scale})
        done = subprocess.run(
            [sys.executable, str(here), "--inside", f"catalogue:{step}", argument],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"step {step} failed:\n{done.stderr[-3000:]}")
        told[step] = found = json.loads(done.stdout.strip().splitlines()[-1])
        if step == "graph":
            counts = found["counts"]
            predicted = predict(
                *(counts[name] for name in ("users", "items", "entities", "train_interactions", "triples")), sizes.width
            )
        model = f"{predicted[step] / 2**20:11.0f}" if step in predicted else " " * 11
        print(
            f"{step:12} {found['seconds']:8.1f} {found['own'] / 2**20:9.0f} {model} {found['peak'] / 2**20:10.0f}",
            flush=True,
        )
    counts = told["graph"]["counts"]
    names = ("users", "items", "entities", "train_interactions", "triples", "edges")
    print("; ".join(f"{counts[name]:,} {name}" for name in names))
    print(f"files {told['open files']['bytes'] / 2**20:,.0f} MiB, model {predicted['files'] / 2**20:,.0f} MiB")
    for step in ("full graph", "sampled"):
        found = told[step]
        steps = -(-found["interactions"] // BATCH)
        print(
            f"{step}: attention {found['attention']:.1f} s, a step of {BATCH} {found['step']:.2f} s, "
            f"so an epoch's {steps:,} steps {steps * found['step'] / 3600:.1f} h (extrapolated)"
        )
    rate, users = told["rank"]["rate"], told["rank"]["users"]
    print(f"ranking {rate:,.0f} users/s, so all {users:,} in {users / rate / 60:.1f} min (extrapolated)")
