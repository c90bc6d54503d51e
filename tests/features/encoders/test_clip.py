"""The two CLIP families: each equals its library used by hand, and equal weights give equal vectors through both."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder

TEXTS = ["Toy Story. A cowboy doll is profoundly threatened.", "Tom Hanks", "x", "long words " * 200, "café — naïve"]


def vectors(name: str, modality: Any, contents: list[Any]) -> torch.Tensor:
    encoder = open_encoder(name, modality, "cpu", batch_size=4)
    rows = []
    for content in contents:
        rows.append(encoder.encode(encoder.collate([content], encoder.padded_length(content)))[0])
    return torch.stack(rows)


@pytest.fixture
def pictures() -> list[bytes]:
    out = []
    for seed, (mode, kind) in enumerate([("RGB", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("P", "GIF")]):
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((90, 130), Image.Resampling.BILINEAR).convert(mode).save(stream, kind)
        out.append(stream.getvalue())
    return out


def test_open_clip_image_tower_is_what_open_clip_computes(tiny: Any, pictures: list[bytes]) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained("kgrec-tiny", pretrained=str(tiny.weights))
    # RGB first: open_clip itself would scale a palette picture by nearest neighbour before it converts it
    batch = torch.stack([transform(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures])
    with torch.inference_mode():
        expected = model.eval().encode_image(batch, normalize=True)
    torch.testing.assert_close(vectors(tiny.open_clip, "image", pictures), expected, rtol=0, atol=1e-6)


def test_open_clip_text_tower_is_what_open_clip_computes(tiny: Any) -> None:
    import open_clip

    with torch.inference_mode():
        expected = tiny.open_clip_model.encode_text(open_clip.get_tokenizer("kgrec-tiny")(TEXTS), normalize=True)
    torch.testing.assert_close(vectors(tiny.open_clip, "text", TEXTS), expected, rtol=0, atol=1e-6)


def test_transformers_towers_are_what_transformers_computes(tiny: Any, pictures: list[bytes]) -> None:
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(tiny.folder).eval()
    tokens = AutoTokenizer.from_pretrained(tiny.folder)(
        TEXTS, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        pooled = model.text_model(**tokens).pooler_output
        expected = torch.nn.functional.normalize(model.text_projection(pooled), dim=-1)
    torch.testing.assert_close(vectors(tiny.transformers, "text", TEXTS), expected, rtol=0, atol=1e-6)


def test_equal_weights_give_equal_vectors_through_both_libraries(tiny: Any, pictures: list[bytes]) -> None:
    for modality, contents in (("image", pictures), ("text", TEXTS)):
        ours, theirs = (vectors(name, modality, contents) for name in (tiny.open_clip, tiny.transformers))
        assert ours.shape == (len(contents), 24)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (ours[0] - ours[1]).abs().max() > 1e-3  # not all the same vector
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(len(contents)))


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
        ("transformers:/nowhere/clip", "no folder /nowhere/clip"),
        ("transformers:./clip", "no folder clip"),
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
    folder = shutil.copytree(tiny.folder, tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderUnavailable, match="preprocessor_config"):
        open_encoder(f"transformers:{folder}", "image", "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match="does not load as a CLIP"):
        open_encoder(f"transformers:{folder}", "text", "cpu")
