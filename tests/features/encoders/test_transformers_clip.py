from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder

Alone = Callable[[str, Any, list[Any]], torch.Tensor]


def test_transformers_towers_are_what_transformers_computes(tiny: Any, alone: Alone, sentences: list[str]) -> None:
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(tiny.folder).eval()
    tokens = AutoTokenizer.from_pretrained(tiny.folder)(
        sentences, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        pooled = model.text_model(**tokens).pooler_output
        expected = torch.nn.functional.normalize(model.text_projection(pooled), dim=-1)
    torch.testing.assert_close(alone(tiny.transformers, "text", sentences), expected, rtol=0, atol=1e-6)


def test_equal_weights_give_equal_vectors_through_both_libraries(
    tiny: Any, alone: Alone, pictures: list[bytes], sentences: list[str]
) -> None:
    for modality, contents in (("image", pictures), ("text", sentences)):
        ours, theirs = (alone(name, modality, contents) for name in (tiny.open_clip, tiny.transformers))
        assert ours.shape == (len(contents), 24)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (ours[0] - ours[1]).abs().max() > 1e-3  # not all the same vector
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(len(contents)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
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


def test_a_folder_that_lacks_files(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.folder, tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderUnavailable, match="preprocessor_config"):
        open_encoder(f"transformers:{folder}", "image", "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match="does not load as a CLIP"):
        open_encoder(f"transformers:{folder}", "text", "cpu")
