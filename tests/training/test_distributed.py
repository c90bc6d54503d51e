"""Several gloo processes train what one process trains: the same curve, the same weights, the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kgrec.errors import ConfigError, TrainingError
from kgrec.graphs.data import GraphData
from kgrec.models.base import CFBatch
from kgrec.training.distributed import Group
from kgrec.training.loop import Trainer, cut
from tests.training.workers import TINY, Job, Result, do, together

MULTI: dict[str, Any] = {
    "embedding_size": 8, "relation_size": 8, "layers": [8], "fusion_heads": 2, "fusion_hidden": 16, "fusion_blocks": 1,
    "fusion_refresh": 2,
}  # fmt: skip
#: each is done in two processes and in one
CURVES = {
    "dropout": {"metrics": (0.1, 0.3, 0.2, 0.25, 0.9), "loop": {"epochs": 50, "stopping_step": 2}},
    "sampled": {"fan_out": (2, 2)},
    "fewer triples than slices": {"loop": {"slices": 3, "kg_batch_size": 29}},
    "joint": {"loop": {"schedule": "joint", "epochs": 5}},
    "multi": {"model": "multi_kg4rec", "settings": MULTI},
    "lightgcn": {"model": "lightgcn", "settings": {"embedding_size": 8}, "loop": {"epochs": 5}},
}
#: stopped in the middle of the second epoch's second phase
STOPPED = 17


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[tuple[str, int], list[Result]]:
    """All jobs of several processes, in one start of them."""
    do(Job("stopped", 1, loop={"slices": 3}, kill_at=STOPPED), folder)
    return together(
        [
            *(Job(name, 2, **changes) for name, changes in CURVES.items()),
            Job("stopped", 2, loop={"slices": 3}, kill_at=STOPPED),
            Job("whole", 2, loop={"slices": 3}),
            Job("same", 2, loop={"slices": 3}, after="stopped-2", metrics=(0.3, 0.4, 0.5)),
            Job("more", 2, loop={"slices": 3}, after="stopped-1", metrics=(0.3, 0.4, 0.5)),
            Job("more", 3, loop={"slices": 3}, after="stopped-2", metrics=(0.3, 0.4, 0.5)),
        ],
        folder,
    )


def agree(results: list[Result], expected: Result, last: int | None = None) -> None:
    """Losses and weights are equal but for rounding, and all that was decided is the same."""
    wanted = expected.losses if last is None else expected.losses[-last:]
    for result in results:
        assert result.losses == pytest.approx(wanted, rel=1e-5)
        assert result.progress is not None
        assert expected.progress is not None
        assert result.progress.reason == expected.progress.reason
        assert result.progress.best_epoch == expected.progress.best_epoch
        drop = ("seconds", "train_seconds")
        for row, other in zip(result.progress.history, expected.progress.history, strict=True):
            assert {k: v for k, v in row.items() if k not in drop} == pytest.approx(
                {k: v for k, v in other.items() if k not in drop}, rel=1e-4
            )
        assert result.best.keys() == expected.best.keys()
        for key, value in expected.best.items():
            torch.testing.assert_close(result.best[key], value, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", list(CURVES))
def test_two_processes_train_as_one(results: Any, folder: Path, name: str) -> None:
    expected = do(Job(name, 1, **CURVES[name]), folder)
    assert len(expected.losses) >= 20
    agree(results[name, 2], expected)


def test_early_stop_is_decided_by_the_first_process(results: Any) -> None:
    for result in results["dropout", 2]:
        assert (result.progress.reason, result.progress.best_epoch) == ("early stop", 2)


def test_rows_are_shared_out(results: Any, world: GraphData) -> None:
    rows = [[result.rows for result in results[key]] for key in (("whole", 2), ("more", 3))]
    n = world.n_nodes
    assert rows == [[(n + 1) // 2, n // 2], [(n + 2) // 3, (n + 1) // 3, n // 3]]


def test_slices_change_a_full_graph_run_by_rounding_alone(folder: Path) -> None:
    runs = [do(Job(f"{slices} slices", 1, loop={"slices": slices}), folder) for slices in (1, 3)]
    assert runs[0].losses != runs[1].losses
    agree(runs[1:], runs[0])


def test_a_state_does_not_depend_on_the_number_of_processes(results: Any, folder: Path) -> None:
    """Two processes' state goes on in one, two and three processes, one process's state in two."""
    whole = do(Job("whole", 1, loop={"slices": 3}), folder)
    agree(results["whole", 2], whole)
    rest = len(whole.losses) - STOPPED + 1
    agree(results["more", 2], whole, rest)
    agree(results["more", 3], whole, rest)
    alone = do(Job("fewer", 1, loop={"slices": 3}, after="stopped-2", metrics=(0.3, 0.4, 0.5)), folder)
    agree([alone], whole, rest)


def test_two_processes_resume_to_the_bit(results: Any) -> None:
    for resumed, whole in zip(results["same", 2], results["whole", 2], strict=True):
        assert resumed.losses == whole.losses[STOPPED - 1 :]
        for key, value in whole.best.items():
            assert torch.equal(resumed.best[key], value), key


def test_files_have_the_same_tensors(results: Any, folder: Path) -> None:
    from safetensors.torch import load_file

    one, two = (load_file(folder / f"stopped-{world}" / "state.safetensors") for world in (1, 2))
    assert {k: (v.dtype, v.shape) for k, v in one.items()} == {k: (v.dtype, v.shape) for k, v in two.items()}


def test_more_processes_than_slices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.slices is 2, but 3 processes"):
        Group(rank=0, world=3).check_slices(2)
    Group(rank=0, world=3).check_slices(3)


def test_slices_are_the_batch() -> None:
    batch = CFBatch(*torch.arange(21).view(3, 7))
    parts = [cut(batch, n, 3) for n in range(3)]
    assert torch.equal(torch.cat([part.negatives for part, _ in parts]), batch.negatives)
    assert sum(weight for _, weight in parts) == pytest.approx(1)
    nothing, weight = cut(batch, 3, 3)
    assert (len(nothing.users), weight) == (1, 0.0)
    assert [cut(CFBatch(*torch.arange(6).view(3, 2)), n, 3)[1] for n in range(3)] == [0.0, 0.5, 0.5]


def test_an_unread_loss_never_reaches_a_state(trainer: Any) -> None:
    """As on CUDA, where losses are read every so many steps: the state on disk is from before the bad step."""
    trained: Trainer = trainer(checkpoint_every=3)
    trained.read_every = 100
    phase, saved = trained._phase, []

    def spoilt(*arguments: Any) -> Any:
        for number, (last, terms, values) in enumerate(phase(*arguments)):
            yield last, terms, values * torch.nan if number == 4 else values

    save = trained._save
    trained._phase = spoilt  # type: ignore[method-assign]
    trained._save = lambda progress: (saved.append(progress.step), save(progress))[1]  # type: ignore[method-assign, assignment]
    with pytest.raises(TrainingError, match=r"cf step 4 .* last checkpoint are kept"):
        trained.run()
    assert saved == [3]


def test_losses_read_late_are_those_read_at_once(trainer: Any) -> None:
    runs = []
    for name, every in (("at once", 1), ("late", 100)):
        trained = trainer(state=name, settings=TINY)
        trained.read_every = every
        runs.append([{k: v for k, v in row.items() if "seconds" not in k} for row in trained.run().history])
    assert runs[0] == runs[1]
