"""Multi-KG4Rec: its degenerate forms equal simpler models, its fast mode equals the exact one, its parts do what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kgrec.errors import ConfigError
from kgrec.graphs.data import GraphData, ModalityData
from kgrec.models.base import CFBatch
from kgrec.models.kgat import KGAT, KGATSettings
from kgrec.models.multi_kg4rec import MultiKG4Rec, MultiKG4RecSettings

KG: dict[str, Any] = {"embedding_size": 16, "relation_size": 8, "layers": (16, 8), "message_dropout": 0.0}
FUSION: dict[str, Any] = {**KG, "fusion_heads": 4, "fusion_hidden": 32, "fusion_blocks": 2, "fusion_dropout": 0.0}


def model_of(world: GraphData, **settings: Any) -> MultiKG4Rec:
    torch.manual_seed(5)
    model = MultiKG4Rec(world, MultiKG4RecSettings(**{**FUSION, **settings}))
    model.refresh()
    return model.eval()


def batch(world: GraphData) -> CFBatch:
    return CFBatch(world.train_users, world.train_items, (world.train_items + 3) % world.n_items)


def test_without_modalities_it_is_kgat_weight_for_weight(world: GraphData) -> None:
    torch.manual_seed(5)
    kgat = KGAT(world, KGATSettings(**KG))
    kgat.refresh()
    ours = model_of(world, modalities=())
    theirs = kgat.eval()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    users = torch.arange(world.n_users)
    assert torch.equal(ours.full_scores(users), theirs.full_scores(users))
    assert float(ours.cf_loss(batch(world))["bpr"]) == float(theirs.cf_loss(batch(world))["bpr"])


def test_two_streams_with_tied_weights_and_no_features_double_kgats_scores(world: GraphData) -> None:
    from dataclasses import replace

    none = {
        m: ModalityData(torch.zeros_like(d.feature), torch.zeros_like(d.present)) for m, d in world.modalities.items()
    }
    model = model_of(replace(world, modalities=none), fusion=False)
    model.gnn["text"].load_state_dict(model.gnn["image"].state_dict())
    single = model_of(world, modalities=())
    single.load_state_dict(
        {
            "node": model.node, "transr.relation": model.transr.relation, "transr.matrix": model.transr.matrix,
            "attention_id": model.attention_image,
            **{f"gnn.id.{k}": v for k, v in model.gnn["image"].state_dict().items()},
        }
    )  # fmt: skip
    users = torch.arange(world.n_users)
    assert torch.allclose(model.full_scores(users), 2 * single.full_scores(users), atol=1e-5)


def gradients(model: MultiKG4Rec, world: GraphData, steps: int = 1) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    for step in range(steps):
        sum(model.cf_loss(batch(world)).values()).backward()
        model.before_step(last=step == steps - 1)
    return {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("node_input", ["add", "replace", "concat"])
def test_fast_mode_at_one_step_is_the_exact_mode(world: GraphData, node_input: str) -> None:
    exact = gradients(model_of(world, node_input=node_input, fusion_refresh=0), world)
    fast_model = model_of(world, node_input=node_input, fusion_refresh=1)
    fast = gradients(fast_model, world)
    assert exact.keys() == fast.keys()
    assert any(k.startswith("transformer") for k in exact)
    for name, value in exact.items():
        assert torch.allclose(fast[name], value, atol=1e-7, rtol=1e-4), name
    assert fast_model.at_boundary()


def test_fast_mode_sums_the_gradient_of_its_steps(world: GraphData) -> None:
    """Three steps on the same batch with nothing updated: three times the gradient of one, sent back at the end."""
    one = gradients(model_of(world, fusion_refresh=1), world)
    model = model_of(world, fusion_refresh=3)
    three = gradients(model, world, steps=3)
    assert model.at_boundary()
    for name, value in one.items():
        assert torch.allclose(three[name], 3 * value, atol=1e-6, rtol=1e-4), name
    model.train()
    sum(model.cf_loss(batch(world)).values()).backward()
    model.before_step(last=False)
    assert not model.at_boundary()
    model.before_step(last=True)
    assert model.at_boundary()


@pytest.mark.parametrize("node_input", ["add", "concat"])
def test_fast_mode_survives_optimizer_steps_in_between(world: GraphData, node_input: str) -> None:
    model = model_of(world, fusion_refresh=4, node_input=node_input).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    before = model.transformer.blocks[0]["text"].query.weight.clone()
    for step in range(4):
        optimizer.zero_grad(set_to_none=True)
        sum(model.cf_loss(batch(world)).values()).backward()
        model.before_step(last=False)
        if step < 3:
            assert model.transformer.blocks[0]["text"].query.weight.grad is None
        optimizer.step()
    assert not torch.equal(model.transformer.blocks[0]["text"].query.weight, before)


def test_only_position_zero_is_exact(world: GraphData) -> None:
    model = model_of(world)
    x = {m: torch.randn(world.n_items, model.sequence.shape[1], 16) for m in ("image", "text")}
    full = model.transformer(x, model.padding)
    first = model.transformer(x, model.padding, only_first=True)
    for m in x:
        assert torch.allclose(first[m][:, 0], full[m][:, 0], atol=1e-6)


def test_order_of_the_sequence_does_not_matter_without_hops(world: GraphData) -> None:
    from dataclasses import replace

    turned = torch.cat([world.sequences[:, :1], world.sequences[:, 1:].flip(1)], 1)
    kept = model_of(world, hop_embedding=False).encode()
    other = model_of(replace(world, sequences=turned), hop_embedding=False).encode()
    assert torch.allclose(kept, other, atol=1e-6)


def test_a_neighbours_poster_reaches_the_item_only_through_fusion(world: GraphData) -> None:
    from dataclasses import replace

    item = 1
    neighbour = int(world.sequences[item][1:][world.sequences[item][1:] >= world.n_users][0]) - world.n_users
    feature = world.modalities["image"].feature.clone()
    present = world.modalities["image"].present.clone()
    present[neighbour] = True
    feature[neighbour] = 5.0
    changed = replace(world, modalities={**world.modalities, "image": ModalityData(feature, present)})
    difference = model_of(world).inputs()["image"] - model_of(changed).inputs()["image"]
    assert difference[world.n_users + item].abs().max() > 1e-6
    if neighbour != item:
        alone = model_of(world, fusion=False).inputs()["image"] - model_of(changed, fusion=False).inputs()["image"]
        assert torch.equal(alone[world.n_users + item], torch.zeros(16))


def test_directions(world: GraphData) -> None:
    """t2v lets images into the text stream only; without directions the streams do not meet."""
    from dataclasses import replace

    feature = world.modalities["image"].feature + world.modalities["image"].present[:, None] * torch.randn(
        world.modalities["image"].feature.shape
    )
    changed = replace(
        world, modalities={**world.modalities, "image": ModalityData(feature, world.modalities["image"].present)}
    )
    for directions, text_moves in ((("t2v",), True), (("v2t",), False), ((), False), (("t2v", "v2t"), True)):
        a, b = (model_of(w, directions=directions).inputs()["text"] for w in (world, changed))
        assert (not torch.allclose(a, b)) == text_moves, directions


@pytest.mark.parametrize(
    ("modalities", "width"), [(("text",), 40), (("image",), 40), (("image", "text"), 80), ((), 40)]
)
def test_ablations_and_width(world: GraphData, modalities: tuple[str, ...], width: int) -> None:
    assert model_of(world, modalities=modalities).encode().shape == (27, width)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "pre"},
        {"readout": "mean"},
        {"transr": "per_modality"},
        {"layer_norm_l2": False},
        {"fusion_precision": "bfloat16"},
    ],
)
def test_switches_learn(world: GraphData, settings: dict[str, Any]) -> None:
    grads = gradients(model_of(world, **settings), world)
    assert all(torch.isfinite(g).all() for g in grads.values())
    assert grads["transformer.blocks.0.image.query.weight"].abs().max() > 0
    assert grads["projector.text.linear.weight"].abs().max() > 0


def test_half_precision_is_near(world: GraphData) -> None:
    full, half = (model_of(world, fusion_precision=p).inputs()["text"] for p in ("float32", "bfloat16"))
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.999


def test_parameter_count_of_the_paper() -> None:
    """5,059,520 at the paper's size and 512 with hop vectors (SPEC 3.5), by the same formula on a graph of few edges."""
    edges = torch.tensor([[0, 0, 6039], [6039, 50, 0]])
    rows = 66_444 - 6039
    present = torch.zeros(rows, dtype=torch.bool)
    present[0] = True
    modality = ModalityData(torch.zeros(rows, 512), present)
    sequences = 6039 + torch.arange(3588)[:, None]
    hops = torch.zeros_like(sequences)
    hops[0] = 3
    paper = GraphData(
        6039, 3588, rows - 3588, [str(r) for r in range(100)], edges[:, 0], edges[:, 1], edges[:, 2],
        torch.tensor([0]), torch.tensor([0]), {"image": modality, "text": modality}, sequences, hops,
    )  # fmt: skip
    for hop_embedding, expected in ((False, 5_059_520), (True, 5_060_032)):
        model = MultiKG4Rec(paper, MultiKG4RecSettings(hop_embedding=hop_embedding))
        assert sum(p.numel() for p in model.parameters()) == expected


def test_an_absent_modality_and_odd_heads_are_refused(world: GraphData) -> None:
    with pytest.raises(ConfigError, match=r"'audio'.*image, text"):
        model_of(world, modalities=("audio",))
    with pytest.raises(ValueError, match="must divide"):
        MultiKG4RecSettings(embedding_size=10, fusion_heads=4)


def test_gradients_are_equal_to_the_bit_with_two_threads(worlds: Callable[..., GraphData]) -> None:
    torch.manual_seed(3)
    data = worlds(n_users=300, n_items=500, per_user=8, n=16)
    model = MultiKG4Rec(data, MultiKG4RecSettings(embedding_size=32, layers=(32,), fusion_hidden=32))
    model.refresh()
    batch = CFBatch(data.train_users[:200], data.train_items[:200], torch.arange(200))
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for _ in range(4):
            model.zero_grad()
            torch.manual_seed(5)
            sum(model.cf_loss(batch).values()).backward()
            found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    finally:
        torch.set_num_threads(threads)
    for again in found[1:]:
        assert [name for name, g in again.items() if not torch.equal(g, found[0][name])] == []
