"""The training loop: epochs of collaborative steps and knowledge-graph steps, attention refreshed between them, early stop
on validation, checkpoints that resume to the bit (KGAT's schedule, Multi-KG4Rec eq. (13)).

A step's batch may be cut into slices whose gradients are added. Negatives are drawn for the whole batch and every slice has the
step's seed, so a graph that is propagated whole drops the same messages in each: where nothing else is sampled, slices change a
step by rounding alone, and so does sharing them out over processes (:mod:`kgrec.training.distributed`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from kgrec.config import Settings
from kgrec.errors import DataError, TrainingError
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import NegativeItems, NegativeTails
from kgrec.models.base import CFBatch, KGBatch, Recommender
from kgrec.models.checkpoint import load_weights, save_weights
from kgrec.progress import ItemProgress, get_logger, item_progress
from kgrec.training.adam import Adam, make_adam, rows_read, settle
from kgrec.training.distributed import Group, shard
from kgrec.training.state import Progress, derive_seed, load_state, save_state

log = get_logger(__name__)

Batch = CFBatch | KGBatch

#: steps of CUDA between two readings of the losses: reading one waits for the device, which is then idle until the next step
#: has been prepared
READ_EVERY = 32
#: steps whose examples are looked up at once: rows far apart in memory, which several cores then wait for together
LOOK_UP = 16


class LoopSettings(Settings):
    """How a gradient-trained model is trained."""

    epochs: int = Field(300, gt=0)
    """Most epochs."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of Adam."""
    train_batch_size: int = Field(5120, gt=0)
    """Interactions per collaborative step, with one negative each."""
    kg_batch_size: int | None = Field(None, gt=0)
    """Triples per knowledge-graph step, with one false tail each; null: as `train_batch_size`."""
    slices: int = Field(1, gt=0)
    """Parts a batch is worked in, one after the other, their gradients added; several processes share them out, so there must be
    as many as processes at least."""
    schedule: Literal["alternate", "joint"] = "alternate"
    """One pass over the interactions, then one over the triples, each with its own Adam; or both losses summed per step."""
    valid_metric: str = "NDCG@20"
    """What early stopping watches on the validation split."""
    eval_every: int = Field(1, gt=0)
    """Epochs between validations."""
    stopping_step: int = Field(10, gt=0)
    """Validations without improvement before training stops."""
    checkpoint_every: int = Field(1000, gt=0)
    """Steps between checkpoints of the training state inside an epoch; each epoch ends with one."""


