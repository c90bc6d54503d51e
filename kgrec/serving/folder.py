"""A model folder is one trained model as its users meet it: arrays, vocabulary, metrics, card, lineage, nothing else.

It needs no pipeline, no graph library and no pickle to be read. ``config.json`` names the format's version, how scores
are made (``kind``) and the SHA-256 of every data file, so that a damaged or foreign folder is refused before it
answers.

===================== =================================================================================================
``config.json``       format, kind, sizes, the training settings, checksums
``model.safetensors`` the weights; for kind ``item_similarity`` and ``popularity`` the one tensor of that name
``vocab.parquet``     ids and titles of users, items, entities, relations, in the order of the arrays
``user_vectors``      (kind ``vectors``) ``id, vector FixedSizeList<float32>[d]``, Parquet; ``item_vectors`` likewise
``seen.parquet``      ``user_id, item_id, split``: what each user already has, from train and valid
``metrics.json``      protocol, this model and the models beside it
``lineage.json``      hash of every input
``README.md``         model card
===================== =================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgrec.data.io import sha256_file
from kgrec.errors import CheckpointError

FORMAT = "kgrec-model"
FORMAT_VERSION = 1

#: how a score is made: ``user_vector . item_vector``, item-item weights summed over the user's history, one for all
KINDS = ("vectors", "item_similarity", "popularity")

_REPUBLISH = "publish it again (`dvc repro publish`, or kgrec.serving.publish.publish_model)"


def read_config(folder: Path | str) -> dict[str, Any]:
    """Read ``config.json`` of a model folder and refuse what this version cannot read.

    :raises CheckpointError: if the folder is missing, is not a model folder, or has another format version
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such model folder; give the one that publish wrote, as 12_publish/model")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: has no config.json, so it is not a model folder; {_REPUBLISH}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: is damaged, not valid JSON ({error}); {_REPUBLISH}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: is not that of a published model; a training checkpoint must be published first: {_REPUBLISH}"
        )
    version = config.get("format_version")
    if not isinstance(version, int) or version < FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format version {version} and is older; this kgrec reads {FORMAT_VERSION}: {_REPUBLISH}"
        )
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format version {version} and is newer; this kgrec reads {FORMAT_VERSION}: upgrade kgrec"
        )
    if config.get("kind") not in KINDS:
        raise CheckpointError(f"{path}: kind {config.get('kind')!r} is none of {', '.join(KINDS)}; {_REPUBLISH}")
    return config


def manifest(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Checksum and size in bytes of the files ``names`` in ``folder``, as ``config.json`` stores them."""
    return {name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size} for name in names}


def check_file(folder: Path, config: dict[str, Any], name: str) -> Path:
    """Path of the data file ``name``, after its size and checksum were compared with ``config.json``.

    :raises CheckpointError: if the file is missing, not listed, or not the one that was published
    """
    path = folder / name
    entry = config.get("files", {}).get(name)
    if entry is None:
        raise CheckpointError(f"{folder / 'config.json'}: lists no file {name}; the folder is incomplete: {_REPUBLISH}")
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing from the model folder; copy the whole folder again, or {_REPUBLISH}")
    if path.stat().st_size != entry["bytes"] or sha256_file(path) != entry["sha256"]:
        raise CheckpointError(
            f"{path}: is not the file that was published (checksum differs); copy it again, or {_REPUBLISH}"
        )
    return path
