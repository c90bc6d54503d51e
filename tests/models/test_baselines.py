"""Closed-form and simple models against their formulas."""

from __future__ import annotations

import numpy as np
import torch

from kgrec.graphs.data import GraphData
from kgrec.models.registry import build_model


def matrix(world: GraphData) -> np.ndarray:
    x = np.zeros((world.n_users, world.n_items))
    x[world.train_users, world.train_items] = 1
    return x


def test_ease_solves_its_constrained_regression(world: GraphData) -> None:
    """Column by column: ridge regression of item j on all other items."""
    x, l2 = matrix(world), 3.0
    model = build_model("ease", world, {"l2": l2})
    model.fit(world)
    b = np.zeros((world.n_items, world.n_items))
    for j in range(world.n_items):
        rest = [i for i in range(world.n_items) if i != j]
        b[rest, j] = np.linalg.solve(x[:, rest].T @ x[:, rest] + l2 * np.eye(len(rest)), x[:, rest].T @ x[:, j])
    assert np.allclose(model.item_similarity.numpy(), b, atol=1e-6)
    assert np.allclose(model.full_scores(torch.arange(world.n_users)).numpy(), x @ b, atol=1e-5)


def test_item_knn_keeps_the_nearest(world: GraphData) -> None:
    x = matrix(world)
    model = build_model("item_knn", world, {"neighbors": 2, "shrink": 1.0})
    model.fit(world)
    norms = np.linalg.norm(x, axis=0)
    cosine = (x.T @ x) / (np.outer(norms, norms) + 1)
    np.fill_diagonal(cosine, 0)
    ours = model.item_similarity.numpy()
    for j in range(world.n_items):
        nearest = np.argsort(-cosine[:, j], kind="stable")[:2]
        expected = np.zeros(world.n_items)
        expected[nearest] = cosine[nearest, j]
        assert np.allclose(ours[:, j], expected)


def test_popularity_counts(world: GraphData) -> None:
    model = build_model("popularity", world)
    model.fit(world)
    assert np.array_equal(model.full_scores(torch.tensor([0, 3]))[1].numpy(), matrix(world).sum(0))


def test_lightgcn_equals_powers_of_the_normalised_adjacency(world: GraphData) -> None:
    model = build_model("lightgcn", world, {"embedding_size": 4, "layers": 2})
    x = matrix(world)
    rows = world.n_users + world.n_items
    a = np.zeros((rows, rows))
    a[: world.n_users, world.n_users :] = x
    a += a.T
    degree = np.maximum(a.sum(1), 1)
    a = a / np.sqrt(np.outer(degree, degree))
    e = model.node.detach().numpy()
    assert np.allclose(model.encode().detach().numpy(), (e + a @ e + a @ a @ e) / 3, atol=1e-6)
