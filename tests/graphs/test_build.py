from __future__ import annotations

import time
import zipfile

import numpy as np
import pytest
import torch

from kgrec.config import parse_settings
from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import ConfigError, DataError
from kgrec.graphs.build import GraphSettings, build_graph
from kgrec.graphs.data import load_graph
from kgrec.graphs.dgl_compat import load_graphs
from kgrec.graphs.vocab import read_vocabulary


def build(world, folder, **settings):
    return build_graph(**world.write(folder), out=folder / "out", settings=GraphSettings(**settings))


@pytest.fixture
def built(world, tmp_path):
    counts = build(world, tmp_path)
    return counts, tmp_path / "out"


def names(vocabulary):
    return [f"user {u}" for u in vocabulary.users] + vocabulary.items + vocabulary.entities.to_pylist()


def triples(data, vocabulary):
    label = names(vocabulary)
    columns = (data.heads.tolist(), data.rels.tolist(), data.tails.tolist())
    return [(label[h], data.relations[r], label[t]) for h, r, t in zip(*columns, strict=True)]


def test_vocabulary(built):
    vocabulary = read_vocabulary(built[1] / "vocab.parquet")
    assert vocabulary.users == ["1", "2", "10"]
    assert vocabulary.items == ["2", "9", "10", "11"]  # 11 occurs in the test part alone; 50 in none
    assert vocabulary.entities.to_pylist() == ["genre:Drama", "m.ann", "m.city", "m.fifty"]
    assert vocabulary.item_entities == ["m.two", "m.nine", "m.ten", None]
    assert vocabulary.item_titles == ["Two", "Nine", "Ten", "Eleven"]
    assert vocabulary.entity_titles.to_pylist() == [
        "Drama",
        "Ann",
        "City",
        "Fifty",
    ]  # 50's title, as m.fifty has no name
    assert vocabulary.relations[:6] == ["interact", "born_in", "directed_by", "genre", "sequel", "written_by"]
    assert vocabulary.relations[6:] == [name + "^-1" for name in vocabulary.relations[:6]]


def test_edges_are_train_interactions_and_triples_with_their_inverses(built, world):
    data, vocabulary = load_graph(built[1]), read_vocabulary(built[1] / "vocab.parquet")
    forward = {(f"user {u}", "interact", i) for u, i in world.train} | {
        ("2", "directed_by", "m.ann"),
        ("2", "written_by", "m.ann"),
        ("9", "directed_by", "m.ann"),
        ("m.ann", "born_in", "m.city"),
        ("10", "sequel", "m.fifty"),
        ("11", "genre", "genre:Drama"),
        ("9", "sequel", "2"),
    }
    found = triples(data, vocabulary)
    assert len(found) == len(set(found))
    assert set(found) == forward | {(t, f"{r}^-1", h) for h, r, t in forward}
    order = (data.heads * 12 + data.rels) * data.n_nodes + data.tails
    assert torch.equal(order, order.sort().values)


def test_counts(built):
    counts = built[0]
    wanted = {
        "users": 3, "items": 4, "entities": 4, "relations": 12, "edges": 24, "train_interactions": 5,
        "train_interactions_repeated": 0, "triples": 7, "triples_repeated": 1, "items_without_train_interaction": 1,
        "items_without_triple": 0,
    }  # fmt: skip
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["modalities"]["image"] == {
        "width": 2, "items": 1, "items_missing": 3, "entities": 1, "entities_missing": 3, "keys_outside_graph": 1,
    }  # fmt: skip
    assert counts["sequences"]["by_hop"]["0"] == 4


