"""Training state is everything a killed run needs to go on as if it had not been killed: weights, optimizer moments, the
position in the epoch, the best so far. Random numbers need no state: each step's are a function of (seed, epoch, phase, step).

One safetensors file holds it, written to a temporary name and renamed, so that it is always whole. It does not depend on how
many processes train: tables that several share out, and their moments, are whole in it, and any number may go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kgrec.errors import CheckpointError
from kgrec.models.base import Recommender
from kgrec.models.blocks.sharded_table import ShardedTable, is_first
from kgrec.models.checkpoint import load_whole, save_tensors, whole_state
from kgrec.training.adam import Adam


class Progress(BaseModel):
    """Where training stands."""

    #: epoch under way, from 1
    epoch: int = 1
    #: index into the model's phases, and the next step inside it
    phase: int = 0
    step: int = 0
    #: best validation value so far, its epoch, evaluations since
    best: float | None = None
    best_epoch: int = 0
    evaluations_since_best: int = 0
    done: bool = False
    #: why training ended
    reason: str = ""
    #: sums of the loss terms over the steps of the epoch under way
    sums: dict[str, float] = {}
    #: seconds spent in the epoch under way before the last checkpoint
    seconds: float = 0.0
    #: one row per finished epoch
    history: list[dict[str, float]] = []


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any values, the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def save_state(path: Path, model: Recommender, optimizers: Mapping[str, Adam], progress: Progress) -> None:
    """Write weights, optimizer moments and progress as one file; all processes call it, the first one writes."""
    tensors: dict[str, Tensor] = {f"model/{k}": v for k, v in whole_state(model).items()}
    tables = _tables(model)
    for name, optimizer in optimizers.items():
        for number, parameter in enumerate(model.parameters()):
            for key, value in optimizer.state.get(parameter, {}).items():
                shared = number in tables and value.ndim > 0
                whole = tables[number].gather(value) if shared else value
                if whole is not None:
                    tensors[f"optimizer/{name}/{number}/{key}"] = whole
    if is_first():
        save_tensors(tensors, path, {"progress": progress.model_dump_json()})


def _tables(model: Recommender) -> dict[int, ShardedTable]:
    """Tables whose rows are shared out, by the number of their parameter."""
    tables: dict[str, ShardedTable] = getattr(model, "tables", {})
    return {
        number: tables[name]
        for number, (name, _) in enumerate(model.named_parameters())
        if name in tables and tables[name].world > 1
    }


def load_state(path: Path, model: Recommender, optimizers: Mapping[str, Adam]) -> Progress:
    """Put weights and moments back. :raises CheckpointError: the file is damaged or of another model"""
    try:
        with safe_open(path, "pt") as file:
            progress = Progress.model_validate_json(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        load_whole(model, {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        tables = _tables(model)
        parameters = list(model.parameters())
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, name, number, field = key.split("/")
                parameter = parameters[int(number)]
                device = value.device if field == "step" and value.device == parameter.device else parameter.device
                if int(number) in tables and value.ndim > 0:
                    value = tables[int(number)].own_rows(value).contiguous()
                optimizers[name].state[parameter][field] = value.to(device)
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: the training state is damaged or of another model ({str(error).splitlines()[0]}); "
            "delete it to start this model anew"
        ) from None
    return progress


def state_key(**parts: Any) -> str:
    """Name of the state folder: a hash of all that decides the result, so that no run resumes another's state."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
