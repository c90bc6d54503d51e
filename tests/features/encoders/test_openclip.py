from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder

Alone = Callable[[str, Any, list[Any]], torch.Tensor]


def test_open_clip_image_tower_is_what_open_clip_computes(tiny: Any, alone: Alone, pictures: list[bytes]) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained("kgrec-tiny", pretrained=str(tiny.weights))
    # RGB first: open_clip itself would scale a palette picture by nearest neighbour before it converts it
    batch = torch.stack([transform(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures])
    with torch.inference_mode():
        expected = model.eval().encode_image(batch, normalize=True)
    torch.testing.assert_close(alone(tiny.open_clip, "image", pictures), expected, rtol=0, atol=1e-6)


def test_open_clip_text_tower_is_what_open_clip_computes(tiny: Any, alone: Alone, sentences: list[str]) -> None:
    import open_clip

    with torch.inference_mode():
        expected = tiny.open_clip_model.encode_text(open_clip.get_tokenizer("kgrec-tiny")(sentences), normalize=True)
    torch.testing.assert_close(alone(tiny.open_clip, "text", sentences), expected, rtol=0, atol=1e-6)


def test_a_tag_with_a_local_file_takes_the_tags_activation(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip
    from open_clip.transformer import QuickGELU

    from kgrec.features.encoders.openclip import _load

    plain = dict(open_clip.get_model_config("kgrec-tiny")) | {"quick_gelu": False}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "kgrec-tiny", plain)
    tag = {"quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, name: tag if name == "special" else None)
    model, _, preprocess = _load(f"open_clip:kgrec-tiny/special@{tiny.weights}")
    assert any(isinstance(module, QuickGELU) for module in model.modules())
    assert preprocess["mean"] == (0.1, 0.2, 0.3)
    model, _, preprocess = _load(tiny.open_clip)
    assert not any(isinstance(module, QuickGELU) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("open_clip:ViT-B-32", "not of the form"),
        ("open_clip:ViT-B-33/openai", "no model 'ViT-B-33'; it has ViT-B-16"),
        ("open_clip:ViT-B-32/openia", "no tag 'openia' for ViT-B-32; tags: openai"),
        ("open_clip:ViT-B-32@/nowhere/clip.safetensors", "no file /nowhere/clip.safetensors"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_can(name: str, reason: str) -> None:
    with pytest.raises(EncoderUnavailable) as error:
        open_encoder(name, "image", "cpu")
    assert repr(name) in str(error.value)
    assert reason in str(error.value)
    assert "Choices: 'efficientnet-lite0'" in str(error.value)


def test_weights_that_do_not_fit(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="does not load as ViT-B-32"):
        open_encoder(f"open_clip:ViT-B-32@{tiny.weights}", "text", "cpu")
    (tmp_path / "half.safetensors").write_bytes(tiny.weights.read_bytes()[:1000])
    with pytest.raises(EncoderUnavailable, match="does not load as kgrec-tiny"):
        open_encoder(f"open_clip:kgrec-tiny@{tmp_path / 'half.safetensors'}", "text", "cpu")
