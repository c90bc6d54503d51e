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
    interactions = _encode_interactions(train, vocabulary, n_nodes)
    kept = _encode_triples(facts, vocabulary, n_relations)
    repeated = train.num_rows - len(interactions), facts.num_rows - len(kept)
    del train, known, facts  # the strings, before the arrays that are the peak
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
        "train_interactions_repeated": repeated[0],
        "triples": len(kept),
        "triples_repeated": repeated[1],
        "items_without_train_interaction": int((~in_train).sum()),
        "items_without_triple": int((~in_kg[n_users : n_users + n_items]).sum()),
        "modalities": {name: _coverage(modality, n_items) for name, modality in modalities.items()},
        "sequences": _lengths(sequences),
    }


class _Names:
    """What items and entities are called, and which entity an item is. Lookups are of whole columns."""

    def __init__(self, items: pa.Table, links: pa.Table, entities: pa.Table, path: Path) -> None:
        self._items, self._links, self._entities = items, links, entities
        if any(len(pc.unique(links[column])) != links.num_rows for column in ("item_id", "entity_id")):
            raise DataError("links an item or an entity twice; rerun the link stage", path=path)

    def entity_of(self, items: pa.Array) -> pa.Array:
        """Entity of each item, null where it has none."""
        return _look_up(items, self._links["item_id"], self._links["entity_id"])

    def item_of(self, entities: pa.Array) -> pa.Array:
        """Item of each entity, null where it is none."""
        return _look_up(entities, self._links["entity_id"], self._links["item_id"])

    def item_titles(self, items: pa.Array) -> pa.Array:
        """Title of each item, null where it has none."""
        return _look_up(items, self._items["item_id"], self._items["title"])

    def entity_titles(self, entities: pa.Array) -> pa.Array:
        """Each entity's name, or the title of the item it is."""
        names = _look_up(entities, self._entities["entity_id"], self._entities["name"])
        items = pc.coalesce(self.item_of(entities), pc.replace_substring_regex(entities, "^item:", ""))
        return pc.coalesce(pc.if_else(pc.equal(names, ""), None, names), self.item_titles(items))


def _look_up(keys: pa.Array, known: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.Array:
    """The value that stands where ``known`` has the key, null where it has not; nulls are found nowhere."""
    return _flat(values).take(pc.index_in(keys, value_set=_flat(known), skip_nulls=True))


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _vocabulary(splits: list[pa.Table], names: _Names, facts: pa.Table, inverse_edges: bool) -> Vocabulary:
    def distinct(*columns: pa.ChunkedArray) -> pa.Array:
        return pc.unique(pa.chunked_array([pc.unique(column) for column in columns], pa.string()))

    users = natural_sort(distinct(*(table["user_id"] for table in splits)))
    items = natural_sort(distinct(*(table["item_id"] for table in splits)))
    item_entities = names.entity_of(items)
    own = pa.concat_arrays([_item_keys(items), item_entities.drop_null()])
    nodes = distinct(facts["head"], facts["tail"])
    entities = natural_sort(nodes.filter(pc.invert(pc.is_in(nodes, value_set=own))))
    return Vocabulary(
        users=users.to_pylist(),
        items=items.to_pylist(),
        entities=entities,
        relations=relation_names(sorted(distinct(facts["relation"]).to_pylist()), inverse_edges),
        item_entities=item_entities.to_pylist(),
        item_titles=names.item_titles(items).to_pylist(),
        entity_titles=names.entity_titles(entities),
    )


def _item_keys(items: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise("item:", items, "")


def _encode_interactions(train: pa.Table, vocabulary: Vocabulary, n_nodes: int) -> np.ndarray:
    """Distinct interactions as nodes, shape (T, 2): user, item."""
    keys = vocabulary.encode_users(train["user_id"]) * n_nodes
    keys += len(vocabulary.users) + vocabulary.encode_items(train["item_id"])
    keys = _distinct(keys)
    return np.stack([keys // n_nodes, keys % n_nodes], axis=1)


def _encode_triples(facts: pa.Table, vocabulary: Vocabulary, n_relations: int) -> np.ndarray:
    """Distinct triples, shape (K, 3): head, relation, tail. An item's entity and ``item:<id>`` both are its node."""
    n_users, n_items, n_entities = vocabulary.sizes
    n_nodes = n_users + n_items + n_entities
    entities = pa.array(vocabulary.item_entities, pa.string())
    linked = np.flatnonzero(entities.is_valid().to_numpy(zero_copy_only=False))
    value_set = pa.concat_arrays(
        [_item_keys(pa.array(vocabulary.items, pa.string())), entities.drop_null(), vocabulary.entities]
    )
    nodes = n_users + np.concatenate([np.arange(n_items), linked, n_items + np.arange(n_entities)])

    def encode(column: str, values: pa.Array) -> np.ndarray:
        return pc.index_in(facts[column], value_set=values).to_numpy()

    # one integer per triple: sorted at once, and a third of the bytes
    keys = nodes[encode("head", value_set)] * n_relations
    keys += encode("relation", pa.array(vocabulary.relations[:n_relations], pa.string()))
    keys *= n_nodes
    keys += nodes[encode("tail", value_set)]
    keys = _distinct(keys)
    tails = keys % n_nodes
    keys //= n_nodes
    return np.stack([keys // n_relations, keys % n_relations, tails], axis=1)


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Sorted distinct values; sorts ``keys`` in place."""
    keys.sort()
    return keys[np.concatenate([np.ones(min(1, len(keys)), bool), keys[1:] != keys[:-1]])]


def _read_modalities(folder: Path, vocabulary: Vocabulary, names: _Names) -> dict[str, Features]:
    """Features of every ``<modality>.parquet``. Catalogue items are keyed ``item:<id>``, entities ``entity:<id>``; an
    entity that is an item outside the catalogue is found under that item's key too."""
    if not folder.is_dir():
        raise DataError("no such folder; run the features stage first", path=folder)
    entities = vocabulary.entities
    items = _item_keys(names.item_of(entities))
    entity_keys = pc.binary_join_element_wise("entity:", entities, "")
    own = pc.if_else(pc.starts_with(entities, "item:"), entities, pc.coalesce(items, entity_keys))
    keys = pa.concat_arrays([_item_keys(pa.array(vocabulary.items, pa.string())), own])
    linked = pc.binary_join_element_wise("entity:", pa.array(vocabulary.item_entities, pa.string()), "")
    others = pa.concat_arrays([linked, pc.if_else(pc.is_valid(items), entity_keys, None)])
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
