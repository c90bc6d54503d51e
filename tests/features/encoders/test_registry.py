from __future__ import annotations

import time

import pytest
import torch

from kgrec.errors import ConfigError, EncoderUnavailable
from kgrec.features.encoders import available_encoders, base, efficientnet, open_encoder


def test_a_wrong_modality_is_told_from_an_unknown_name() -> None:
    with pytest.raises(EncoderUnavailable, match="'all-MiniLM-L6-v2' cannot be had: it encodes texts, not images"):
        open_encoder("all-MiniLM-L6-v2", "image")
    with pytest.raises(EncoderUnavailable, match="'clip' cannot be had: no encoder has this name"):
        open_encoder("clip", "text")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        open_encoder("efficientnet-lite0", "image", "cuda")


def test_what_can_be_had_is_told_without_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.Encoder, "__init__", lambda *args, **kw: pytest.fail("loaded a model"))
    available_encoders()
    begin = time.perf_counter()
    choices = {choice.name: choice for choice in available_encoders()}
    assert time.perf_counter() - begin < 1
    assert set(choices) == {
        "efficientnet-lite0", "all-MiniLM-L6-v2",
        "open_clip:ViT-B-32/openai", "transformers:openai/clip-vit-base-patch32",
    }  # fmt: skip
    assert choices["efficientnet-lite0"].available
    monkeypatch.setattr(efficientnet, "_PACKAGES", {"no_such_module": "no-such-package"})
    choice = available_encoders()[0]
    assert not choice.available
    assert "pip install no-such-package" in choice.note