def test_no_validation_or_test_edge_in_graph_or_sequences(built, world):
    """Item 11 is known from a test row only: its sole neighbour is its genre."""
    data, vocabulary = load_graph(built[1]), read_vocabulary(built[1] / "vocab.parquet")
    pairs = zip(data.train_users.tolist(), data.train_items.tolist(), strict=True)
    assert {(vocabulary.users[user], vocabulary.items[item]) for user, item in pairs} == set(world.train)
    ends = {frozenset(edge[::2]) for edge in triples(data, vocabulary)}
    assert not ends & {frozenset((f"user {u}", i)) for u, i in world.valid + world.test}
    label = names(vocabulary)
    eleven = [label[node] for node in data.sequences[3].tolist() if node >= 0]
    assert eleven == ["11", "genre:Drama"]


def test_sequences_and_graph_ignore_who_met_what_in_valid_and_test(world, tmp_path):
    """Other pairs of the same users and items give the same bytes."""
    for name, changed in (("a", world), ("b", world.but(valid=[("1", "11")], test=[("2", "9"), ("10", "10")]))):
        build(changed, tmp_path / name)
    for file in (
        "collaborative.dgl",
        "modalities/image.dgl",
        "modalities/text.dgl",
        "sequences.parquet",
        "vocab.parquet",
    ):
        assert (tmp_path / "a/out" / file).read_bytes() == (tmp_path / "b/out" / file).read_bytes()


def test_same_input_in_other_order_gives_the_same_bytes(world, tmp_path):
    shuffled = world.but(
        train=world.train[::-1],
        triples=world.triples[::-1],
        entities=dict(reversed(world.entities.items())),
        links=dict(reversed(world.links.items())),
        features={name: dict(reversed(rows.items())) for name, rows in world.features.items()},
    )
    build(world, tmp_path / "a")
    build(shuffled, tmp_path / "b")
    for path in (path for path in (tmp_path / "a/out").rglob("*") if path.is_file()):
        name = path.relative_to(tmp_path / "a/out")
        assert path.read_bytes() == (tmp_path / "b/out" / name).read_bytes(), name


def test_modalities(built):
    data = load_graph(built[1])
    image, text = data.modalities["image"], data.modalities["text"]
    assert image.feature.dtype == torch.float32
    assert image.present.tolist() == [True, False, False, False, False, False, False, True]  # m.fifty by item:50
    assert image.feature[0].tolist() == [1, 2]
    assert image.feature[7].tolist() == [3, 4]
    assert text.present.tolist() == [True, True, False, True, False, True, False, False]
    assert not text.feature[~text.present].any()


def test_graphs_open_with_types_features_and_masks(built):
    collaborative, image = (load_graphs(built[1] / f"{name}.dgl")[0] for name in ("collaborative", "modalities/image"))
    assert sorted(collaborative.ntypes) == ["entity", "item", "user"]
    assert ("item", "sequel", "item") in collaborative.canonical_etypes
    assert ("entity", "sequel^-1", "item") in collaborative.canonical_etypes
    assert image.canonical_etypes == collaborative.canonical_etypes
    assert image.nodes["item"].data["feature"].dtype == torch.float16
    assert image.nodes["item"].data["present"].tolist() == [1, 0, 0, 0]


def test_parallel_edges_with_different_relations_stay(built):
    graph = load_graphs(built[1] / "collaborative.dgl")[0]
    assert graph.num_edges(("item", "directed_by", "entity")) == 2
    assert graph.num_edges(("item", "written_by", "entity")) == 1


def test_without_inverse_edges(world, tmp_path):
    build(world, tmp_path, inverse_edges=False)
    data = load_graph(tmp_path / "out")
    assert data.relations == ["interact", "born_in", "directed_by", "genre", "sequel", "written_by"]
    assert len(data.heads) == 2 * 5 + 7
    assert len(data.train_users) == 5


def test_without_triples_and_features(world, tmp_path):
    counts = build(world.but(triples=[], entities={}, features={}), tmp_path)
    data = load_graph(tmp_path / "out")
    assert (counts["entities"], data.relations) == (0, ["interact", "interact^-1"])
    assert data.modalities == {}
    assert len(data.heads) == 10


