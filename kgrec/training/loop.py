"""The training loop: epochs of collaborative steps and knowledge-graph steps, attention refreshed between them, early stop
on validation, checkpoints that resume to the bit (KGAT's schedule, Multi-KG4Rec eq. (13)).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
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
from kgrec.models.checkpoint import load_weights, save_tensors
from kgrec.progress import get_logger, item_progress
from kgrec.training.state import Progress, derive_seed, load_state, save_state

log = get_logger(__name__)


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
    schedule: Literal["alternate", "joint"] = "alternate"
    """One pass over the interactions, then one over the triples, each with its own Adam; or both losses summed per step."""
    valid_metric: str = "NDCG@20"
    """What early stopping watches on the validation split."""
    eval_every: int = Field(1, gt=0)
    """Epochs between validations."""
    stopping_step: int = Field(10, gt=0)
    """Validations without improvement before training stops."""
    checkpoint_every: int = Field(200, gt=0)
    """Steps between checkpoints of the training state."""


class Trainer:
    """Trains one model; everything random is a function of (seed, epoch, phase, step).

    :param validate: model -> metrics on the validation split
    :param state: folder of the training state; what it holds is continued
    :param on_epoch: called with each finished epoch's row (losses, validation metrics, seconds), those before a resume included
    """

    def __init__(
        self, model: Recommender, data: GraphData, settings: LoopSettings, *, seed: int,
        validate: Callable[[Recommender], dict[str, float]], state: Path,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
    ) -> None:  # fmt: skip
        if len(data.train_users) == 0:
            raise TrainingError("there are no training interactions; look at the rows of the split stage's report")
        self.model, self.data, self.settings, self.seed = model, data, settings, seed
        self.validate, self.state, self.on_epoch = validate, Path(state), on_epoch
        self.device = next(model.parameters()).device
        self.negative_items = NegativeItems(data.train_users, data.train_items, data.n_users, data.n_items)
        kg = "kg" in model.phases
        self.phases = ("joint",) if kg and settings.schedule == "joint" else model.phases
        if kg:
            self.negative_tails = NegativeTails(data.heads, data.tails, data.n_users, data.n_items, data.n_nodes)
            users = data.n_users
            keep = torch.ones(len(data.heads), dtype=torch.bool, device=data.heads.device)
            if not model.settings.kg_includes_interactions:
                keep = (data.heads >= users) & (data.tails >= users)
            self.triples = keep.nonzero()[:, 0]
        fused = self.device.type in ("cpu", "cuda")
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            phase: torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=fused) for phase in self.phases
        }

    def run(self) -> Progress:
        """Train until early stop or the last epoch, then put the best epoch's weights into the model.

        :raises TrainingError: a loss that is not finite
        :raises CheckpointError: the training state is damaged
        """
        progress = self._resume()
        while not progress.done:
            self._epoch(progress)
        load_weights(self.model, self.state / "best.safetensors")
        self.model.eval()
        return progress

    def _resume(self) -> Progress:
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / "state.safetensors"
        if path.exists():
            progress = load_state(path, self.model, self.optimizers)
            log.info("resumed", epoch=progress.epoch, phase=progress.phase, step=progress.step, done=progress.done)
            if self.on_epoch:
                for row in progress.history:
                    self.on_epoch(row)
            return progress
        self.model.refresh()
        return Progress()

    def _save(self, progress: Progress) -> None:
        save_state(self.state / "state.safetensors", self.model, self.optimizers, progress)

    def _epoch(self, progress: Progress) -> None:
        started = time.perf_counter() - progress.seconds
        steps = [self._steps(phase) for phase in self.phases]
        total = sum(steps)
        unsaved = 0
        with item_progress(f"epoch {progress.epoch}", total, unit="step") as bar:
            bar.advance(sum(steps[: progress.phase]) + progress.step)
            while progress.phase < len(self.phases):
                phase = self.phases[progress.phase]
                self.model.train()
                for last, loss, terms in self._phase(phase, progress.epoch, progress.step, steps[progress.phase]):
                    progress.step += 1
                    unsaved += 1
                    for name, value in terms.items():
                        progress.sums[name] = progress.sums.get(name, 0.0) + value / steps[progress.phase]
                    bar.advance(1, phase=phase, loss=loss)
                    if unsaved >= self.settings.checkpoint_every and not last and self.model.at_boundary():
                        progress.seconds = time.perf_counter() - started
                        self._save(progress)
                        unsaved = 0
                progress.phase, progress.step = progress.phase + 1, 0
        self.model.refresh()
        self._finish_epoch(progress, started)
        self._save(progress)

    def _finish_epoch(self, progress: Progress, started: float) -> None:
        row: dict[str, float] = {"epoch": progress.epoch, **progress.sums}
        trained = time.perf_counter() - started
        settings = self.settings
        if progress.epoch % settings.eval_every == 0 or progress.epoch == settings.epochs:
            metrics = self.validate(self.model)
            if settings.valid_metric not in metrics:
                raise DataError(f"valid_metric {settings.valid_metric!r} is not computed; known: {', '.join(metrics)}")
            row |= {f"valid_{name}": value for name, value in metrics.items()}
            value = metrics[settings.valid_metric]
            if progress.best is None or value > progress.best:
                progress.best, progress.best_epoch, progress.evaluations_since_best = value, progress.epoch, 0
                save_tensors(self.model.state_dict(), self.state / "best.safetensors", {"format": "pt"})
            else:
                progress.evaluations_since_best += 1
        row |= {"train_seconds": trained, "seconds": time.perf_counter() - started}
        progress.history.append(row)
        if progress.evaluations_since_best >= settings.stopping_step:
            progress.done, progress.reason = True, "early stop"
        elif progress.epoch >= settings.epochs:
            progress.done, progress.reason = True, "last epoch"
        log.info("finished epoch", **{k: round(v, 5) for k, v in row.items()})
        if self.on_epoch:
            self.on_epoch(row)
        progress.epoch += 1
        progress.phase, progress.step, progress.sums, progress.seconds = 0, 0, {}, 0.0

    def _steps(self, phase: str) -> int:
        if phase == "kg":
            return math.ceil(len(self.triples) / (self.settings.kg_batch_size or self.settings.train_batch_size))
        return math.ceil(len(self.data.train_users) / self.settings.train_batch_size)

    def _phase(self, phase: str, epoch: int, start: int, steps: int) -> Iterator[tuple[bool, float, dict[str, float]]]:
        """Run the steps ``start..steps - 1``; yield (is last, loss, terms) after each."""
        optimizer = self.optimizers[phase]
        orders = {
            kind: torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(self.seed, epoch, kind)))
            for kind, n in self._examples(phase).items()
        }
        for step in range(start, steps):
            seed = derive_seed(self.seed, epoch, phase, step)
            torch.manual_seed(seed)
            self.model.step_seed = seed
            terms: dict[str, Tensor] = {}
            if phase in ("cf", "joint"):
                terms |= self.model.cf_loss(self._cf_batch(orders["cf"], step, seed))
            if phase in ("kg", "joint"):
                terms |= self.model.kg_loss(self._kg_batch(orders["kg"], step, seed, phase))
            loss = torch.stack(list(terms.values())).sum()
            value = float(loss.detach())
            if not math.isfinite(value):
                shown = ", ".join(f"{k} {float(v.detach()):.4g}" for k, v in terms.items())
                raise TrainingError(
                    f"loss is not finite at epoch {epoch}, {phase} step {step} ({shown}); "
                    "the weights before this step are kept: lower learning_rate, or look for extreme features"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            last = step == steps - 1
            self.model.before_step(last)
            optimizer.step()
            yield last, value, {name: float(term.detach()) for name, term in terms.items()}

    def _examples(self, phase: str) -> dict[str, int]:
        sizes = {}
        if phase in ("cf", "joint"):
            sizes["cf"] = len(self.data.train_users)
        if phase in ("kg", "joint"):
            sizes["kg"] = len(self.triples)
        return sizes

    def _cf_batch(self, order: Tensor, step: int, seed: int) -> CFBatch:
        size = self.settings.train_batch_size
        chosen = order[step * size : (step + 1) * size].to(self.device)
        users = self.data.train_users[chosen]
        return CFBatch(users, self.data.train_items[chosen], self.negative_items.draw(users, seed))

    def _kg_batch(self, order: Tensor, step: int, seed: int, phase: str) -> KGBatch:
        size = self.settings.kg_batch_size or self.settings.train_batch_size
        position = torch.arange(step * size, (step + 1) * size)
        # in the joint schedule there may be more collaborative steps than triples: begin again
        position = position % len(order) if phase == "joint" else position[position < len(order)]
        chosen = self.triples[order[position].to(self.device)]
        heads, tails = self.data.heads[chosen], self.data.tails[chosen]
        negatives = self.negative_tails.draw(heads, tails, seed)
        return KGBatch(heads, self.data.rels[chosen], tails, negatives)
