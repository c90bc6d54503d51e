"""The torch form of block top-k against the CPU's, which is held to sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec.graphs.ops.block_topk import BlockTopK
from kgrec.graphs.ops.block_topk_torch import DeviceTopK

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def worlds() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((6, 19)), rng.standard_normal((500, 19))
    return {
        "normal": (users, items),
        "ties": (users.round(), items.round()),
        "equal": (users, np.repeat(items[:1], 500, 0)),
        "negative": (np.abs(users), -np.abs(items)),
        "zeros": (users * (np.arange(6)[:, None] % 2), items * (rng.random((500, 1)) < 0.5)),
        "range": (
            users * 10.0 ** rng.integers(-12, 12, users.shape),
            items * 10.0 ** rng.integers(-12, 12, items.shape),
        ),
        "denormals": (users, items * 1e-42),
        "few items": (users, items[:7]),
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", worlds())
def test_equals_the_cpu_to_the_bit(name: str, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    users, items = (torch.from_numpy(part.astype(np.float32)) for part in worlds()[name])
    seen = [np.arange(at * len(items) // 5) for at in range(6)]  # none .. all
    start, flat = np.cumsum([0] + [len(part) for part in seen]), np.concatenate(seen)
    for k in (1, 20):
        expected = BlockTopK(items)(users, np.arange(6), start, flat, k)
        for tile, pool in ((64, 24), (1024, 1024)):
            find = DeviceTopK(items.to(device), tile, pool)
            found = find(users.to(device), np.arange(6), start, flat, k)
            assert np.array_equal(found[0], expected[0])
            assert np.array_equal(found[1], expected[1])