def test_graph_without_entities_keeps_item_features(world, tmp_path):
    build(world.but(triples=[("m.nine", "sequel", "m.two")], entities={}), tmp_path)
    data = load_graph(tmp_path / "out")
    assert data.n_entities == 0
    assert data.modalities["image"].feature.shape == (4, 2)


def test_modality_of_an_earlier_run_is_removed(world, tmp_path):
    build(world, tmp_path)
    (tmp_path / "features/image.parquet").unlink()
    build(world.but(features={"text": world.features["text"]}), tmp_path)
    assert list(load_graph(tmp_path / "out").modalities) == ["text"]


def test_no_training_interaction_is_an_error(world, tmp_path):
    with pytest.raises(DataError, match=r"train\.parquet: has no interactions, so the graph would have no edges"):
        build(world.but(train=[]), tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("links", [{"2": "m.x", "9": "m.x"}])
def test_entity_linked_twice_is_an_error(world, tmp_path, links):
    with pytest.raises(DataError, match=r"links\.parquet: links an item or an entity twice"):
        build(world.but(links=links), tmp_path)


def test_missing_table_is_an_error(world, tmp_path):
    paths = world.write(tmp_path)
    (tmp_path / "split/valid.parquet").unlink()
    with pytest.raises(DataError, match=r"valid\.parquet: no such file"):
        build_graph(**paths, out=tmp_path / "out", settings=GraphSettings())
    assert not (tmp_path / "out").exists()


def test_missing_features_folder_is_an_error(world, tmp_path):
    paths = world.write(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        build_graph(**{**paths, "features": tmp_path / "nowhere"}, out=tmp_path / "out", settings=GraphSettings())


def test_reserved_relation_is_an_error(world, tmp_path):
    with pytest.raises(DataError, match="reserved"):
        build(world.but(triples=[("m.two", "interact", "m.nine")]), tmp_path)


def test_misspelt_setting_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'sequence_length'"):
        parse_settings(GraphSettings, {"sequence_lenght": 8})


def test_vocabulary_of_another_graph_is_an_error(built):
    path = built[1] / "vocab.parquet"
    table = read_parquet(path)
    write_parquet(
        table.filter(np.array([row["id"] != "10" or row["type"] != "user" for row in table.to_pylist()])), path
    )
    with pytest.raises(DataError, match=r"collaborative\.dgl: has \(3, 4, 4\)"):
        load_graph(built[1])


def test_modality_file_without_features_is_an_error(built):
    (built[1] / "modalities" / "audio.dgl").write_bytes((built[1] / "collaborative.dgl").read_bytes())
    with pytest.raises(DataError, match=r"audio\.dgl: has no feature"):
        load_graph(built[1])


def test_size_of_movielens_1m_loads_in_seconds(world, tmp_path, real_data):
    """Users, items and interactions of the real files (a tenth left out as test), one genre per item."""
    archive = zipfile.ZipFile(real_data / "ml-1m" / "ml-1m.zip")
    name = next(name for name in archive.namelist() if name.endswith("ratings.dat"))
    rows = [line.split("::")[:2] for line in archive.read(name).decode().splitlines()]
    pairs = [(user, item) for user, item in rows]
    ids = {item for _, item in pairs}
    world = world.but(
        train=pairs[::2] + pairs[1::4], valid=[], test=pairs[3::4], items=dict.fromkeys(ids, ""), links={},
        triples=[(f"item:{item}", "genre", f"genre:{int(item) % 18}") for item in ids], entities={}, features={},
    )  # fmt: skip
    counts = build(world, tmp_path)
    assert (counts["users"], counts["items"]) == (6040, 3706)
    started = time.perf_counter()
    data = load_graph(tmp_path / "out")
    assert time.perf_counter() - started < 3
    test = {(user, item) for user, item in world.test}
    vocabulary = read_vocabulary(tmp_path / "out/vocab.parquet")
    found = zip(data.train_users.tolist(), data.train_items.tolist(), strict=True)
    assert not {(vocabulary.users[user], vocabulary.items[item]) for user, item in found} & test
