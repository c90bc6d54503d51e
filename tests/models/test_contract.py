"""What every model owes: it learns, reloads to the bit, scores users one by one as in a batch, and serves whoever is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kgrec.errors import CheckpointError, ConfigError, NotFittedError
from kgrec.graphs.data import GraphData, ModalityData
from kgrec.models.base import CFBatch, KGBatch, Recommender
from kgrec.models.checkpoint import load_model, save_model
from kgrec.models.registry import MODELS, build_model

SMALL = {"embedding_size": 16}
KG = {**SMALL, "relation_size": 8, "layers": [16, 8]}
FUSION = {**KG, "fusion_heads": 4, "fusion_hidden": 32, "fusion_blocks": 2}
CASES: dict[str, dict[str, Any]] = {
    "multi_kg4rec": FUSION, "kgat": KG, "lightgcn": SMALL, "bpr_mf": SMALL, "ease": {"l2": 5.0}, "item_knn": {}, "popularity": {},
}  # fmt: skip


def test_every_registered_model_is_here() -> None:
    assert set(CASES) == set(MODELS)


def trained(name: str, world: GraphData, steps: int = 25) -> tuple[Recommender, list[float]]:
    torch.manual_seed(0)
    model = build_model(name, world, CASES[name])
    if not model.phases:
        model.fit(world)
        return model.eval(), []
    model.refresh()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        model.step_seed = step
        negatives = torch.randint(0, world.n_items, world.train_items.shape, generator=generator)
        loss = sum(model.cf_loss(CFBatch(world.train_users, world.train_items, negatives)).values())
        if "kg" in model.phases:
            false = torch.randint(world.n_users, world.n_nodes, world.tails.shape, generator=generator)
            loss = loss + sum(model.kg_loss(KGBatch(world.heads, world.rels, world.tails, false)).values())
        optimizer.zero_grad()
        loss.backward()
        model.before_step(last=False)
        optimizer.step()
        losses.append(float(loss))
    model.refresh()
    return model.eval(), losses


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest, world: GraphData) -> tuple[str, Recommender, list[float]]:
    return (request.param, *trained(request.param, world))


def test_loss_falls(case: tuple[str, Recommender, list[float]]) -> None:
    _, model, losses = case
    if model.phases:
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_scores_have_the_shape_and_are_finite_for_all_users(
    case: tuple[str, Recommender, list[float]], world: GraphData
) -> None:
    users = torch.arange(world.n_users)  # the last user has no training interaction
    scores = case[1].full_scores(users)
    assert scores.shape == (world.n_users, world.n_items)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()


def test_batch_size_and_order_do_not_matter(case: tuple[str, Recommender, list[float]], world: GraphData) -> None:
    model, users = case[1], torch.arange(world.n_users)
    whole = model.full_scores(users)
    for batch in (users[3:4], users[[7, 0, 7]]):
        assert torch.allclose(model.full_scores(batch), whole[batch], atol=1e-6)
    items = torch.arange(world.n_users) % world.n_items
    assert torch.allclose(model.pair_scores(users, items), whole[users, items], atol=1e-6)


def test_vectors_give_the_scores(case: tuple[str, Recommender, list[float]], world: GraphData) -> None:
    model = case[1]
    vectors = model.vectors()
    assert (vectors is not None) == (model.kind == "vectors")
    if vectors:
        assert torch.equal(vectors[0] @ vectors[1].T, model.full_scores(torch.arange(world.n_users)))


def test_reload_is_equal_to_the_bit(
    case: tuple[str, Recommender, list[float]], world: GraphData, tmp_path: Path
) -> None:
    name, model, _ = case
    save_model(model, name, world, tmp_path)
    users = torch.arange(world.n_users)
    assert torch.equal(load_model(tmp_path, world).full_scores(users), model.full_scores(users))


def test_training_goes_on_after_scores_were_asked(world: GraphData) -> None:
    """Vectors kept for an evaluation must not outlive the next epoch."""
    model, _ = trained("bpr_mf", world, steps=1)
    before = model.full_scores(torch.arange(3)).clone()
    model.train()
    with torch.no_grad():
        model.node.mul_(2)
    model.eval()
    assert torch.allclose(model.full_scores(torch.arange(3)), 4 * before)


def test_no_node_has_a_modality(world: GraphData) -> None:
    none = {
        name: ModalityData(torch.zeros_like(m.feature), torch.zeros_like(m.present))
        for name, m in world.modalities.items()
    }
    model, _ = trained("multi_kg4rec", replace(world, modalities=none), steps=3)
    assert torch.isfinite(model.full_scores(torch.arange(world.n_users))).all()


@pytest.mark.parametrize("damage", ["truncated", "not safetensors", "missing", "other shape", "not finite"])
def test_damaged_weights(world: GraphData, tmp_path: Path, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    model, _ = trained("bpr_mf", world, steps=1)
    save_model(model, "bpr_mf", world, tmp_path)
    path = tmp_path / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "not safetensors":
        path.write_bytes(b"\x80\x02}q\x00.")
    elif damage == "missing":
        path.unlink()
    else:
        tensors = load_file(path)
        tensors["node"] = tensors["node"][1:].contiguous() if damage == "other shape" else tensors["node"] * torch.inf
        save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path, world)


def test_older_format_and_other_graph_are_refused(world: GraphData, worlds: Any, tmp_path: Path) -> None:
    import json

    model, _ = trained("bpr_mf", world, steps=1)
    save_model(model, "bpr_mf", world, tmp_path)
    with pytest.raises(CheckpointError, match="trained on another graph"):
        load_model(tmp_path, worlds(n_items=16))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format_version": 0}))
    with pytest.raises(CheckpointError, match="format version 0"):
        load_model(tmp_path, world)


def test_unfitted_and_unknown(world: GraphData) -> None:
    with pytest.raises(NotFittedError, match="EASE"):
        build_model("ease", world).full_scores(torch.arange(2))
    with pytest.raises(ConfigError, match=r"known: .*kgat"):
        build_model("kgta", world)
    with pytest.raises(ConfigError, match="did you mean 'embedding_size'"):
        build_model("kgat", world, {"embeding_size": 3})
