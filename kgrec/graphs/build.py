"""The graph stage joins what people did with what is known of the items: training interactions and the knowledge graph
become one typed graph, and each modality a copy of it with features.

Only training interactions become edges. The other splits are read for their user and item ids alone, so that validation
and test rows have an index; neither the graph nor the sequences see who met what in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import atomic_file, atomic_folder, read_parquet
from kgrec.data.schemas import ENTITIES, INTERACTIONS, ITEMS, LINKS, TRIPLES
from kgrec.errors import DataError
from kgrec.graphs.dgl_compat import save_graphs
from kgrec.graphs.heterograph import build_heterograph, join_edges, relation_names
from kgrec.graphs.modality import Features, read_features, split_by_modality
from kgrec.graphs.sequences import Order, Sequences, bfs_sequences, write_sequences
from kgrec.graphs.vocab import Vocabulary, natural_sort


class GraphSettings(Settings):
    """How the graph and the items' context sequences are built."""

    sequence_length: int = Field(16, ge=1)
    """Nodes in an item's context sequence, the item included."""
    sequence_order: Order = "bfs_balanced"
    """How a hop that overflows the sequence is drawn from: see ``bfs_sequences``."""
    max_hops: int = Field(3, ge=1, le=127)
    """No node further than this enters a sequence."""
    seed: int = 42
    """Seed of that draw."""
    inverse_edges: bool = True
    """True: every edge has its inverse, under a relation of its own. False, as in RecBole: triples one way,
    interactions both ways under one relation."""


def build_graph(
    split: Path,
    items: Path,
    links: Path,
    triples: Path,
    entities: Path,
    features: Path,
    out: Path,
    settings: GraphSettings,
) -> dict[str, Any]:
    """Build the collaborative graph, one graph per modality, the vocabulary and the sequences.

    :param split: folder with ``train.parquet``, ``valid.parquet`` and ``test.parquet``
    :param features: folder with one ``<modality>.parquet`` per modality; may be empty
    :param out: folder that gets ``collaborative.dgl``, ``modalities/<modality>.dgl``, ``vocab.parquet`` and
        ``sequences.parquet``
    :return: counts and coverage
    :raises DataError: if a table is missing or damaged, links are not one to one, or there is no training interaction
    """
    train = read_parquet(split / "train.parquet", INTERACTIONS)
    if train.num_rows == 0:
        raise DataError(
            "has no interactions, so the graph would have no edges; relax the interactions stage's thresholds or the "
            "split's ratios",
            path=split / "train.parquet",
        )
    known = [train, *(read_parquet(split / f"{part}.parquet", INTERACTIONS) for part in ("valid", "test"))]
    names = _Names(read_parquet(items, ITEMS), read_parquet(links, LINKS), read_parquet(entities, ENTITIES), links)
    facts = read_parquet(triples, TRIPLES)
    if any(facts[column].null_count for column in facts.column_names):
        raise DataError("has an empty head, relation or tail; rerun the kg stage", path=triples)

    vocabulary = _vocabulary(known, names, facts, settings.inverse_edges)
    n_users, n_items, n_entities = vocabulary.sizes
    n_nodes = n_users + n_items + n_entities
    n_relations = len(pc.unique(facts["relation"])) + 1
    interactions = np.unique(
        np.stack(
            [vocabulary.encode_users(train["user_id"]), n_users + vocabulary.encode_items(train["item_id"])], axis=1
        ),
        axis=0,
    )
    kept = _encode_triples(facts, vocabulary, n_relations)
    edges = join_edges(interactions, kept, n_relations, n_nodes, settings.inverse_edges)
    graph = build_heterograph(vocabulary.sizes, vocabulary.relations, edges)
    modalities = _read_modalities(features, vocabulary, names)
    sequences = bfs_sequences(
        edges.heads, edges.tails, n_users, n_items, n_nodes,
        length=settings.sequence_length, order=settings.sequence_order, max_hops=settings.max_hops, seed=settings.seed,
    )  # fmt: skip

    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / "collaborative.dgl") as temporary:
        save_graphs(temporary, [graph])
    with atomic_folder(out / "modalities") as folder:
        for name, one in split_by_modality(graph, modalities).items():
            save_graphs(folder / f"{name}.dgl", [one])
    vocabulary.write(out / "vocab.parquet")
    write_sequences(sequences, out / "sequences.parquet")

    in_train = np.zeros(n_items, bool)
    in_train[interactions[:, 1] - n_users] = True
    in_kg = np.zeros(n_nodes, bool)
    in_kg[kept[:, [0, 2]].ravel()] = True
    return {
        "users": n_users,
        "items": n_items,
        "entities": n_entities,
        "relations": len(vocabulary.relations),
        "edges": len(edges.heads),
        "edge_types": len(graph.canonical_etypes),
        "train_interactions": len(interactions),
        "train_interactions_repeated": train.num_rows - len(interactions),
        "triples": len(kept),
        "triples_repeated": facts.num_rows - len(kept),
        "items_without_train_interaction": int((~in_train).sum()),
        "items_without_triple": int((~in_kg[n_users : n_users + n_items]).sum()),
        "modalities": {name: _coverage(modality, n_items) for name, modality in modalities.items()},
        "sequences": _lengths(sequences),
    }


