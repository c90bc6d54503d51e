from __future__ import annotations

import torch

from kgrec.features.encoders.base import hash_weights


def test_the_hash_of_weights_sees_values_names_and_buffers() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    first = hash_weights(model)
    assert hash_weights(model) == first
    model[1].running_mean += 1
    second = hash_weights(model)
    with torch.no_grad():
        model[0].weight[0, 0] += 1e-7
    assert len({first, second, hash_weights(model)}) == 3
