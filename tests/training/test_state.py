"""Seeds and keys are functions of their parts alone."""

from __future__ import annotations

from kgrec.training.state import derive_seed, state_key


def test_seeds_are_stable_and_differ() -> None:
    assert derive_seed(42, 1, "cf", 0) == 2930952406148035650
    seeds = {derive_seed(42, epoch, phase, step) for epoch in range(5) for phase in ("cf", "kg") for step in range(50)}
    assert len(seeds) == 500
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_key_depends_on_every_part_and_not_on_order() -> None:
    key = state_key(model="kgat", settings={"a": 1, "b": 2}, seed=1)
    assert key == state_key(seed=1, settings={"b": 2, "a": 1}, model="kgat")
    assert key != state_key(model="kgat", settings={"a": 1, "b": 3}, seed=1)
