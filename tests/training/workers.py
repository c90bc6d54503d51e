"""Training jobs that one process or several do together. Several are started once per test module and do a list of jobs."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from kgrec.graphs.sampling import NeighbourhoodSampler
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer
from kgrec.training.state import Progress
from tests.worlds import make_world

LOOP: dict[str, Any] = {"epochs": 4, "train_batch_size": 10, "kg_batch_size": 40, "checkpoint_every": 1, "slices": 2}
TINY: dict[str, Any] = {"embedding_size": 8, "relation_size": 8, "layers": [8, 4], "message_dropout": 0.2}


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Job:
    """A model to train."""

    name: str
    world: int
    model: str = "kgat"
    settings: dict[str, Any] = field(default_factory=lambda: TINY)
    loop: dict[str, Any] = field(default_factory=dict)
    #: neighbours drawn per layer; None: the full graph
    fan_out: tuple[int, ...] | None = None
    #: what validation finds, epoch by epoch
    metrics: Sequence[float] = (0.1, 0.3, 0.4, 0.5, 0.6)
    #: the optimizer step in which to stop as if killed
    kill_at: int = 0
    #: job whose state to go on from
    after: str | None = None


@dataclass
class Result:
    """What a job gave, the same in every process."""

    #: sum of the loss's terms in each step
    losses: list[float]
    progress: Progress | None
    #: tensors with whole tables, in process 0
    best: dict[str, torch.Tensor]
    #: rows of the id table in this process
    rows: int


def do(job: Job, folder: Path, process: int = 0) -> Result:
    """Do a job in this process, or this process's part of it."""
    state = folder / f"{job.name}-{job.world}"
    if job.after and process == 0:
        shutil.copytree(folder / job.after, state)
    if job.world > 1:
        distributed.barrier()
    data = make_world()
    torch.manual_seed(0)
    model = build_model(job.model, data, job.settings)
    if job.fan_out:
        model.neighbourhood = NeighbourhoodSampler(model.adjacency, data.rels, data.relations, job.fan_out)
    values = iter(job.metrics)

    def validate(model: Any) -> dict[str, float]:
        score = float(model.full_scores(torch.arange(3)).sum())
        value = next(values)
        # a process's own numbers must not decide
        return {"NDCG@20": value if process == 0 else -value, "score": score}

    trainer = Trainer(model, data, LoopSettings(**{**LOOP, **job.loop}), seed=7, validate=validate, state=state)
    losses: list[float] = []
    phase = trainer._phase

    def recorded(*arguments: Any) -> Any:
        for last, terms, found in phase(*arguments):
            losses.append(float(found[-1]))
            yield last, terms, found

    trainer._phase = recorded  # type: ignore[method-assign]
    left = [job.kill_at]
    for optimizer in trainer.optimizers.values():

        def counted(step: Any = optimizer.step) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            step()

        optimizer.step = counted  # type: ignore[method-assign, assignment]
    progress = None
    with suppress(Killed):
        progress = trainer.run()
    if job.world > 1:
        distributed.barrier()
    from safetensors.torch import load_file

    best = load_file(state / "best.safetensors") if (state / "best.safetensors").exists() else {}
    return Result(losses, progress, best, len(model.node))


def _work(process: int, worlds: Sequence[int], jobs: Sequence[Job], folder: Path) -> None:
    torch.set_num_threads(1)
    for world in worlds:
        if process >= world:
            continue
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meet{world}", rank=process, world_size=world,
            timeout=timedelta(hours=1),
        )  # fmt: skip
        for job in jobs:
            if job.world == world:
                torch.save(do(job, folder, process), folder / f"{job.name}-{world}.{process}.pt")
        distributed.barrier()
        distributed.destroy_process_group()


def together(jobs: Sequence[Job], folder: Path) -> dict[tuple[str, int], list[Result]]:
    """Do jobs in as many processes as each wants; the smaller groups first. Job name and world -> results by process."""
    worlds = sorted({job.world for job in jobs})
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(n, worlds, jobs, folder)) for n in range(max(worlds))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return {
        (job.name, job.world): [
            torch.load(folder / f"{job.name}-{job.world}.{n}.pt", weights_only=False) for n in range(job.world)
        ]
        for job in jobs
    }
