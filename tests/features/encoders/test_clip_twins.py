"""ViT-B-32 as OpenAI trained it (quick GELU), with random weights: one export, read by both libraries."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.features.encoders import open_encoder
from kgrec.features.torchvision_compat import prepare_torchvision


def as_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of transformers for the weights of an open_clip ViT."""
    names = {
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "ln_final": "text_model.final_layer_norm",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm",
        "attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }  # fmt: skip
    out = {}
    for name, tensor in state.items():
        if name in ("text_projection", "visual.proj"):
            out[f"{'text' if name == 'text_projection' else 'visual'}_projection.weight"] = tensor.T.contiguous()
        elif ".resblocks." in name:
            tower = "vision_model" if name.startswith("visual.") else "text_model"
            layer, _, part = name.partition(".resblocks.")[2].partition(".")
            place = f"{tower}.encoder.layers.{layer}"
            if part.startswith("attn.in_proj_"):
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    out[f"{place}.self_attn.{letter}_proj.{part.removeprefix('attn.in_proj_')}"] = third.contiguous()
            else:
                stem, _, end = part.rpartition(".")
                out[f"{place}.{names[stem]}.{end}"] = tensor
        elif name in names:
            out[names[name]] = tensor
        elif name == "logit_scale":
            out[name] = tensor
        else:
            stem, _, end = name.rpartition(".")
            out[f"{names[stem]}.{end}"] = tensor
    return out


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, tiny: Any) -> Iterator[dict[str, str]]:
    prepare_torchvision()
    import open_clip
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig

    folder: Path = tmp_path_factory.mktemp("twins")
    config = open_clip.get_model_config("ViT-B-32-quickgelu")
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu")
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    del model

    twin = folder / "transformers"
    CLIPConfig(
        text_config={"hidden_act": "quick_gelu", "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config={"hidden_act": "quick_gelu", "patch_size": 32},
        architectures=["CLIPModel"],
    ).save_pretrained(twin)
    save_file(
        as_transformers(load_file(folder / "open_clip_model.safetensors")), twin / "model.safetensors", {"format": "pt"}
    )
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(tiny.folder / file, twin / file)
    (twin / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))
    yield {"open_clip": f"open_clip:{folder}", "transformers": f"transformers:{twin}"}
    shutil.rmtree(folder)  # 1.2 GB, which pytest would keep for three runs


def posters() -> list[bytes]:
    """Of 300 x 448 pixels: the libraries begin the crop at the same pixel where what is cut off is an even number."""
    out = []
    for seed in range(3):
        blocks = np.random.default_rng(seed).integers(0, 256, (9, 6, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((300, 448), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
        out.append(stream.getvalue())
    return out


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_vit_b_32_gives_the_same_vectors_through_both_libraries(
    modality: str, twins: dict[str, str], alone: Callable[[str, Any, list[Any]], torch.Tensor], sentences: list[str]
) -> None:
    contents: list[Any] = posters() if modality == "image" else sentences
    ours, theirs = (alone(name, modality, contents) for name in twins.values())
    assert ours.shape == (len(contents), 512)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    likeness = ours @ ours.T
    assert likeness[0, 1] < 1 - 1e-3  # the vectors do tell contents apart


@pytest.mark.slow
def test_a_vit_b_32_in_bfloat16(twins: dict[str, str]) -> None:
    """Where bfloat16 keeps every direction to a cosine of .9999, ``auto`` may choose it; each measured on the probe."""
    for modality in ("image", "text"):
        cosine = open_encoder(twins["open_clip"], modality, "cpu", batch_size=4).bfloat16_cosine()
        assert cosine is not None
        assert 0.9999 <= cosine < 1
