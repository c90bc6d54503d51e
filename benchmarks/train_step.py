"""A training step's cost, side by side with RecBole's: ``python benchmarks/train_step.py --model kgat --against recbole``.

Both train KGAT on the same interactions, triples and edges, with the same widths, batch and learning rate, each in a process of
its own and in turn; then both are measured on the same split, and RecBole's model by both evaluators. The last line is
``ratio <RecBole's seconds per epoch over ours>``. Other uses::

    --recbole-steps 10          some steps of each of RecBole's phases, scaled up to an epoch (an epoch of RecBole takes minutes)
    --to-accuracy .217          seconds of training until NDCG@20 is there, ours with settings chosen on validation
    --to-accuracy .19 --choose  how those were chosen: ours alone, each candidate until validation NDCG@20 is there
    --profile                   ours alone: where a step's time goes
    --model multi-kg4rec        ours alone: the exact step at the paper's size and an epoch of the CPU mode

The data are those of ``train_step_data.py``; RecBole is installed as ``recbole_side.py`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from train_step_data import BENCH, GRAPHS, build, read_split

from kgrec.data.demo import DemoSettings
from kgrec.evaluation.protocol import EvaluateSettings, evaluate
from kgrec.evaluation.ranking import UserItems
from kgrec.graphs.mapped import open_mapped

HERE = Path(__file__).resolve().parent
LEARNING_RATE = 1e-3
#: RecBole's defaults of KGAT, in our words
EQUAL = {
    "embedding_size": 64, "relation_size": 64, "message_dropout": 0.1, "reg_weight": 1e-5, "kg_reg_weight": 1e-5,
    "kg_includes_interactions": False, "first_attention": "laplacian", "xavier": "separate",
}  # fmt: skip
#: for --to-accuracy: settings of ours, chosen on validation (--choose)
FAST: dict[str, Any] = {"layers": [64], "batch": 8192, "learning_rate": 0.005, "set": [("reg_weight", 1e-3)]}
#: what --choose tries
CANDIDATES: dict[str, tuple[Any, ...]] = {
    "layers": ([64],), "batch": (8192, 4096), "learning_rate": (0.005, 0.01),
    "set": ([("reg_weight", 1e-3)], [("reg_weight", 1e-5)]),
}  # fmt: skip

EQUAL_TEXT = """\
equal    training, validation and test interactions; triples and edges (triples one way, interactions both ways under one
         relation); embedding 64, relation space 64, bi-interaction layers {layers}, message dropout .1, Adam, learning rate
         {rate:g}, batch {batch} in both phases, so the same numbers of steps; one negative each, uniform outside the user's
         training items (the head's tails); attention renewed once an epoch without gradient, in
         the first one over the number of a head's edges of a relation; all items ranked, seen ones
         masked; {threads} threads"""
UNEQUAL_TEXT = """\
unequal  RecBole has one Adam for both phases (ours one each), L2 on norms (ours on squared norms; weight 1e-5 each, RecBole's
         also on relation vectors), a Xavier normal start (ours uniform), and adds up parallel edges
         before the softmax (ours keeps them apart). Random numbers differ."""


class Result(dict):
    """What a side's process wrote."""

    def mean(self, key: str) -> float:
        """Mean over the epochs, of a phase or of all phases (``epoch``)."""
        return float(np.mean([_seconds(row, key) for row in self["epochs"]]))

    def last(self, key: str) -> float:
        """Value after the last epoch."""
        return self["epochs"][-1][key]


def _seconds(row: dict[str, float], key: str) -> float:
    if key in row or key != "epoch":
        return row[key]
    return sum(row[phase] for phase in ("cf", "kg", "attention"))


def run_side(script: str, task: dict[str, Any], path: Path | None = None) -> Result:
    """Run one side in a process of its own.

    :param path: put before the search path of that process
    """
    threads = str(task["threads"])
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONWARNINGS": "ignore"}
    environment["PYTHONPATH"] = os.pathsep.join([*([str(path)] if path else []), str(HERE.parent)])
    with tempfile.TemporaryDirectory() as work:
        task = {**task, "work": work, "result": str(Path(work) / "result.json")}
        done = subprocess.run(
            [sys.executable, HERE / script],
            input=json.dumps(task),
            text=True,
            cwd=work,
            env=environment,
            stdout=sys.stderr,
        )
        if done.returncode:
            raise SystemExit(f"{script} ended with status {done.returncode}; its message is above")
        return Result(json.loads(Path(task["result"]).read_text()))


def our_task(chosen: argparse.Namespace, folder: Path, **changes: Any) -> dict[str, Any]:
    """The task of ``train_step_ours.py``: a model on a graph for some epochs."""
    loop = {"train_batch_size": chosen.batch, "kg_batch_size": chosen.batch, "learning_rate": chosen.learning_rate}
    task = {
        "folder": str(folder), "graph": "graph_one_way", "model": "kgat", "epochs": chosen.epochs, "seed": chosen.seed,
        "threads": chosen.threads, "steps": None, "profile": False, "target": None,
        "target_on": ("valid", "test"), "budget": None, "mapped": chosen.mapped,
        "settings": {**EQUAL, "layers": chosen.layers}, "loop": loop,
    } | changes  # fmt: skip
    task["settings"] = {**task["settings"], **dict(chosen.set)}
    task["loop"] = {**task["loop"], **dict(chosen.loop)}
    return task


def recbole_task(chosen: argparse.Namespace, folder: Path, vectors: Path) -> dict[str, Any]:
    """The task of ``recbole_side.py``; the keys of ``settings`` are RecBole's."""
    settings: dict[str, Any] = {"learning_rate": chosen.learning_rate}
    return {
        "atomic": str(folder / "atomic" / folder.name), "vectors": str(vectors), "layers": chosen.layers, "batch": chosen.batch,
        "epochs": chosen.epochs, "steps": chosen.recbole_steps, "target": chosen.to_accuracy, "target_on": ("test",),
        "seed": chosen.seed, "threads": chosen.threads, "settings": settings,
    }  # fmt: skip


class Vectors:
    """A scorer of stored vectors."""

    def __init__(self, path: Path) -> None:
        stored = np.load(path)
        self.users, self.items = torch.from_numpy(stored["users"]), torch.from_numpy(stored["items"])

    def full_scores(self, users: torch.Tensor) -> torch.Tensor:
        """Inner products. shape: (B, I)"""
        return self.users[users] @ self.items.T


def our_ndcg(folder: Path, vectors: Path) -> dict[str, float]:
    """NDCG@20 of stored vectors on validation and test by kgrec's evaluator."""
    scorer, split = Vectors(vectors), read_split(folder)
    n = len(scorer.users)
    train, valid, test = (UserItems.from_pairs(*split[part], n) for part in ("train", "valid", "test"))
    seen = UserItems.from_pairs(*np.concatenate([split["train"], split["valid"]], 1), n)
    protocol = EvaluateSettings(topk=(20,), metrics=("NDCG",))
    return {
        "valid": evaluate(scorer, None, train, valid, protocol)["NDCG@20"],
        "test": evaluate(scorer, None, seen, test, protocol)["NDCG@20"],
    }


def against_recbole(chosen: argparse.Namespace, folder: Path) -> None:
    """Both sides in turn, ``--rounds`` times; the times are the least of the rounds."""
    theirs: list[Result] = []
    ours: list[Result] = []
    with tempfile.TemporaryDirectory() as temporary:
        vectors = Path(temporary) / "vectors.npz"
        for _ in range(chosen.rounds):
            ours.append(run_side("train_step_ours.py", our_task(chosen, folder, steps=chosen.steps)))
            theirs.append(run_side("recbole_side.py", recbole_task(chosen, folder, vectors), chosen.recbole_path))
        again = our_ndcg(folder, vectors)
    a, b = theirs[-1], ours[-1]
    texts = {
        "layers": list(chosen.layers),
        "rate": chosen.learning_rate,
        "batch": chosen.batch,
        "threads": chosen.threads,
    }
    print(f"data     {_named(folder)}: {_counts(b)}")
    print(f"         RecBole counts {_counts(a)}")
    for name in ("users", "items", "edges", "triples", "interactions", "relations"):
        if a["counts"][name] != b["counts"][name]:
            print(f"         UNEQUAL {name}: {a['counts'][name]:,} and {b['counts'][name]:,}")
    print(EQUAL_TEXT.format(**texts))
    print(UNEQUAL_TEXT)
    if chosen.set or chosen.loop:
        print(f"         ours also with {dict(chosen.set)} {dict(chosen.loop)}")
    for name, steps, result in (("RecBole", chosen.recbole_steps, a), ("kgrec", chosen.steps, b)):
        if steps:
            parts = ", ".join(
                f"{min(steps, total - 1)} of {total} {phase} steps" for phase, total in result["steps"].items()
            )
            print(f"note     {name}'s seconds are extrapolated from {parts}; its attention is timed whole")
    print(f"\n{'':34}{'RecBole 1.2.1':>14}{'kgrec':>14}{'ratio':>9}")
    ratio = 0.0
    for key, label in (
        ("cf", "seconds/epoch, collaborative"), ("kg", "seconds/epoch, triples"), ("attention", "seconds/epoch, attention"),
        ("epoch", "seconds/epoch"),
    ):  # fmt: skip
        x, y = min(one.mean(key) for one in theirs), min(one.mean(key) for one in ours)
        ratio = x / y
        print(f"{label:34}{x:14.2f}{y:14.2f}{ratio:9.1f}")
    for key, label in (("valid", "validation"), ("test", "test")):
        x = "not measured" if chosen.recbole_steps else f"{a.last(key):.4f}"
        y = "not measured" if chosen.steps else f"{b.last(key):.4f}"
        print(f"{f'NDCG@20 {label}, {chosen.epochs} epochs':34}{x:>14}{y:>14}")
    print(f"{'peak memory, MB':34}{a['peak_mb']:14,.0f}{b['peak_mb']:14,.0f}{a['peak_mb'] / b['peak_mb']:9.1f}")
    print(f"{'set-up, seconds':34}{a['setup']:14.1f}{b['setup']:14.1f}")
    print("\none model (RecBole's), two evaluators, NDCG@20")
    for key, label in (("valid", "validation"), ("test", "test")):
        difference = abs(a.last(key) - again[key])
        print(f"{label:34}{a.last(key):14.10f}{again[key]:14.10f}   difference {difference:.1e}")
    print(f"\nratio {ratio:.1f}")


def to_accuracy(chosen: argparse.Namespace, folder: Path) -> None:
    """Seconds of training until NDCG@20 on test reaches a value, evaluation not counted."""
    task = our_task(
        argparse.Namespace(**{**vars(chosen), **FAST}), folder, target=chosen.to_accuracy, target_on=("test",)
    )
    ours = run_side("train_step_ours.py", task)
    print(f"kgrec    {json.dumps({**task['settings'], **task['loop']})}")
    sides = {"kgrec": ours}
    if chosen.against:
        with tempfile.TemporaryDirectory() as temporary:
            asked = argparse.Namespace(
                **{**vars(chosen), "layers": [64], "batch": 2048, "learning_rate": 1e-3, "recbole_steps": None}
            )
            theirs = recbole_task(asked, folder, Path(temporary) / "vectors.npz")
            sides["RecBole"] = run_side("recbole_side.py", theirs, chosen.recbole_path)
        print("RecBole  its defaults: layers [64], batch 2048, learning rate 0.001")
    seconds: dict[tuple[str, str], float] = {}
    for name, result in sides.items():
        spent = np.cumsum([_seconds(row, "epoch") for row in result["epochs"]])
        for key in ("valid", "test"):
            reached = [number for number, row in enumerate(result["epochs"]) if row[key] >= chosen.to_accuracy]
            if reached:
                seconds[name, key] = spent[reached[0]]
                print(
                    f"{name:9}{key:6} NDCG@20 {chosen.to_accuracy} after {spent[reached[0]]:9.1f} s, epoch {reached[0] + 1}"
                )
            else:
                best = max(row[key] for row in result["epochs"])
                told = f"not reached in {len(spent)} epochs, {spent[-1]:.1f} s: {best:.4f}"
                print(f"{name:9}{key:6} NDCG@20 {chosen.to_accuracy} {told}")
    for key in ("valid", "test"):
        if ("RecBole", key) in seconds and ("kgrec", key) in seconds:
            print(f"ratio {seconds['RecBole', key] / seconds['kgrec', key]:.1f}   ({key})")


def choose(chosen: argparse.Namespace, folder: Path) -> None:
    """Try every candidate until its validation NDCG@20 is there, or it has taken longer than the best so far."""
    best: tuple[float, dict[str, Any]] | None = None
    for values in product(*CANDIDATES.values()):
        candidate = dict(zip(CANDIDATES, values, strict=True))
        asked = argparse.Namespace(**{**vars(chosen), **candidate})
        target = {"target": chosen.to_accuracy, "target_on": ("valid",), "budget": best and best[0]}
        rows = run_side("train_step_ours.py", our_task(asked, folder, **target))["epochs"]
        seconds, reached = sum(row["epoch"] for row in rows), rows[-1]["valid"] >= chosen.to_accuracy
        told = "" if reached else f", not there: {rows[-1]['valid']:.4f}"
        print(f"{json.dumps(candidate)}  {seconds:.1f} s, {len(rows)} epochs{told}", flush=True)
        if reached and (best is None or seconds < best[0]):
            best = seconds, candidate
    print(f"best     {json.dumps(best[1])} {best[0]:.1f} s" if best else "no candidate reaches it")


def profile(chosen: argparse.Namespace, folder: Path) -> None:
    """Where the time of our step goes."""
    changes = {"steps": chosen.steps or 10, "profile": True}
    if chosen.model == "multi-kg4rec":
        changes |= {"model": "multi_kg4rec", "graph": "graph", "settings": {}}
    result = run_side("train_step_ours.py", our_task(chosen, folder, **changes))
    for phase, told in result["profile"].items():
        print(told["table"])
        print(f"{phase}: {told['wall'] * 1000:.1f} ms a step, mean of {told['steps']}, by family")
        for family, seconds in sorted(told["families"].items(), key=lambda item: -item[1]):
            print(f"    {family:24}{seconds * 1000:10.2f} ms {seconds / told['wall']:7.1%}")
    print(f"attention, once an epoch: {result['attention'] * 1000:.1f} ms")


def multi_kg4rec(chosen: argparse.Namespace, folder: Path) -> None:
    """The exact step at the paper's size, and an epoch of the recipe's CPU mode. Features are random vectors."""
    exact = our_task(
        chosen, folder, model="multi_kg4rec", graph="graph", epochs=1, steps=chosen.steps or 6, settings={},
        loop={"train_batch_size": 5120, "kg_batch_size": 5120, "learning_rate": 1e-3},
    )  # fmt: skip
    result = run_side("train_step_ours.py", exact)
    print(f"data     {_named(folder)}: {_counts(result)}; random features, 512 wide, n=16")
    epoch = 0.0
    for phase, seconds in result["step_seconds"].items():
        later = seconds[1:] or seconds
        epoch += np.median(later) * result["steps"][phase]
        print(
            f"exact, batch 5120, {phase} step: median {np.median(later):.2f} s, least {min(later):.2f} s of {len(later)}; "
            f"{result['steps'][phase]} make an epoch"
        )
    print(f"exact epoch {epoch:.0f} s, extrapolated from the medians; peak {result['peak_mb']:,.0f} MB")
    recipe = yaml.safe_load((HERE.parent / "pipeline/recipes/ml-1m.yaml").read_text(encoding="utf-8"))["train"]
    mode = our_task(
        chosen, folder, model="multi_kg4rec", graph="graph", epochs=1, steps=chosen.steps,
        settings=recipe["models"]["multi_kg4rec"]["settings"],
        loop={key: recipe[key] for key in ("train_batch_size", "kg_batch_size", "learning_rate")},
    )  # fmt: skip
    result = run_side("train_step_ours.py", mode)
    if chosen.steps:
        print(f"note     extrapolated from {chosen.steps} steps of each phase")
    print(f"CPU mode {json.dumps({**mode['settings'], **mode['loop']})}")
    print(f"CPU mode epoch {result.mean('epoch'):.1f} s; peak {result['peak_mb']:,.0f} MB")


def _named(folder: Path) -> str:
    return folder.name if folder.name == "ml-1m" else f"{folder.name} (synthetic)"


def _counts(result: Result) -> str:
    return ", ".join(f"{value:,} {name}" for name, value in result["counts"].items())


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} should look like key=value")
    return key, yaml.safe_load(value)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("kgat", "multi-kg4rec"), default="kgat")
    parser.add_argument("--against", choices=("recbole",))
    parser.add_argument("--layers", type=lambda text: [int(one) for one in text.split(",")], default=[64, 32, 16])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--epochs", type=int, help="default 2; with --to-accuracy at most 60")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--rounds", type=int, default=1, help="times both sides run in turn; the least seconds count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--data", type=Path, help="folder of the real data; default ../shared/data if there, else the demo"
    )
    parser.add_argument("--demo", action="store_true", help="a small synthetic world, whatever data are there")
    parser.add_argument("--recbole-path", type=Path, default=BENCH / "recbole")
    parser.add_argument(
        "--recbole-steps", type=int, help="time this many steps of each of RecBole's phases and extrapolate"
    )
    parser.add_argument("--steps", type=int, help="the same of ours; with --profile the steps to look at")
    parser.add_argument("--to-accuracy", type=float, help="NDCG@20 to reach; --epochs is the most epochs")
    parser.add_argument("--choose", action="store_true", help="with --to-accuracy: try settings on validation")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument(
        "--mapped", action="store_true", help="our graph as views of files (train.mapped), which are written before"
    )
    parser.add_argument("--set", type=_pair, action="append", default=[], help="key=value of our model's settings")
    parser.add_argument("--loop", type=_pair, action="append", default=[], help="key=value of our loop's settings")
    chosen = parser.parse_args()
    chosen.epochs = chosen.epochs or (60 if chosen.to_accuracy else 2)
    folder = build(chosen.data, demo=DemoSettings.model_validate({"users": 300, "items": 250}) if chosen.demo else None)
    if chosen.against and not (chosen.recbole_path / "recbole").exists():
        raise SystemExit(
            f"{chosen.recbole_path}: RecBole is not there; {HERE / 'recbole_side.py'} begins with how to install it"
        )
    if chosen.mapped:
        for graph in GRAPHS:
            open_mapped(folder / graph, folder / "mapped")
    if chosen.profile:
        profile(chosen, folder)
    elif chosen.model == "multi-kg4rec":
        multi_kg4rec(chosen, folder)
    elif chosen.to_accuracy and chosen.choose:
        choose(chosen, folder)
    elif chosen.to_accuracy:
        to_accuracy(chosen, folder)
    elif chosen.against:
        against_recbole(chosen, folder)
    else:
        result = run_side("train_step_ours.py", our_task(chosen, folder))
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
