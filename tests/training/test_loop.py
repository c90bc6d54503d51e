"""The loop: a killed run resumes to the bit, the best epoch is kept, a loss that is not finite stops before it does harm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kgrec.errors import CheckpointError, DataError, TrainingError
from kgrec.graphs.data import GraphData
from kgrec.training.loop import Trainer

Make = Callable[..., Trainer]


class Killed(Exception):
    pass


def kill_at(trainer: Trainer, calls: int) -> None:
    """Raise in the middle of the ``calls``-th optimizer step."""
    left = [calls]
    for optimizer in trainer.optimizers.values():
        step = optimizer.step

        def counted(step=step) -> None:  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            step()

        optimizer.step = counted  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("name", ["multi_kg4rec", "kgat", "lightgcn"])
@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_a_killed_run_resumes_to_the_bit(trainer: Make, name: str, schedule: str) -> None:
    whole = trainer(name, state="whole", schedule=schedule)
    expected = whole.run()
    for killed_at in (2, 6, 9, 13):
        state = f"killed{killed_at}"
        first = trainer(name, state=state, schedule=schedule)
        kill_at(first, killed_at)
        with pytest.raises(Killed):
            first.run()
        second = trainer(name, state=state, schedule=schedule)
        progress = second.run()
        for key, value in whole.model.state_dict().items():
            assert torch.equal(second.model.state_dict()[key], value), (killed_at, key)
        drop = ("seconds", "train_seconds")
        rows = [[{k: v for k, v in r.items() if k not in drop} for r in p.history] for p in (expected, progress)]
        assert rows[0] == rows[1]


def test_checkpoints_wait_for_a_boundary(trainer: Make) -> None:
    """With fused vectors kept for two steps, no checkpoint falls between them."""
    trained = trainer("multi_kg4rec", epochs=1)
    saved: list[int] = []
    save = trained._save
    trained._save = lambda progress: (saved.append(progress.step), save(progress))[1]  # type: ignore[method-assign, assignment]
    trained.run()
    cf_steps = [step for step in saved[: len(saved) // 2] if step]
    assert cf_steps
    assert all(step % 2 == 0 for step in cf_steps[:2])


def test_the_best_epoch_is_kept_and_training_stops_early(trainer: Make) -> None:
    trained = trainer(metrics=[0.1, 0.3, 0.2, 0.25, 0.9], epochs=50, stopping_step=2)
    progress = trained.run()
    assert (progress.best_epoch, progress.reason, len(progress.history)) == (2, "early stop", 4)
    two = trainer(state="two", metrics=[0.1, 0.3], epochs=2)
    two.run()
    for key, value in two.model.state_dict().items():
        assert torch.equal(trained.model.state_dict()[key], value), key


def test_a_finished_run_is_not_trained_again(trainer: Make) -> None:
    first = trainer().run()
    again = trainer()
    again._phase = None  # type: ignore[method-assign, assignment]
    assert again.run().history == first.history


def test_five_steps_have_these_losses(trainer: Make) -> None:
    """Golden numbers of one seed; a forgotten zero_grad, another negative or another order changes them."""
    trained = trainer(epochs=1, train_batch_size=9)
    trained.model.refresh()
    losses = [float(values[-1]) for _, _, values in trained._phase("cf", 1, 0, 5)]
    assert losses == pytest.approx([0.675868, 0.808273, 0.688989, 0.647685, 0.681471], abs=2e-5)


def test_seed_decides(trainer: Make) -> None:
    runs = [trainer(state=f"s{i}", seed=seed) for i, seed in enumerate((1, 1, 2))]
    for run in runs:
        run.run()
    a, b, c = (run.model.state_dict()["node"] for run in runs)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_loss_that_is_not_finite_stops_before_the_step(trainer: Make) -> None:
    trained = trainer()
    with torch.no_grad():
        trained.model.node[0, 0] = torch.inf
    before = {k: v.clone() for k, v in trained.model.state_dict().items() if k != "attention_id"}
    trained.model.refresh = lambda: None  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"not finite at epoch 1, cf step 0 .*learning_rate"):
        trained.run()
    for key, value in before.items():
        assert torch.equal(trained.model.state_dict()[key], value)


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_state_is_refused(trainer: Make, damage: bytes | None) -> None:
    first = trainer(epochs=1)
    first.run()
    path = first.state / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-64] if damage is None else damage)
    with pytest.raises(CheckpointError, match="delete it to start this model anew"):
        trainer(epochs=1).run()


def test_a_state_of_another_model_is_refused(trainer: Make) -> None:
    trainer(epochs=1).run()
    with pytest.raises(CheckpointError, match="another model"):
        trainer("lightgcn", epochs=1).run()


def test_unknown_metric_and_empty_training_set(trainer: Make, world: GraphData) -> None:
    with pytest.raises(DataError, match="'Recal@20' is not computed; known: NDCG@20"):
        trainer(valid_metric="Recal@20").run()
    from dataclasses import replace

    made = trainer(state="x")
    empty = world.train_users[:0]
    with pytest.raises(TrainingError, match="no training interactions"):
        Trainer(
            made.model, replace(world, train_users=empty, train_items=empty), made.settings, seed=0,
            validate=made.validate, state=made.state,
        )  # fmt: skip


def test_triples_without_interactions(trainer: Make, world: GraphData) -> None:
    settings = {"embedding_size": 8, "relation_size": 8, "layers": [8], "kg_includes_interactions": False}
    trained = trainer(settings=settings)
    users = world.n_users
    assert len(trained.triples) == int(((world.heads >= users) & (world.tails >= users)).sum())
    assert len(trainer(state="y").triples) == len(world.heads)
