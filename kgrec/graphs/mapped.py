"""A mapped graph is a graph whose tensors are views of files: opening it takes no memory of its own, the pages that are
read are shared by all processes of a machine, and the system may drop them whenever it needs the room.

The files are plain ``.npy``, written once from what the graph stage wrote into a cache folder named by the SHA-256 of
those files. Deleting the cache changes nothing; a cache that is not what was written is written again.

Ids are stored as wide as :class:`~kgrec.graphs.data.GraphData` has them (int64: models multiply them), the compressed rows
as wide as :class:`~kgrec.graphs.ops.adjacency.Adjacency` has them: 40 bytes per edge. Features stay float16, in node order.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec.data.io import atomic_folder, read_json, sha256_file, write_json
from kgrec.errors import DataError
from kgrec.graphs.data import GraphData, ModalityData, read_modalities, read_structure
from kgrec.graphs.ops.adjacency import Adjacency
from kgrec.progress import get_logger

log = get_logger(__name__)

#: changes when the files of a cache do
_FORMAT = 1
_IDS = ("heads", "rels", "tails", "train_users", "train_items", "sequences", "hops")
_ROWS = tuple(field.name for field in fields(Adjacency) if field.name != "shape")


def open_mapped(folder: Path, cache: Path) -> GraphData:
    """Open the graph of ``folder`` as views of files in ``cache``, which are made if they are not there.

    Writing to a tensor of the graph changes this process's copy of the page, never the file.

    :param folder: what the graph stage wrote
    :raises DataError: if what the graph stage wrote is missing or damaged
    """
    target = Path(cache) / cache_key(folder)
    with _locked(target.with_suffix(".lock")):
        if target.exists():
            try:
                return _open(target)
            except (DataError, OSError, ValueError, KeyError, TypeError) as error:
                log.warning("the mapped graph is damaged and is written again", path=str(target), reason=str(error))
        with atomic_folder(target) as temporary:
            write_arrays(read_structure(folder), read_modalities(folder), temporary)
        return _open(target)


def cache_key(folder: Path) -> str:
    """SHA-256 over names and contents of the files the graph stage wrote. :raises DataError: if there are none"""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".dgl", ".parquet"))
    if not paths:
        raise DataError("holds no graph; run the graph stage first", path=folder)
    lines = [f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n" for path in paths]
    return hashlib.sha256("".join([f"format {_FORMAT}\n", *lines]).encode()).hexdigest()


def write_arrays(data: GraphData, modalities: Iterator[tuple[str, Tensor, Tensor]], folder: Path) -> None:
    """Write the files of a mapped graph.

    :param data: the graph; its own modalities are not looked at
    :param modalities: name, features and presence, one modality in memory at a time
    """
    arrays: dict[str, Any] = {}

    def put(name: str, values: Tensor) -> None:
        array = values.numpy()
        np.save(folder / f"{name}.npy", array)
        arrays[name] = {"dtype": str(array.dtype), "shape": list(array.shape)}

    for name in _IDS:
        if (values := getattr(data, name)) is not None:
            put(name, values)
    adjacency = data.adjacency()
    for name in _ROWS:
        put(f"adjacency-{name}", getattr(adjacency, name))
    del adjacency
    names = []
    for name, feature, present in modalities:
        put(f"feature-{name}", feature.half())
        put(f"present-{name}", present)
        names.append(name)
    sizes = {name: getattr(data, name) for name in ("n_users", "n_items", "n_entities", "relations")}
    write_json({"graph": sizes, "modalities": names, "arrays": arrays}, folder / "graph.json")


def _open(folder: Path) -> GraphData:
    """:raises DataError, OSError, ValueError, KeyError: if a file is not what :func:`write_arrays` wrote"""
    about = read_json(folder / "graph.json")

    def view(name: str) -> Tensor:
        array = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        wanted = about["arrays"][name]
        if str(array.dtype) != wanted["dtype"] or list(array.shape) != wanted["shape"]:
            raise DataError(f"holds {array.dtype} {array.shape}", path=folder / f"{name}.npy")
        return torch.from_numpy(array)

    n = sum(about["graph"][name] for name in ("n_users", "n_items", "n_entities"))
    return GraphData(
        **about["graph"],
        **{name: view(name) for name in _IDS if name in about["arrays"]},
        modalities={
            name: ModalityData(view(f"feature-{name}"), view(f"present-{name}")) for name in about["modalities"]
        },
        stored_adjacency=Adjacency((n, n), **{name: view(f"adjacency-{name}") for name in _ROWS}),
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Of several processes that want the same cache one writes it; the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
