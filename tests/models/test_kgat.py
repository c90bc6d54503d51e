"""KGAT against its definition on dense matrices, its learning, and its parameter count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from kgrec.errors import TrainingError
from kgrec.graphs.data import GraphData
from kgrec.models.base import CFBatch
from kgrec.models.kgat import KGAT, KGATSettings

SETTINGS = KGATSettings(embedding_size=8, relation_size=8, layers=(8, 4), message_dropout=0.0)


def model_of(world: GraphData, settings: KGATSettings = SETTINGS) -> KGAT:
    torch.manual_seed(3)
    model = KGAT(world, settings)
    model.refresh()
    return model.eval()


def test_encode_equals_dense_matrices(world: GraphData) -> None:
    model = model_of(world)
    dense = torch.zeros(world.n_nodes, world.n_nodes)
    dense.index_put_((world.heads, world.tails), model.attention_id, accumulate=True)
    assert torch.allclose(dense.sum(1), (dense.sum(1) > 0).float(), atol=1e-6)
    x, parts = model.node, [model.node]
    for layer in model.gnn["id"].layers:
        n = dense @ x
        x = F.leaky_relu(layer.sum(x + n), 0.01) + F.leaky_relu(layer.product(x * n), 0.01)
        parts.append(F.normalize(x))
    expected = torch.cat(parts, 1)[: world.n_users + world.n_items]
    assert torch.allclose(model.encode(), expected, atol=1e-6)
    assert torch.equal(model.encode()[:, :8], model.node[: world.n_users + world.n_items])


def test_the_first_epoch_may_weigh_the_edges_of_a_relation_alike(world: GraphData) -> None:
    torch.manual_seed(3)
    model = KGAT(world, SETTINGS.model_copy(update={"first_attention": "laplacian"}))
    model.refresh()
    runs = list(zip(world.heads.tolist(), world.rels.tolist(), strict=True))
    assert model.attention_id.tolist() == pytest.approx([1 / runs.count(run) for run in runs])
    model.refresh()
    assert torch.equal(model.attention_id, model_of(world).attention_id)


def test_separate_tables_start_wider_for_users(world: GraphData) -> None:
    users = world.n_users
    for xavier, sizes in (("joint", (world.n_nodes, world.n_nodes)), ("separate", (users, world.n_nodes - users))):
        torch.manual_seed(3)
        node = KGAT(world, SETTINGS.model_copy(update={"xavier": xavier})).node.detach().abs()
        for part, size in zip((node[:users], node[users:]), sizes, strict=True):
            bound = (6 / (size + 8)) ** 0.5
            assert 0.9 * bound < float(part.max()) <= bound


def test_loss_reads_the_same_representations(world: GraphData) -> None:
    model = model_of(world)
    batch = CFBatch(torch.tensor([0, 5]), torch.tensor([3, 1]), torch.tensor([2, 14]))
    terms = model.cf_loss(batch)
    z = model.encode()
    u, p, n = z[batch.users], z[world.n_users + batch.positives], z[world.n_users + batch.negatives]
    assert float(terms["bpr"]) == pytest.approx(float(F.softplus((u * n).sum(-1) - (u * p).sum(-1)).mean()), rel=1e-5)
    squares = sum(float(v.square().sum()) for v in (u, p, n))
    assert float(terms["l2"]) == pytest.approx(1e-5 * squares / 4, rel=1e-5)


def test_relabelling_nodes_permutes_the_vectors(world: GraphData) -> None:
    """Swap two entities everywhere: users and items do not notice."""
    from dataclasses import replace

    model = model_of(world)
    a, b = world.n_nodes - 1, world.n_nodes - 2
    swap = torch.arange(world.n_nodes)
    swap[a], swap[b] = b, a
    heads, rels, tails = swap[world.heads], world.rels, swap[world.tails]
    order = torch.argsort((heads * world.n_relations + rels) * world.n_nodes + tails)
    other = model_of(replace(world, heads=heads[order], rels=rels[order], tails=tails[order]))
    other.load_state_dict({**model.state_dict(), "attention_id": other.attention_id})
    with torch.no_grad():
        other.node.copy_(model.node[swap])
    other.refresh()
    assert torch.allclose(other.encode(), model.encode(), atol=1e-6)


def test_parameter_count(world: GraphData) -> None:
    """N d + R' (k + d k) + 2 sum (d_in d_out + d_out), SPEC 4.1."""
    model = model_of(world)
    n, r = world.n_nodes, world.n_relations
    expected = n * 8 + r * (8 + 64) + 2 * (8 * 8 + 8) + 2 * (8 * 4 + 4)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_overfits_a_small_world(world: GraphData) -> None:
    settings = SETTINGS.model_copy(update={"embedding_size": 32, "layers": (32, 16)})
    model = model_of(world, settings).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    positive = torch.zeros(world.n_users, world.n_items, dtype=torch.bool)
    positive[world.train_users, world.train_items] = True
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        negatives = torch.multinomial((~positive[world.train_users]).float(), 1, generator=generator)[:, 0]
        loss = sum(model.cf_loss(CFBatch(world.train_users, world.train_items, negatives)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = model.eval().full_scores(torch.arange(world.n_users - 1))
    top = scores.topk(4).indices
    recall = positive[: world.n_users - 1].gather(1, top).float().mean()
    assert recall == 1


def test_dropout_depends_on_the_step_seed_alone(world: GraphData) -> None:
    model = model_of(world, SETTINGS.model_copy(update={"message_dropout": 0.5})).train()
    model.step_seed = 1
    first = model.encode()
    torch.rand(7)
    assert torch.equal(model.encode(), first)
    model.step_seed = 2
    assert not torch.equal(model.encode(), first)


def test_a_graph_without_edges_is_refused(world: GraphData) -> None:
    from dataclasses import replace

    empty: Any = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(TrainingError, match="no edges"):
        KGAT(replace(world, heads=empty, rels=empty, tails=empty), SETTINGS)
