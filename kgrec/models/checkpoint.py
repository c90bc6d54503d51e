"""A trained model on disk is a folder: weights in safetensors, ``config.json`` with the model's name, settings and the sizes
it was trained for. Nothing is pickled, and nothing says how many processes trained it: a table whose rows several share out is
whole on disk. What saves or loads a model is called by all of them; the first one writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgrec.data.io import atomic_file, read_json, write_json
from kgrec.errors import CheckpointError, DataError
from kgrec.graphs.data import GraphData
from kgrec.models.base import Recommender
from kgrec.models.blocks.sharded_table import ShardedTable, is_first
from kgrec.models.registry import MODELS, build_model
from kgrec.version import __version__

#: raised when the layout of the folder changes; older folders are refused, not guessed at
FORMAT_VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def sizes(data: GraphData) -> dict[str, int]:
    """What a checkpoint and a graph must agree on."""
    return {
        "users": data.n_users, "items": data.n_items, "entities": data.n_entities, "relations": data.n_relations,
        "edges": len(data.heads),
    }  # fmt: skip


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors atomically, from whatever device they are on.

    :param metadata: one key, since safetensors writes several in no fixed order, and equal models should be equal bytes
    """
    with atomic_file(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def whole_state(model: Recommender) -> dict[str, Tensor]:
    """Parameters and buffers with every table whole, in the first process; tables are left out in the others."""
    state: dict[str, Tensor] = model.state_dict()
    for name, table in _tables(model).items():
        whole = table.gather(state.pop(name))
        if whole is not None:
            state[name] = whole
    return state


def load_whole(model: Recommender, state: Mapping[str, Tensor]) -> None:
    """Load what :func:`whole_state` gave; of a table this process takes its own rows.

    :raises RuntimeError: as ``load_state_dict``
    """
    tables = _tables(model)
    for name, table in tables.items():
        if name in state and len(state[name]) != table.n_rows:
            raise RuntimeError(f"size mismatch for {name}: {len(state[name])} rows, the model has {table.n_rows}")
    model.load_state_dict({k: tables[k].own_rows(v) if k in tables else v for k, v in state.items()})


def _tables(model: Recommender) -> dict[str, ShardedTable]:
    return {name: table for name, table in getattr(model, "tables", {}).items() if table.world > 1}


def save_weights(model: Recommender, path: Path) -> None:
    """Write the weights of a model that :func:`load_weights` loads."""
    state = whole_state(model)
    if is_first():
        save_tensors(state, path, {"format": "pt"})


def save_model(
    model: Recommender, name: str, data: GraphData, folder: Path, training: dict[str, Any] | None = None
) -> None:
    """Write weights and config; the folder is made.

    :param name: the model's name in the registry
    :param training: how it was trained, kept for the reader in ``config.json``
    """
    folder = Path(folder)
    state = whole_state(model)
    if not is_first():
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(state, folder / WEIGHTS, {"format": "pt"})
    config = {
        "format_version": FORMAT_VERSION,
        "kgrec_version": __version__,
        "model": name,
        "kind": type(model).kind,
        "settings": model.settings.model_dump(mode="json"),
        "sizes": sizes(data),
        "parameters": sum(state[name].numel() for name, _ in model.named_parameters()),
        "training": training or {},
    }
    write_json(config, folder / CONFIG)


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder. :raises CheckpointError: missing, damaged, or of another format version"""
    path = Path(folder) / CONFIG
    try:
        config = read_json(path)
    except DataError as error:
        raise CheckpointError(f"{error}; a model folder holds {CONFIG} and {WEIGHTS}: train the model again") from None
    version = config.get("format_version") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, this kgrec reads {FORMAT_VERSION}; train the model again, "
            "or use the kgrec version that wrote it"
        )
    if config.get("model") not in MODELS:
        raise CheckpointError(
            f"{path}: unknown model {config.get('model')!r}; this kgrec knows {', '.join(sorted(MODELS))}"
        )
    return config


def load_model(folder: Path, data: GraphData) -> Recommender:
    """Rebuild a model on the graph it was trained on; scores equal those before saving to the bit.

    :raises CheckpointError: the folder is damaged, older, or was trained on a graph of other sizes
    """
    folder = Path(folder)
    config = read_config(folder)
    expected = sizes(data)
    if config["sizes"] != expected:
        differing = ", ".join(
            f"{k} {config['sizes'].get(k)} != {v}" for k, v in expected.items() if config["sizes"].get(k) != v
        )
        raise CheckpointError(f"{folder}: trained on another graph ({differing}); run `train` again")
    model = build_model(config["model"], data, config["settings"], place=str(folder / CONFIG))
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def load_weights(model: Recommender, path: Path) -> None:
    """Load a state dict. :raises CheckpointError: missing, truncated, corrupted, or of other tensors"""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; train the model again") from None
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); restore it or train the model again") from None
    try:
        load_whole(model, tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"{path}: holds other weights than the model needs ({first})") from None
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {key} holds values that are not finite; train the model again")
