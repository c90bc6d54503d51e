"""A modality graph has the nodes and edges of the collaborative graph and, on items and entities, the features of one
modality: ``ndata["feature"]`` and ``ndata["present"]``. A missing picture or text is a False, with a row of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from kgrec.data.io import read_parquet
from kgrec.errors import DataError
from kgrec.graphs.dgl_compat import DGLGraph

CARRIERS = ("item", "entity")
#: rows laid out at once
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one modality for items, then entities."""

    #: shape: (n_items + n_entities, d), float16
    feature: np.ndarray
    #: shape: (n_items + n_entities,), bool
    present: np.ndarray
    #: rows of the table whose key is no node of the graph
    unmatched: int


def read_features(path: Path, keys: pa.StringArray, other_keys: pa.StringArray) -> Features:
    """Read a feature table and lay its vectors out by node.

    :param keys: media key of each item, then of each entity
    :param other_keys: second key a node goes by, tried where the table lacks the first; null for none
    :raises DataError: if the table is damaged, has a key twice, or a vector that is missing or not finite
    """
    table = read_parquet(path, columns=["key", "vector"]).combine_chunks()
    kind = table.schema.field("vector").type
    if not pa.types.is_fixed_size_list(kind):
        raise DataError(f"column vector is {kind}, not a fixed-size list", path=path)
    known = table["key"].combine_chunks() if table.num_rows else pa.array([], pa.string())
    if len(pc.unique(known)) != table.num_rows:
        raise DataError("has a key twice; rerun the features stage", path=path)
    if table["vector"].null_count:
        raise DataError("has a row without a vector; rerun the features stage", path=path)

    feature = np.zeros((len(keys), kind.list_size), np.float16)
    first, second = (_positions(column, known) for column in (keys, other_keys))
    row = np.where(first >= 0, first, second)
    present = row >= 0
    if table.num_rows:
        vectors = table["vector"].combine_chunks()
        values = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        nodes = np.flatnonzero(present)
        for block in np.array_split(nodes, len(nodes) // _BLOCK + 1):
            part = values[row[block]]
            if not np.isfinite(part).all():
                bad = keys[int(block[~np.isfinite(part).all(axis=1)][0])].as_py()
                raise DataError(f"the vector of {bad!r} is not finite; rerun the features stage", path=path)
            feature[block] = part
    return Features(feature, present, unmatched=table.num_rows - len(np.unique(row[present])))


def split_by_modality(graph: DGLGraph, features: dict[str, Features]) -> dict[str, DGLGraph]:
    """One graph per modality over the same nodes and edges, with ``feature`` float16 and ``present`` bool on items and
    entities.

    :raises DataError: if a modality has another number of rows than the graph has items and entities
    """
    graphs = {}
    for name, modality in features.items():
        rows = [graph.num_nodes(kind) for kind in CARRIERS]
        if len(modality.present) != sum(rows):
            raise DataError(
                f"modality {name!r} has {len(modality.present)} rows; the graph has {sum(rows)} items and entities"
            )
        one = graph.clone()
        bounds = ((0, rows[0]), (rows[0], sum(rows)))
        for kind, (start, stop) in zip(CARRIERS, bounds, strict=True):
            one.nodes[kind].data["feature"] = torch.from_numpy(modality.feature[start:stop])
            one.nodes[kind].data["present"] = torch.from_numpy(modality.present[start:stop])
        graphs[name] = one
    return graphs


def _positions(keys: pa.StringArray, known: pa.Array) -> np.ndarray:
    """Position of each key in ``known``, -1 where it is not there or null."""
    index = pc.index_in(keys, value_set=known, skip_nulls=True)
    return index.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
