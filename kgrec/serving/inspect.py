"""Inspecting a model folder means saying what is in it and whether each file is the one that was published."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.data.io import read_json
from kgrec.errors import CheckpointError, DataError
from kgrec.serving.folder import check_file, read_config


@dataclass(frozen=True)
class FileFacts:
    """One file of a model folder."""

    name: str
    bytes: int
    status: Literal["ok", "unchecked", "missing", "damaged"]
    """``unchecked`` are the files without a checksum, which a person may edit: card, metrics, lineage, config"""
    content: str
    """rows and columns of a table, tensors of a weight file, or what the file is for"""


@dataclass(frozen=True)
class ModelFacts:
    """What :func:`inspect_model` finds."""

    folder: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    files: list[FileFacts]

    @property
    def sound(self) -> bool:
        """Whether every file with a checksum is the one that was published."""
        return all(file.status in ("ok", "unchecked") for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {**asdict(self), "sound": self.sound}


_PURPOSE = {
    "config.json": "format, sizes, training settings, checksums",
    "metrics.json": "protocol and numbers",
    "lineage.json": "hash of every input",
    "README.md": "model card",
}


def inspect_model(folder: Path | str) -> ModelFacts:
    """Look into a model folder: every file is read once and compared with its checksum.

    :raises CheckpointError: if it is no model folder, or of another format version; damaged files are told, not raised
    """
    folder = Path(folder)
    config = read_config(folder)
    listed = set(config.get("files", {}))
    present = {path.name for path in folder.iterdir() if path.is_file()}
    files = [_facts(folder, config, name, name in listed) for name in sorted(listed | present)]
    try:
        metrics = read_json(folder / "metrics.json")
    except DataError:
        metrics = {}
    return ModelFacts(str(folder), config, metrics, files)


def _facts(folder: Path, config: dict[str, Any], name: str, listed: bool) -> FileFacts:
    path = folder / name
    if not path.is_file():
        return FileFacts(name, 0, "missing", "copy the whole folder again, or publish again")
    size = path.stat().st_size
    if not listed:
        return FileFacts(name, size, "unchecked", _PURPOSE.get(name, "not part of the format"))
    try:
        check_file(folder, config, name)
        return FileFacts(name, size, "ok", _content(path))
    except CheckpointError:
        return FileFacts(name, size, "damaged", "checksum differs; copy it again, or publish again")


def _content(path: Path) -> str:
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path)
        columns = ", ".join(f"{field.name} {_type(field.type)}" for field in table.schema_arrow)
        return f"{table.metadata.num_rows:,} rows: {columns}"
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in sorted(tensors.keys())}
        listed = ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in list(shapes.items())[:8])
        return f"{len(shapes)} tensors: {listed}{', …' if len(shapes) > 8 else ''}"
    return ""


def _type(type: pa.DataType) -> str:
    return f"{type.value_type}[{type.list_size}]" if pa.types.is_fixed_size_list(type) else str(type)
