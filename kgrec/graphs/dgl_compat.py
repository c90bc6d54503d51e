"""DGL, imported in one place and made to work beside the torch we pin. Everything else imports DGL's names from here.

Two things stand between DGL 2.1.0, the last release on PyPI, and a current torch or a reproducible pipeline:

- ``dgl.graphbolt`` loads a compiled library that ships for torch 2.0 to 2.2 only, and ``dgl.distributed`` imports it
  unconditionally, so ``import dgl`` fails on any other torch. Where the library for the running torch is absent, an
  empty module stands in for ``dgl.graphbolt``; whoever reaches into it is told why it is empty. Heterographs, save and
  load, samplers, ``edge_softmax`` and message passing do not need it.
- ``save_graphs`` writes a 4096-byte header of which it sets the first 32 bytes; the rest is whatever lay on the stack,
  so equal graphs give unequal files (and the file carries stray memory). :func:`save_graphs` zeroes that unused part:
  equal graphs then give equal bytes, and plain DGL reads the file as before.

``DGLBACKEND`` is set before the import because DGL otherwise prints a notice and writes ``~/.dgl/config.json``.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch

from kgrec.errors import DataError

_HEADER_USED, _HEADER_SIZE = 32, 4096


def _stand_in_for_graphbolt() -> None:
    """Put an empty ``dgl.graphbolt`` in place unless DGL ships its library for the running torch."""
    if "dgl" in sys.modules:
        return
    spec = find_spec("dgl")
    if spec is None or not spec.submodule_search_locations:
        return  # the import below says that DGL is missing
    release = torch.__version__.split("+")[0]
    folder = Path(next(iter(spec.submodule_search_locations))) / "graphbolt"
    if any(folder.glob(f"*graphbolt_pytorch_{release}.*")):
        return
    stand_in = ModuleType("dgl.graphbolt", f"Empty: DGL ships no graphbolt library for torch {release}.")

    def explain(name: str) -> NoReturn:
        raise AttributeError(
            f"dgl.graphbolt.{name} is not available: DGL ships no graphbolt library for torch {release}"
        )

    stand_in.__getattr__ = explain  # type: ignore[method-assign]
    sys.modules["dgl.graphbolt"] = stand_in


os.environ.setdefault("DGLBACKEND", "pytorch")
_stand_in_for_graphbolt()

import dgl  # noqa: E402
from dgl import DGLGraph, heterograph  # noqa: E402

__all__ = ["DGLGraph", "dgl", "heterograph", "load_graphs", "save_graphs"]


def save_graphs(path: Path | str, graphs: list[DGLGraph]) -> None:
    """Write ``graphs`` in DGL's own format; equal graphs give equal bytes.

    Edges are stored as coordinate lists, in their order. DGL stores bool data as uint8.
    """
    dgl.save_graphs(str(path), graphs, formats="coo")
    with open(path, "r+b") as stream:
        stream.seek(_HEADER_USED)
        stream.write(bytes(_HEADER_SIZE - _HEADER_USED))


def load_graphs(path: Path | str) -> list[DGLGraph]:
    """Read the graphs of a ``.dgl`` file.

    :raises DataError: if the file is missing or not a complete DGL file
    """
    path = Path(path)
    if not path.exists():
        raise DataError("no such file; run the stage that writes it first", path=path)
    try:
        graphs: list[Any] = dgl.load_graphs(str(path))[0]
    except (dgl.DGLError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"is not a complete DGL graph file ({reason}); rerun the stage that writes it", path=path
        ) from None
    return graphs
