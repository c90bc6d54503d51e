"""Media tables, and tiny CLIPs with random weights, built through open_clip's and transformers' own code."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.features.torchvision_compat import prepare_torchvision

WIDTH, LAYERS, PATCH, SIDE, CONTEXT, EMBED = 64, 2, 16, 32, 77, 24  # 64 wide: one head in either library


@pytest.fixture(autouse=True)
def threads_of_the_environment() -> None:
    """Equal bits want equal threads; numba's first parallel kernel gives torch as many as there are cores."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))


class Media:
    """A media folder; ``write`` makes its tables from bytes and texts by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, images: Mapping[str, bytes], texts: Mapping[str, str], shards: int = 2) -> None:
        keys = sorted(images)
        for old in self.folder.glob("images/*"):
            old.unlink()
        for shard, part in enumerate(np.array_split(np.arange(len(keys)), shards)):
            rows = []
            for key in (keys[i] for i in part):
                data = images[key]
                values = (key, sha256(data).hexdigest(), data, 90, 120, "jpeg", 0)
                rows.append(dict(zip(schemas.IMAGES.names, values, strict=True)))
            table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
            write_parquet(table, self.folder / "images" / f"images-{shard:05d}.parquet", row_group_size=4)
        rows = [{"key": key, "text": texts[key], "lang": "en"} for key in sorted(texts)]
        write_parquet(pa.Table.from_pylist(rows, schema=schemas.TEXTS), self.folder / "texts.parquet")


@pytest.fixture
def media(tmp_path: Path) -> Media:
    return Media(tmp_path / "media")


@dataclass(frozen=True)
class TinyClips:
    """Names of encoders that hold equal weights, and the models they were saved from."""

    open_clip: str
    transformers: str
    open_clip_model: torch.nn.Module
    weights: Path
    folder: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyClips:
    prepare_torchvision()
    import open_clip
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    root = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": EMBED, "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH, "head_width": WIDTH},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": WIDTH, "heads": 1, "layers": LAYERS},
    }  # fmt: skip
    (root / "kgrec-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(root / "kgrec-tiny.json")

    folder = root / "transformers"
    torch.manual_seed(7)
    tower = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 1,
        "hidden_act": "quick_gelu", "projection_dim": EMBED,
    }  # fmt: skip
    text = {"vocab_size": 49408, "max_position_embeddings": CONTEXT, "bos_token_id": 49406, "eos_token_id": 49407}
    vision = {"image_size": SIDE, "patch_size": PATCH}
    model = CLIPModel(CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=EMBED)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    _save_tokeniser(folder)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"} | size))

    weights = root / "tiny.safetensors"
    save_file(_as_open_clip(model.state_dict()), weights)
    built = open_clip.create_model("kgrec-tiny", pretrained=str(weights)).eval()
    return TinyClips(f"open_clip:kgrec-tiny@{weights}", f"transformers:{folder}", built, weights, folder)


def _save_tokeniser(folder: Path) -> None:
    """CLIP's byte-pair tables in the files transformers reads, from the copy open_clip carries."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    table = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.decompress(table.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    vocabulary = dict(SimpleTokenizer().encoder)
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in vocabulary.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "pad_token": "<|endoftext|>"})
    )


def _as_open_clip(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of open_clip for the weights of a transformers CLIP."""
    out = {
        "logit_scale": state["logit_scale"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "ln_final.weight": state["text_model.final_layer_norm.weight"],
        "ln_final.bias": state["text_model.final_layer_norm.bias"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
    }
    for end in ("weight", "bias"):
        out[f"visual.ln_pre.{end}"] = state[f"vision_model.pre_layrnorm.{end}"]
        out[f"visual.ln_post.{end}"] = state[f"vision_model.post_layernorm.{end}"]
        for source, target in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
            for layer in range(LAYERS):
                old, new = f"{source}.encoder.layers.{layer}", f"{target}.resblocks.{layer}"
                parts = [state[f"{old}.self_attn.{p}_proj.{end}"] for p in "qkv"]
                out[f"{new}.attn.in_proj_{end}"] = torch.cat(parts)
                out[f"{new}.attn.out_proj.{end}"] = state[f"{old}.self_attn.out_proj.{end}"]
                out[f"{new}.ln_1.{end}"] = state[f"{old}.layer_norm1.{end}"]
                out[f"{new}.ln_2.{end}"] = state[f"{old}.layer_norm2.{end}"]
                out[f"{new}.mlp.c_fc.{end}"] = state[f"{old}.mlp.fc1.{end}"]
                out[f"{new}.mlp.c_proj.{end}"] = state[f"{old}.mlp.fc2.{end}"]
    return {name: tensor.contiguous() for name, tensor in out.items()}
