from __future__ import annotations

import time
from importlib import import_module

import pytest
import torch

from kgrec.errors import ConfigError, EncoderUnavailable
from kgrec.features.encoders import Encoder, available_encoders, base, efficientnet, open_encoder, registry


def test_a_wrong_modality_is_told_from_an_unknown_name() -> None:
    with pytest.raises(EncoderUnavailable, match="'all-MiniLM-L6-v2' cannot be had: it encodes texts, not images"):
        open_encoder("all-MiniLM-L6-v2", "image")
    with pytest.raises(EncoderUnavailable, match=r"'mel-cnn@a/b\.safetensors' cannot be had: it encodes audios, not"):
        open_encoder("mel-cnn@a/b.safetensors", "video")
    with pytest.raises(EncoderUnavailable, match="'clip' cannot be had: no encoder has this name"):
        open_encoder("clip", "text")


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_each_family_is_an_encoder_of_its_modality(family: tuple[str, str]) -> None:
    module, name = registry.FAMILIES[family]
    cls = getattr(import_module(f"kgrec.features.encoders.{module}"), name)
    assert issubclass(cls, Encoder)
    assert cls.modality == family[1]


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
    assert {name.split(":")[0].split("/")[0] for name in choices} == {
        "efficientnet-lite0", "all-MiniLM-L6-v2", "open_clip", "transformers", "timm", "mel-cnn", "video-cnn",
    }  # fmt: skip
    assert choices["efficientnet-lite0"].available
    assert choices["open_clip:ViT-B-32/openai"].modalities == ("image", "text")
    monkeypatch.setattr(efficientnet, "_PACKAGES", {"no_such_module": "no-such-package"})
    choice = available_encoders()[0]
    assert not choice.available
    assert "pip install no-such-package" in choice.note
