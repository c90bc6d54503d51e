"""Models whose scores are written down, and their graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch


class Table(torch.nn.Module):
    """A model that looks its scores up."""

    def __init__(self, scores) -> None:
        super().__init__()
        self.scores = torch.as_tensor(np.asarray(scores), dtype=torch.float32)
        self.asked: list[int] = []

    def full_scores(self, users: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(users))
        return self.scores[users]


@pytest.fixture
def table() -> type[Table]:
    return Table
