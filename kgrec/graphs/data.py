"""A graph in memory is the collaborative knowledge graph as index tensors: who exists, which edges join them, who has
which modality, and the context sequence of every item. Models and trainers read this and no file of the graph stage.

Numbering: users 0..U-1, items 0..I-1, entities 0..A-1; a *node* is counted users first, then items, then entities
(N = U + I + A). Relations: 0 is ``interact``, 1..R the knowledge graph's relations by name, and where edges are stored
in both directions r + R + 1 is the inverse of r.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kgrec.errors import DataError

if TYPE_CHECKING:
    from kgrec.graphs.ops.adjacency import Adjacency


@dataclass(frozen=True, eq=False)
class ModalityData:
    """Features of one modality for the nodes that can have one, items first, then entities."""

    #: shape: (n_items + n_entities, d), float32, or float16 in a mapped graph; rows of nodes without the modality are zero
    feature: Tensor
    #: shape: (n_items + n_entities,), bool; False where the modality is missing
    present: Tensor

    def __post_init__(self) -> None:
        if self.feature.ndim != 2 or self.present.shape != self.feature.shape[:1]:
            raise DataError(
                f"modality features have shape {tuple(self.feature.shape)} and presence {tuple(self.present.shape)}; "
                "they must be (n, d) and (n,)"
            )

    def to(self, device: torch.device | str) -> ModalityData:
        """The same modality on ``device``."""
        return ModalityData(self.feature.to(device), self.present.to(device))


@dataclass(frozen=True, eq=False)
class GraphData:
    """The collaborative knowledge graph. M edges (inverses included), T training interactions."""

    n_users: int
    n_items: int
    n_entities: int
    #: name of every relation id; with inverses 2 (R + 1) names
    relations: list[str]
    #: shape: (M,), int64, nodes; edges are sorted by (head, relation, tail) and messages go from tail to head
    heads: Tensor
    #: shape: (M,), int64, relation ids
    rels: Tensor
    #: shape: (M,), int64, nodes
    tails: Tensor
    #: shape: (T,), int64, users of the training interactions, sorted by (user, item)
    train_users: Tensor
    #: shape: (T,), int64, items 0..n_items-1
    train_items: Tensor
    #: modality name -> features; empty for a graph without features
    modalities: dict[str, ModalityData] = field(default_factory=dict)
    #: shape: (n_items, n), int64, nodes; the item itself first, -1 where the sequence is shorter
    sequences: Tensor | None = None
    #: shape: (n_items, n), int64; hops from the item, 0 first, -1 where padded
    hops: Tensor | None = None
    #: what :meth:`adjacency` gives, where it was made before
    stored_adjacency: Adjacency | None = None

    def __post_init__(self) -> None:
        if not (self.heads.shape == self.rels.shape == self.tails.shape):
            raise DataError("heads, rels and tails must have equal length")
        if self.train_users.shape != self.train_items.shape:
            raise DataError("train_users and train_items must have equal length")
        for name, ids, bound in (
            ("heads", self.heads, self.n_nodes), ("tails", self.tails, self.n_nodes),
            ("rels", self.rels, len(self.relations)),
            ("train_users", self.train_users, self.n_users), ("train_items", self.train_items, self.n_items),
        ):  # fmt: skip
            if ids.numel():
                low, high = (int(end) for end in ids.aminmax())
                if low < 0 or high >= bound:
                    raise DataError(f"{name} holds {low}..{high}, outside 0..{bound - 1}")
        for name, modality in self.modalities.items():
            if len(modality.present) != self.n_items + self.n_entities:
                raise DataError(
                    f"modality {name!r} has {len(modality.present)} rows; the graph has {self.n_items} items and "
                    f"{self.n_entities} entities"
                )
        if self.stored_adjacency is not None and self.stored_adjacency.n_edges != len(self.heads):
            raise DataError(f"the adjacency has {self.stored_adjacency.n_edges} edges, the graph {len(self.heads)}")
        if (self.sequences is None) != (self.hops is None):
            raise DataError("sequences and hops come together")
        if self.sequences is None or self.hops is None:
            return
        if self.sequences.shape != self.hops.shape or len(self.sequences) != self.n_items:
            raise DataError(f"sequences have shape {tuple(self.sequences.shape)}; expected {self.n_items} rows")

    @property
    def n_nodes(self) -> int:
        """N: users, items and entities together."""
        return self.n_users + self.n_items + self.n_entities

    @property
    def n_relations(self) -> int:
        """Number of relation ids, inverses included."""
        return len(self.relations)

    def adjacency(self) -> Adjacency:
        """All edges in compressed rows, with the transpose."""
        if self.stored_adjacency is not None:
            return self.stored_adjacency
        from kgrec.graphs.ops.adjacency import Adjacency  # compiled kernels take a second to import

        return Adjacency.from_edges(self.heads, self.tails, (self.n_nodes, self.n_nodes))

    def to(self, device: torch.device | str) -> GraphData:
        """The same graph with every tensor on ``device``."""
        moved = {
            name: value.to(device)
            for name in (
                "heads",
                "rels",
                "tails",
                "train_users",
                "train_items",
                "sequences",
                "hops",
                "stored_adjacency",
            )
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved, modalities={name: m.to(device) for name, m in self.modalities.items()})


def load_graph(folder: Path, mapped: Path | None = None) -> GraphData:
    """Read what the graph stage wrote.

    :param folder: holds ``collaborative.dgl``, ``modalities/<modality>.dgl``, ``vocab.parquet`` and ``sequences.parquet``
    :param mapped: folder of a cache; the tensors are then views of files in it: see :mod:`kgrec.graphs.mapped`
    :raises DataError: if a file is missing, damaged, or disagrees with another
    """
    if mapped is not None:
        from kgrec.graphs.mapped import open_mapped

        return open_mapped(folder, mapped)
    features = {name: ModalityData(x.float(), present) for name, x, present in read_modalities(folder)}
    return replace(read_structure(folder), modalities=features)


def read_structure(folder: Path) -> GraphData:
    """Read the graph without features. :raises DataError: as :func:`load_graph`"""
    from kgrec.graphs.dgl_compat import load_graphs  # importing DGL takes seconds; whoever holds a GraphData need not
    from kgrec.graphs.heterograph import INTERACT, NODE_TYPES, read_edges
    from kgrec.graphs.sequences import read_sequences
    from kgrec.graphs.vocab import read_vocabulary

    folder = Path(folder)
    vocabulary = read_vocabulary(folder / "vocab.parquet")
    n_users, n_items, n_entities = vocabulary.sizes
    graph = load_graphs(folder / "collaborative.dgl")[0]
    found = tuple(graph.num_nodes(kind) for kind in NODE_TYPES if kind in graph.ntypes)
    if found != vocabulary.sizes:
        raise DataError(
            f"has {found} users, items and entities, the vocabulary {vocabulary.sizes}; rerun the graph stage",
            path=folder / "collaborative.dgl",
        )
    heads, rels, tails = read_edges(graph, vocabulary.relations)
    train = (rels == vocabulary.relations.index(INTERACT)) & (heads < n_users)
    sequences = read_sequences(folder / "sequences.parquet")
    return GraphData(
        n_users=n_users,
        n_items=n_items,
        n_entities=n_entities,
        relations=vocabulary.relations,
        heads=heads,
        rels=rels,
        tails=tails,
        train_users=heads[train],
        train_items=tails[train] - n_users,
        sequences=torch.from_numpy(sequences.nodes),
        hops=torch.from_numpy(sequences.hops).long(),
    )


def read_modalities(folder: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Read the features of one modality after the other.

    :return: name, features as they are stored, shape: (n_items + n_entities, d), float16, and presence, bool
    :raises DataError: if a file is damaged or has no features
    """
    from kgrec.graphs.dgl_compat import load_graphs

    for path in sorted((Path(folder) / "modalities").glob("*.dgl")):
        nodes = load_graphs(path)[0].nodes
        try:
            feature, present = (
                torch.cat([nodes[kind].data[name] for kind in ("item", "entity")]) for name in ("feature", "present")
            )
        except KeyError:
            raise DataError(
                "has no feature and present on items and entities; rerun the graph stage", path=path
            ) from None
        yield path.stem, feature, present.bool()
