"""Training on sampled neighbourhoods: with every edge drawn it is training on the full graph; else it reads only what it drew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kgrec.errors import ConfigError
from kgrec.graphs.data import GraphData
from kgrec.graphs.sampling import FanOut, NeighbourhoodSampler
from kgrec.models.base import CFBatch
from kgrec.models.kgat import KGAT, KGATSettings
from kgrec.models.multi_kg4rec import MultiKG4Rec, MultiKG4RecSettings
from kgrec.models.registry import build_model
from kgrec.training.loop import LoopSettings, Trainer

BATCH = CFBatch(torch.tensor([0, 5, 5, 2]), torch.tensor([3, 1, 7, 3]), torch.tensor([2, 14, 0, 2]))


def test_settings_choose_the_neighbourhoods(world: GraphData) -> None:
    model = build_model("kgat", world, {"layers": [8, 4], "fan_out": [2, {"interact": 1, "*": -1}]})
    assert isinstance(model, KGAT)
    assert model.neighbourhood is not None
    assert model.neighbourhood.fan_out.tolist() == [[2] * 6, [1, -1, -1, -1, -1, -1]]
    assert model_of(world, None).neighbourhood is None
    with pytest.raises(ConfigError, match="fan_out has 1 entries for 2 layers"):
        build_model("kgat", world, {"layers": [8, 4], "fan_out": [2]})
    with pytest.raises(ConfigError, match=r"fan_out.*1 or more edges"):
        build_model("kgat", world, {"layers": [8], "fan_out": [0]})
    with pytest.raises(ConfigError, match="set one of them to 0 or null"):
        build_model("multi_kg4rec", world, {"layers": [8], "fan_out": [2], "fusion_refresh": 3})


def sample_from(model: KGAT, data: GraphData, fan_out: FanOut) -> KGAT:
    model.neighbourhood = NeighbourhoodSampler(model.adjacency, data.rels, data.relations, fan_out)
    return model


def model_of(data: GraphData, fan_out: FanOut | None, layers: tuple[int, ...] = (8, 4), dropout: float = 0.0) -> KGAT:
    torch.manual_seed(3)
    settings = KGATSettings(embedding_size=8, relation_size=8, layers=layers, message_dropout=dropout)
    model = KGAT(data, settings)
    model.refresh()
    return sample_from(model, data, fan_out) if fan_out else model


@pytest.mark.parametrize("layers", [(8,), (8, 4), (8, 6, 4)])
def test_all_edges_train_as_the_full_graph(world: GraphData, layers: tuple[int, ...]) -> None:
    """Dropout too: its mask belongs to the node, wherever the node stands in a block."""
    losses, gradients = [], []
    for fan_out in (None, (-1,) * len(layers)):
        model = model_of(world, fan_out, layers, dropout=0.3).double().train()
        terms = model.cf_loss(BATCH)
        torch.stack(list(terms.values())).sum().backward()
        losses.append({name: float(term.detach()) for name, term in terms.items()})
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0
        assert torch.allclose(gradients[1][name], gradient, rtol=1e-11, atol=1e-15), name


def test_only_drawn_nodes_are_looked_up(world: GraphData) -> None:
    model = model_of(world, (1, 1)).train()
    asked: list[Tensor] = []
    lookup = model.lookup
    model.lookup = lambda nodes: (asked.append(nodes), lookup(nodes))[1]  # type: ignore[method-assign]
    torch.stack(list(model.cf_loss(BATCH).values())).sum().backward()
    (nodes,) = asked
    assert len(torch.unique(nodes)) == len(nodes) < world.n_nodes
    assert model.node.grad is not None
    touched = model.node.grad.abs().sum(1).nonzero()[:, 0]
    assert torch.equal(touched, nodes.sort().values)


def representations(model: KGAT, nodes: Tensor) -> Tensor:
    return torch.cat([x for layers in model._streams(nodes) for x in layers], 1)


def test_evaluation_reads_the_full_graph(world: GraphData) -> None:
    model, full = model_of(world, (1, 1)).eval(), model_of(world, None).eval()
    nodes = torch.tensor([0, 4, 20])
    assert torch.equal(representations(model, nodes), representations(full, nodes))
    assert torch.equal(model.encode(), full.encode())


def test_draws_and_dropout_depend_on_the_step_seed_alone(world: GraphData) -> None:
    model = model_of(world, (2, 1), dropout=0.3).train()
    nodes = torch.arange(20)
    model.step_seed = 2**62
    first = representations(model, nodes)
    model.step_seed = 2
    assert not torch.equal(representations(model, nodes), first)
    model.step_seed = 2**62
    assert torch.equal(representations(model, nodes), first)


def test_overfits_a_small_world_from_two_edges_a_relation(world: GraphData) -> None:
    model = model_of(world, (2,), layers=(16,)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    positive = torch.zeros(world.n_users, world.n_items, dtype=torch.bool)
    positive[world.train_users, world.train_items] = True
    generator = torch.Generator().manual_seed(0)
    for step in range(60):
        model.step_seed = step
        negatives = torch.multinomial((~positive[world.train_users]).float(), 1, generator=generator)[:, 0]
        loss = sum(model.cf_loss(CFBatch(world.train_users, world.train_items, negatives)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = model.eval().full_scores(torch.arange(world.n_users - 1))
    recall = positive[: world.n_users - 1].gather(1, scores.topk(4).indices).float().mean()
    assert recall > 0.9


class Killed(Exception):
    pass


def test_a_killed_run_resumes_to_the_bit(world: GraphData, tmp_path: Path) -> None:
    def trainer(state: str) -> Trainer:
        loop = LoopSettings(epochs=2, train_batch_size=10, kg_batch_size=40, checkpoint_every=1)
        return Trainer(
            model_of(world, (2, 2), dropout=0.1), world, loop, seed=7, state=tmp_path / state,
            validate=lambda model: {"NDCG@20": 0.0},
        )  # fmt: skip

    def killed(inner: Callable[[CFBatch], dict[str, Tensor]], at: int) -> Callable[[CFBatch], dict[str, Tensor]]:
        left = [at]

        def loss(batch: CFBatch) -> dict[str, Tensor]:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return inner(batch)

        return loss

    whole = trainer("whole")
    whole.run()
    first = trainer("killed")
    first.model.cf_loss = killed(first.model.cf_loss, 8)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        first.run()
    second = trainer("killed")
    second.run()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value), key


@pytest.mark.parametrize(
    "choice",
    [
        {}, {"fusion": False}, {"node_input": "concat", "readout": "mean"}, {"node_input": "replace", "hop_embedding": False},
        {"modalities": ("text",)}, {"modalities": ()},
    ],
    ids=str,
)  # fmt: skip
def test_multi_kg4rec_fuses_the_items_among_the_drawn_nodes(world: GraphData, choice: dict[str, Any]) -> None:
    losses, gradients = [], []
    settings = MultiKG4RecSettings(
        embedding_size=8, relation_size=8, layers=(8, 4), fusion_heads=2, fusion_hidden=16, fusion_blocks=1,
        message_dropout=0, fusion_dropout=0, **choice,
    )  # fmt: skip
    for fan_out in (None, (-1, -1)):
        torch.manual_seed(3)
        model = MultiKG4Rec(world, settings)
        model.refresh()
        if fan_out:
            sample_from(model, world, fan_out)
        terms = model.train().cf_loss(BATCH)
        torch.stack(list(terms.values())).sum().backward()
        losses.append({name: float(term.detach()) for name, term in terms.items()})
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        scale = float(gradient.abs().max())
        assert (gradients[1][name] - gradient).abs().max() <= 1e-5 * scale + 1e-9, name
