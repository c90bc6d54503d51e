"""The train stage fits every model of a recipe on the same graph and split, each to its early stop on validation."""

from __future__ import annotations

import csv
import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field

from kgrec.config import Settings, parse_settings
from kgrec.data.io import atomic_file, atomic_folder, sha256_file
from kgrec.errors import ConfigError, DataError, TrainingError
from kgrec.evaluation.protocol import EvaluateSettings, evaluated_users, mean_metrics, measure, rank_users, read_pairs
from kgrec.evaluation.ranking import UserItems
from kgrec.graphs.data import GraphData, load_graph
from kgrec.graphs.vocab import read_vocabulary
from kgrec.models.base import Recommender
from kgrec.models.checkpoint import save_model
from kgrec.models.registry import MODELS, build_model, model_class
from kgrec.progress import get_logger
from kgrec.training.distributed import Group, joined, own_device
from kgrec.training.loop import LoopSettings, Trainer
from kgrec.training.state import derive_seed, state_key

log = get_logger(__name__)

OnEpoch = Callable[[dict[str, Any]], None]


class ModelEntry(Settings):
    """One model of the recipe."""

    model: str | None = None
    """Name in the registry; null: the entry's own name."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keys of the model's settings class."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Keys of the loop's settings that differ for this model."""


class TrainSettings(LoopSettings):
    """What is trained, on what, and how."""

    models: dict[str, ModelEntry] = Field(min_length=1)
    """Entry name -> model. Variants of one model are entries of their own."""
    device: str = "auto"
    """``auto``: CUDA if there is one, else CPU."""
    seed: int = 42
    """Of weights, order, negatives, dropout."""
    mapped: str | None = None
    """Folder for the graph's arrays as plain files, which are then read as they are needed and shared by processes; null:
    the graph is held in memory. Changes no result."""
    deterministic: bool = False
    """On CUDA, take the algorithms that give the same bits every time; the CPU's always do."""
    timeout: float = Field(1800, gt=0)
    """Seconds a process waits for the others before all end with an error, where `torchrun` started several."""


def train_models(
    graph: Path, split: Path, out: Path, settings: TrainSettings, state: Path, on_epoch: OnEpoch | None = None
) -> dict[str, Any]:
    """Train every entry of ``settings.models``.

    Writes ``out/<entry>/``: ``model.safetensors``, ``config.json``, ``history.csv`` (a row per epoch). What ``state`` holds of
    an entry is continued, whether it was killed or had finished; the result is the same to the bit.

    :param graph: folder of the graph stage
    :param split: folder of the split stage; its validation part chooses the epoch
    :param state: folder of resumable training states, kept outside ``out``
    :param on_epoch: called with each finished epoch's row, the entry's name under ``model``
    Where ``torchrun`` started several processes, all of them call it: they train each entry together, and the first one writes.

    :return: per entry: best epoch, validation metrics, parameters, seconds
    :raises ConfigError: an unknown model, key or device; more processes than slices
    :raises TrainingError: no training interactions, a graph without edges, a loss that is not finite, a process that failed
    :raises CheckpointError: a training state is damaged
    """
    loops = {name: _loop(name, entry, settings) for name, entry in settings.models.items()}
    device = own_device(settings.device)
    keep_memory()
    with joined(device, settings.timeout) as group:
        for loop in loops.values():
            group.check_slices(loop.slices)
        return _train_all(graph, split, out, settings, loops, state, on_epoch, device, group)


def _train_all(
    graph: Path, split: Path, out: Path, settings: TrainSettings, loops: Mapping[str, LoopSettings], state: Path,
    on_epoch: OnEpoch | None, device: torch.device, group: Group,
) -> dict[str, Any]:  # fmt: skip
    data = load_graph(graph, None if settings.mapped is None else Path(settings.mapped))
    vocabulary = read_vocabulary(graph / "vocab.parquet")
    pairs = read_pairs(split / "valid.parquet", vocabulary)
    train = UserItems.from_pairs(data.train_users, data.train_items, data.n_users)
    valid = UserItems.from_pairs(pairs[0], pairs[1], data.n_users)
    if not len(data.train_users):
        raise TrainingError(f"{split / 'train.parquet'}: there are no training interactions")
    if not len(valid.items):
        raise DataError(
            "has no interactions to choose the epoch by; give the split a validation share",
            path=split / "valid.parquet",
        )
    inputs = {path.name: sha256_file(path) for path in sorted(graph.rglob("*")) if path.suffix in (".dgl", ".parquet")}
    inputs["valid.parquet"] = sha256_file(split / "valid.parquet")
    moved = data.to(device)
    summary: dict[str, Any] = {}
    # the other processes write nothing
    with atomic_folder(out) if group.first else nullcontext(out) as temporary:
        for name, entry in settings.models.items():
            summary[name] = _train_one(
                name,
                entry,
                loops[name],
                settings.seed,
                device,
                moved,
                data,
                train,
                valid,
                inputs,
                temporary / name,
                state,
                on_epoch,
            )
    return summary


