"""A device is what was asked for, or an error."""

from __future__ import annotations

import pytest

from kgrec.device import find_device
from kgrec.errors import ConfigError


def test_an_absent_gpu_is_an_error_and_never_a_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        find_device("cuda")
    assert find_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="not one torch knows"):
        find_device("quantum")