class _Names:
    """What items and entities are called, and which entity an item is."""

    def __init__(self, items: pa.Table, links: pa.Table, entities: pa.Table, path: Path) -> None:
        self.titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
        self.names = dict(zip(entities["entity_id"].to_pylist(), entities["name"].to_pylist(), strict=True))
        item_ids, entity_ids = links["item_id"].to_pylist(), links["entity_id"].to_pylist()
        self.entity_of = dict(zip(item_ids, entity_ids, strict=True))
        self.item_of = dict(zip(entity_ids, item_ids, strict=True))
        if not len(self.entity_of) == len(self.item_of) == links.num_rows:
            raise DataError("links an item or an entity twice; rerun the link stage", path=path)

    def entity_title(self, entity: str) -> str | None:
        """An entity's name, or the title of the item it is."""
        item = self.item_of.get(entity, entity.removeprefix("item:"))
        return self.names.get(entity) or self.titles.get(item)


def _vocabulary(splits: list[pa.Table], names: _Names, facts: pa.Table, inverse_edges: bool) -> Vocabulary:
    def distinct(*columns: pa.ChunkedArray) -> set[str]:
        return {value for column in columns for value in pc.unique(column).to_pylist()}

    users = natural_sort(distinct(*(table["user_id"] for table in splits)))
    items = natural_sort(distinct(*(table["item_id"] for table in splits)))
    own = {f"item:{item}" for item in items} | {names.entity_of[item] for item in items if item in names.entity_of}
    entities = natural_sort(distinct(facts["head"], facts["tail"]) - own)
    return Vocabulary(
        users=users,
        items=items,
        entities=entities,
        relations=relation_names(sorted(distinct(facts["relation"])), inverse_edges),
        item_entities=[names.entity_of.get(item) for item in items],
        item_titles=[names.titles.get(item) for item in items],
        entity_titles=[names.entity_title(entity) for entity in entities],
    )


def _encode_triples(facts: pa.Table, vocabulary: Vocabulary, n_relations: int) -> np.ndarray:
    """Distinct triples, shape (K, 3): head, relation, tail. An item's entity and ``item:<id>`` both are its node."""
    n_users, n_items, _ = vocabulary.sizes
    linked = [(entity, index) for index, entity in enumerate(vocabulary.item_entities) if entity is not None]
    ids = [f"item:{item}" for item in vocabulary.items] + [entity for entity, _ in linked] + vocabulary.entities
    nodes = np.concatenate(
        [
            np.arange(n_items),
            np.array([index for _, index in linked], np.int64),
            n_items + np.arange(len(vocabulary.entities)),
        ]
    )
    value_set = pa.array(ids, pa.string())

    def encode(column: str, values: pa.Array) -> np.ndarray:
        return pc.index_in(facts[column], value_set=values).to_numpy().astype(np.int64)

    relations = encode("relation", pa.array(vocabulary.relations[:n_relations], pa.string()))
    coded = np.stack(
        [n_users + nodes[encode("head", value_set)], relations, n_users + nodes[encode("tail", value_set)]], 1
    )
    return np.unique(coded, axis=0)


def _read_modalities(folder: Path, vocabulary: Vocabulary, names: _Names) -> dict[str, Features]:
    """Features of every ``<modality>.parquet``. Catalogue items are keyed ``item:<id>``, entities ``entity:<id>``; an
    entity that is an item outside the catalogue is found under that item's key too."""
    if not folder.is_dir():
        raise DataError("no such folder; run the features stage first", path=folder)
    keys = [f"item:{item}" for item in vocabulary.items]
    others = [None if entity is None else f"entity:{entity}" for entity in vocabulary.item_entities]
    for entity in vocabulary.entities:
        item = names.item_of.get(entity)
        keys.append(
            entity if entity.startswith("item:") else f"item:{item}" if item is not None else f"entity:{entity}"
        )
        others.append(f"entity:{entity}" if item is not None else None)
    return {path.stem: read_features(path, keys, others) for path in sorted(folder.glob("*.parquet"))}


def _coverage(modality: Features, n_items: int) -> dict[str, int]:
    items, entities = modality.present[:n_items], modality.present[n_items:]
    return {
        "width": modality.feature.shape[1],
        "items": int(items.sum()),
        "items_missing": int((~items).sum()),
        "entities": int(entities.sum()),
        "entities_missing": int((~entities).sum()),
        "keys_outside_graph": modality.unmatched,
    }


def _lengths(sequences: Sequences) -> dict[str, Any]:
    filled = (sequences.nodes >= 0).sum(axis=1)
    return {
        "length": sequences.nodes.shape[1],
        "mean_length": round(float(filled.mean()), 4),
        "shorter": int((filled < sequences.nodes.shape[1]).sum()),
        "alone": int((filled == 1).sum()),
        "by_hop": {str(hop): int((sequences.hops == hop).sum()) for hop in np.unique(sequences.hops) if hop >= 0},
    }