def _loop(name: str, entry: ModelEntry, settings: TrainSettings) -> LoopSettings:
    """The loop's settings of an entry; also refuses unknown models and keys before anything is computed."""
    cls = model_class(entry.model or name) if (entry.model or name) in MODELS else None
    if cls is None:
        hint = "" if entry.model else " (an entry of another name says which `model` it is)"
        raise ConfigError(
            f"train.models.{name}: unknown model {entry.model or name!r}; known: {', '.join(sorted(MODELS))}{hint}"
        )
    parse_settings(cls.Settings, entry.settings, place=f"params.yaml, train.models.{name}.settings")
    common = {key: getattr(settings, key) for key in LoopSettings.model_fields}
    return parse_settings(LoopSettings, common | entry.training, place=f"params.yaml, train.models.{name}.training")


def _train_one(
    name: str, entry: ModelEntry, loop: LoopSettings, seed: int, device: torch.device, data: GraphData, on_cpu: GraphData,
    train: UserItems, valid: UserItems, inputs: Mapping[str, str], folder: Path, state: Path, on_epoch: OnEpoch | None,
) -> dict[str, Any]:  # fmt: skip
    registered = entry.model or name
    k = _cutoff(loop.valid_metric)
    protocol = EvaluateSettings(topk=(k,))
    release_memory()
    torch.manual_seed(derive_seed(seed, "weights"))
    model = build_model(registered, on_cpu, entry.settings).to(device)

    def validate(model: Recommender) -> dict[str, float]:
        return _validate(model, train, valid, protocol, device)

    def report(row: dict[str, float]) -> None:
        if on_epoch:
            on_epoch({"model": name, **row})

    parameters = sum(p.numel() for p in model.parameters())
    group = Group.current()
    if group.first:
        log.info("training", model=name, parameters=parameters, device=str(device), processes=group.world)
    started = time.perf_counter()
    if model.phases:
        key = state_key(
            model=registered, settings=model.settings.model_dump(mode="json"), loop=loop.model_dump(exclude={"checkpoint_every"}),
            seed=seed, inputs=dict(inputs), device=device.type,
        )  # fmt: skip
        trainer = Trainer(
            model, data, loop, seed=seed, validate=validate, state=state / f"{name}-{key}", on_epoch=report
        )
        progress = trainer.run()
        history, reason = progress.history, progress.reason
        best = next(row for row in history if row["epoch"] == progress.best_epoch)
    else:
        model.fit(data)
        best = {
            "epoch": 0,
            **{f"valid_{k}": v for k, v in validate(model).items()},
            "seconds": time.perf_counter() - started,
        }
        history, reason = [best], "closed form"
        if group.first:
            report(best)
    summary = {
        "model": registered,
        "parameters": parameters,
        "best_epoch": int(best["epoch"]),
        "epochs": int(history[-1]["epoch"]),
        "ended": reason,
        "seconds": round(sum(row["seconds"] for row in history), 1),
        "valid": {key.removeprefix("valid_"): value for key, value in best.items() if key.startswith("valid_")},
    }
    save_model(
        model,
        registered,
        on_cpu,
        folder,
        {**loop.model_dump(mode="json"), "seed": seed, "device": device.type, **summary},
    )
    if group.first:
        _write_history(history, folder / "history.csv")
    return summary


def _validate(
    model: Recommender, train: UserItems, valid: UserItems, protocol: EvaluateSettings, device: torch.device
) -> dict[str, float]:
    """Metrics over all users with a validation item; each process ranks for its share of them."""
    group, users, training = Group.current(), evaluated_users(valid), model.training
    model.eval()
    model.vectors()  # reads shared rows, which takes all processes, whether or not a user is left for each
    ranked = group.collect(rank_users(model, users[group.rank :: group.world], train, protocol, device=device))
    model.train(training)
    lists = np.empty((len(users), max(protocol.topk)), np.int64)
    for rank, rows in enumerate(ranked):
        lists[rank :: group.world] = rows
    return mean_metrics(measure(lists, users, valid, protocol))


def _cutoff(metric: str) -> int:
    try:
        return int(metric.rpartition("@")[2])
    except ValueError:
        raise ConfigError(f"valid_metric {metric!r} should look like NDCG@20") from None


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    columns = list(dict.fromkeys(key for row in history for key in row))
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _short(v) for k, v in row.items()} for row in history)


def _short(value: float) -> float:
    return (
        value
        if isinstance(value, int) or float(value).is_integer()
        else float(np.format_float_positional(value, 6, fractional=False))
    )


def keep_memory() -> None:
    """Ask glibc to keep freed memory in the process.

    A step frees and takes the same tens of megabytes again; by default each time is a round trip to the kernel that clears
    the pages, which costs as much as the arithmetic on them.
    """
    if (libc := _glibc()) is not None:
        m_mmap_threshold, m_trim_threshold = -3, -1
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def release_memory() -> None:
    """Give what is free back to the system: reading tables and sorting edges leave tens of bytes per edge."""
    pa.default_memory_pool().release_unused()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