class Trainer:
    """Trains one model; everything random is a function of (seed, epoch, phase, step).

    In a group of processes each makes its trainer and runs it: the model's tables are shared out, and the methods of the model
    that read them whole are then for all processes to call.

    :param validate: model -> metrics on the validation split; called in all processes, what it gives process 0 decides
    :param state: folder of the training state; what it holds is continued
    :param on_epoch: called with each finished epoch's row (losses, validation metrics, seconds), those before a resume included,
        in process 0
    :raises ConfigError: more processes than slices
    """

    def __init__(
        self, model: Recommender, data: GraphData, settings: LoopSettings, *, seed: int,
        validate: Callable[[Recommender], dict[str, float]], state: Path,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
    ) -> None:  # fmt: skip
        if len(data.train_users) == 0:
            raise TrainingError("there are no training interactions; look at the rows of the split stage's report")
        self.group = Group.current()
        self.group.check_slices(settings.slices)
        self.model, self.data, self.settings, self.seed = model, data, settings, seed
        self.validate, self.state, self.on_epoch = validate, Path(state), on_epoch
        self.device = next(model.parameters()).device
        self.negative_items = NegativeItems(data.train_users, data.train_items, data.n_users, data.n_items)
        kg = "kg" in model.phases
        self.phases = ("joint",) if kg and settings.schedule == "joint" else model.phases
        if kg:
            users = data.n_users
            keep = torch.ones(len(data.heads), dtype=torch.bool, device=data.heads.device)
            if not model.settings.kg_includes_interactions:
                keep = (data.heads >= users) & (data.tails >= users)
            self.triples = keep.nonzero()[:, 0]
            heads, tails = data.heads[self.triples], data.tails[self.triples]
            self.negative_tails = NegativeTails(heads, tails, users, data.n_items, data.n_nodes)
        self.sharded = shard(model)
        #: elsewhere than on the CPU a step does not wait for its loss
        self.read_every = 1 if self.device.type == "cpu" else READ_EVERY
        self.optimizers: dict[str, Adam] = {phase: make_adam(model, settings.learning_rate) for phase in self.phases}

    def run(self) -> Progress:
        """Train until early stop or the last epoch, then put the best epoch's weights into the model.

        :raises TrainingError: a loss that is not finite
        :raises CheckpointError: the training state is damaged
        """
        progress = self._resume()
        while not progress.done:
            self._epoch(progress)
        self.group.wait()
        load_weights(self.model, self.state / "best.safetensors")
        self.model.eval()
        return progress

    def _resume(self) -> Progress:
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / "state.safetensors"
        if self.group.agree(path.exists()):
            progress = load_state(path, self.model, self.optimizers)
            if self.group.first:
                log.info("resumed", epoch=progress.epoch, phase=progress.phase, step=progress.step, done=progress.done)
                if self.on_epoch:
                    for row in progress.history:
                        self.on_epoch(row)
            return progress
        self._refresh()
        return Progress()

    def _refresh(self) -> None:
        self.model.refresh()
        kept = self.model.state_dict()
        self.group.copy_from_first([buffer for name, buffer in self.model.named_buffers() if name in kept])

    def _save(self, progress: Progress) -> None:
        for optimizer in self.optimizers.values():
            settle(optimizer)
        save_state(self.state / "state.safetensors", self.model, self.optimizers, progress)

    def _epoch(self, progress: Progress) -> None:
        started = time.perf_counter() - progress.seconds
        steps = [self._steps(phase) for phase in self.phases]
        total = sum(steps)
        unsaved = 0
        unread: list[Tensor] = []
        shown = item_progress(f"epoch {progress.epoch}", total, unit="step")
        with shown if self.group.first else nullcontext(ItemProgress(None, None)) as bar:
            bar.advance(sum(steps[: progress.phase]) + progress.step)
            while progress.phase < len(self.phases):
                phase = self.phases[progress.phase]
                self.model.train()
                for last, terms, values in self._phase(phase, progress.epoch, progress.step, steps[progress.phase]):
                    progress.step += 1
                    unsaved += 1
                    unread.append(values)
                    due = unsaved >= self.settings.checkpoint_every and not last and self.model.at_boundary()
                    if due or last or len(unread) >= self.read_every:
                        rows = self._read(terms, unread, progress.epoch, phase, progress.step - len(unread))
                        for row in rows:
                            for name, value in zip(terms, row, strict=False):
                                progress.sums[name] = progress.sums.get(name, 0.0) + value / steps[progress.phase]
                        bar.advance(len(rows), phase=phase, loss=rows[-1][-1])
                        unread = []
                    if due:
                        progress.seconds = time.perf_counter() - started
                        self._save(progress)
                        unsaved = 0
                progress.phase, progress.step = progress.phase + 1, 0
        self._refresh()
        self._finish_epoch(progress, started)
        self._save(progress)

    def _finish_epoch(self, progress: Progress, started: float) -> None:
        row: dict[str, float] = {"epoch": progress.epoch, **progress.sums}
        trained = time.perf_counter() - started
        settings = self.settings
        if progress.epoch % settings.eval_every == 0 or progress.epoch == settings.epochs:
            metrics = self.group.agree(self.validate(self.model))
            if settings.valid_metric not in metrics:
                raise DataError(f"valid_metric {settings.valid_metric!r} is not computed; known: {', '.join(metrics)}")
            row |= {f"valid_{name}": value for name, value in metrics.items()}
            value = metrics[settings.valid_metric]
            if progress.best is None or value > progress.best:
                progress.best, progress.best_epoch, progress.evaluations_since_best = value, progress.epoch, 0
                save_weights(self.model, self.state / "best.safetensors")
            else:
                progress.evaluations_since_best += 1
        row |= {"train_seconds": trained, "seconds": time.perf_counter() - started}
        progress.history.append(row)
        if progress.evaluations_since_best >= settings.stopping_step:
            progress.done, progress.reason = True, "early stop"
        elif progress.epoch >= settings.epochs:
            progress.done, progress.reason = True, "last epoch"
        if self.group.first:
            log.info("finished epoch", **{k: round(v, 5) for k, v in row.items()})
            if self.on_epoch:
                self.on_epoch(row)
        progress.epoch += 1
        progress.phase, progress.step, progress.sums, progress.seconds = 0, 0, {}, 0.0

    def _steps(self, phase: str) -> int:
        if phase == "kg":
            return math.ceil(len(self.triples) / (self.settings.kg_batch_size or self.settings.train_batch_size))
        return math.ceil(len(self.data.train_users) / self.settings.train_batch_size)

    def _phase(self, phase: str, epoch: int, start: int, steps: int) -> Iterator[tuple[bool, list[str], Tensor]]:
        """Run the steps ``start..steps - 1``; after each, yield whether it is the last, the names of the loss's terms, and
        their values followed by their sum. shape: (terms + 1,)"""
        optimizer = self.optimizers[phase]
        orders = {
            kind: torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(self.seed, epoch, kind)))
            for kind, n in self._examples(phase).items()
        }
        examples = {
            kind: self._look_up(kind, order.to(self.device), start, steps, phase) for kind, order in orders.items()
        }
        with rows_read(self.model, optimizer) if self.group.world == 1 else nullcontext():
            for step in range(start, steps):
                seed = derive_seed(self.seed, epoch, phase, step)
                batches: list[Batch] = []
                if phase in ("cf", "joint"):
                    batches.append(self._cf_batch(next(examples["cf"]), seed))
                if phase in ("kg", "joint"):
                    batches.append(self._kg_batch(next(examples["kg"]), seed))
                optimizer.zero_grad(set_to_none=True)
                terms, values = self._backward(batches, seed)
                last = step == steps - 1
                self.model.before_step(last)
                gradients = [p.grad for p in self.model.parameters() if p.grad is not None and p not in self.sharded]
                self.group.sum([*gradients, values])
                if self.read_every == 1:
                    self._read(terms, [values], epoch, phase, step)
                optimizer.step()
                yield last, terms, values

    def _backward(self, batches: list[Batch], seed: int) -> tuple[list[str], Tensor]:
        """Add up the gradients of this process's slices, and their part of the loss: the names of its terms, and their values
        followed by their sum."""
        total: dict[str, Tensor] = {}
        loss = torch.zeros((), device=self.device)
        slices, group = self.settings.slices, self.group
        # every process works as many slices, since looking up shared rows takes them all
        for number in range(group.rank, slices + -slices % group.world, group.world):
            parts = [cut(batch, number, slices) for batch in batches]
            if group.world == 1 and not any(weight for _, weight in parts):
                continue
            # torch.manual_seed also remembers a stack trace for every device that is not in use
            torch.default_generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seed)
            self.model.step_seed = seed
            terms: dict[str, Tensor] = {}
            for part, weight in parts:
                found = self.model.cf_loss(part) if isinstance(part, CFBatch) else self.model.kg_loss(part)
                terms |= {name: term * weight for name, term in found.items()}
            part_of_loss = torch.stack(list(terms.values())).sum()
            part_of_loss.backward()
            loss = loss + part_of_loss.detach()
            for name, term in terms.items():
                total[name] = total[name] + term.detach() if name in total else term.detach()
        return list(total), torch.stack([*total.values(), loss])

    def _read(self, terms: list[str], values: list[Tensor], epoch: int, phase: str, step: int) -> list[list[float]]:
        """Losses of consecutive steps, the first of them ``step``. :raises TrainingError: one is not finite"""
        rows: list[list[float]] = torch.stack(values).tolist()
        for number, row in enumerate(rows):
            if not math.isfinite(row[-1]):
                shown = ", ".join(f"{k} {v:.4g}" for k, v in zip(terms, row, strict=False))
                kept = "the weights before this step" if self.read_every == 1 else "the weights of the last checkpoint"
                raise TrainingError(
                    f"loss is not finite at epoch {epoch}, {phase} step {step + number} ({shown}); "
                    f"{kept} are kept: lower learning_rate, or look for extreme features"
                )
        return rows

    def _examples(self, phase: str) -> dict[str, int]:
        sizes = {}
        if phase in ("cf", "joint"):
            sizes["cf"] = len(self.data.train_users)
        if phase in ("kg", "joint"):
            sizes["kg"] = len(self.triples)
        return sizes

    def _look_up(self, kind: str, order: Tensor, start: int, steps: int, phase: str) -> Iterator[tuple[Tensor, ...]]:
        """Columns of the examples of the steps ``start..steps - 1``, one step after the other. shape of each: (B,)"""
        data, size = self.data, self.settings.train_batch_size
        columns: tuple[Tensor, ...] = data.train_users, data.train_items
        if kind == "kg":
            columns, size = (data.heads, data.rels, data.tails), self.settings.kg_batch_size or size
        # in the joint schedule there may be more collaborative steps than triples: begin again
        repeats = phase == "joint" and kind == "kg"
        for first in range(start, steps, LOOK_UP):
            place = torch.arange(first * size, min(first + LOOK_UP, steps) * size, device=order.device)
            chosen = order[place % len(order) if repeats else place[: len(order) - first * size]]
            chosen = self.triples[chosen] if kind == "kg" else chosen
            yield from zip(*(column[chosen].split(size) for column in columns), strict=True)

    def _cf_batch(self, examples: tuple[Tensor, ...], seed: int) -> CFBatch:
        users, items = examples
        return CFBatch(users, items, self.negative_items.draw(users, seed))

    def _kg_batch(self, examples: tuple[Tensor, ...], seed: int) -> KGBatch:
        heads, rels, tails = examples
        return KGBatch(heads, rels, tails, self.negative_tails.draw(heads, tails, seed))


def cut(batch: Batch, number: int, slices: int) -> tuple[Batch, float]:
    """One of ``slices`` nearly equal parts of a batch, and its share of the examples.

    Where there is nothing left for it, the first example stands in with share 0: a process without examples still has to take
    part when rows are exchanged.
    """
    columns = [getattr(batch, field.name) for field in fields(batch)]
    size = len(columns[0])
    start, end = (size * n // slices for n in (number, number + 1))
    if number >= slices or start == end:
        return type(batch)(*(column[:1] for column in columns)), 0.0
    return type(batch)(*(column[start:end] for column in columns)), (end - start) / size
