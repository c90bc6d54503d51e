"""CLIP embeds pictures and texts in one space; open_clip holds many trainings of it, named ``<model>/<tag>``.

``open_clip:ViT-B-32/openai`` loads from the hub, ``open_clip:ViT-B-32/openai@<file>`` takes that training's settings
and the weights of a local file, ``open_clip:ViT-B-32@<file>`` the architecture's own settings. A tag matters beyond its
weights: OpenAI's were trained with another activation (quick GELU) than the architecture's default, which a file does
not say. Vectors are scaled to length 1, as CLIP compares them. Source: Radford et al., 2021;
https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kgrec.features.encoders.base import ImageEncoder, Precision, TextEncoder, hash_json, unavailable
from kgrec.features.encoders.hub import cached, from_hub
from kgrec.features.torchvision_compat import prepare_torchvision

PREFIX = "open_clip:"
_WEIGHTS = "open_clip_model.safetensors"


def missing_packages() -> str:
    """Why the family cannot be had here; empty if it can."""
    needed = {"open_clip": "open_clip_torch", "torchvision": "torchvision"}
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    return f"not installed; pip install {' '.join(missing)}" if missing else ""


def is_cached(model: str, tag: str) -> bool:
    """Whether the weights of ``<model>/<tag>`` are in the local hub cache."""
    prepare_torchvision()
    import open_clip

    tag_cfg = open_clip.get_pretrained_cfg(model, tag) or {}
    repository = str(tag_cfg.get("hf_hub", "")).rstrip("/")
    return bool(repository) and cached(repository, _WEIGHTS) is not None


class OpenClipImage(ImageEncoder):
    """Image tower. :raises EncoderUnavailable: if package, model, tag or weights cannot be had"""

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model, _, preprocess = _load(name)
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
        size = preprocess["size"]
        self._preprocess = preprocess
        self._width = int(open_clip.get_model_config(_parse(name)[0])["embed_dim"])
        side = max(size) if isinstance(size, (tuple, list)) else int(size)
        super().__init__(name, model.to(device), device, batch_size, precision, transform=transform, side=side)

    @property
    def width(self) -> int:
        return self._width

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        vectors: Tensor = self.model.encode_image(batch["pixels"], normalize=True)
        return vectors

    def preprocessing(self) -> dict[str, Any]:
        return {key: list(v) if isinstance(v, tuple) else v for key, v in self._preprocess.items()} | {"draft": 2}

    def libraries(self) -> dict[str, str]:
        return super().libraries() | _libraries()


class OpenClipText(TextEncoder):
    """Text tower. :raises EncoderUnavailable: if package, model, tag or weights cannot be had"""

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model, architecture, _ = _load(name)
        import open_clip

        config = open_clip.get_model_config(architecture)
        text_config = config["text_cfg"]
        if "hf_tokenizer_name" in text_config or "hf_model_name" in text_config:
            raise unavailable(name, "its text tower needs a tokeniser from the hub; use a CLIP with open_clip's own")
        tokenizer = open_clip.get_tokenizer(architecture)
        context = int(text_config.get("context_length", 77))
        self._width = int(config["embed_dim"])
        super().__init__(
            name, model.to(device), device, batch_size, precision,
            tokenise=lambda text: tokenizer(text)[0].tolist(), lengths=(context,), pad=0,
            tokeniser_hash=hash_json({"kind": type(tokenizer).__name__, "vocabulary": tokenizer.encoder}),
        )  # fmt: skip

    @property
    def width(self) -> int:
        return self._width

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        vectors: Tensor = self.model.encode_text(batch["tokens"], normalize=True)
        return vectors

    def libraries(self) -> dict[str, str]:
        return _libraries()


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("open_clip_torch", "torchvision")}


def _parse(name: str) -> tuple[str, str, str]:
    """``open_clip:<model>[/<tag>][@<file>]`` -> (model, tag, file), absent parts empty."""
    match = re.fullmatch(r"open_clip:(?P<model>[^/@]+)(?:/(?P<tag>[^/@]+))?(?:@(?P<file>.+))?", name)
    if match is None or not (match["tag"] or match["file"]):
        raise unavailable(name, "the name is not of the form open_clip:<model>/<tag> or open_clip:<model>@<file>")
    return match["model"], match["tag"] or "", match["file"] or ""


def _load(name: str) -> tuple[nn.Module, str, dict[str, Any]]:
    """The model, its architecture's name, and its image preprocessing."""
    architecture, tag, file = _parse(name)
    if reason := missing_packages():
        raise unavailable(name, reason)
    prepare_torchvision()
    import open_clip
    from open_clip.transform import PreprocessCfg

    if open_clip.get_model_config(architecture) is None:
        near = [m for m in open_clip.list_models() if m.lower().startswith(architecture.lower()[:5])][:5]
        raise unavailable(
            name, f"open_clip has no model {architecture!r}" + (f"; it has {', '.join(near)}" if near else "")
        )
    tag_cfg = dict(open_clip.get_pretrained_cfg(architecture, tag) or {}) if tag else {}
    if tag and not tag_cfg:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise unavailable(name, f"open_clip has no tag {tag!r} for {architecture}; tags: {tags}")
    if file:
        weights = Path(file).expanduser()
        if not weights.is_file():
            raise unavailable(name, f"there is no file {weights}")
    else:
        repository = str(tag_cfg.get("hf_hub", "")).rstrip("/")
        if not repository or repository.count("/") != 1:
            raise unavailable(name, "this tag is not on the hub as a single repository; name a local file with @<file>")
        weights = from_hub(name, repository, [_WEIGHTS]) / _WEIGHTS
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            model = open_clip.create_model(
                architecture, pretrained=str(weights), force_quick_gelu=bool(tag_cfg.get("quick_gelu")),
                weights_only=True, pretrained_text=False,
            )  # fmt: skip
    except Exception as error:  # torch, safetensors and open_clip raise many classes for a file that does not fit
        raise unavailable(
            name, f"{weights} does not load as {architecture} ({type(error).__name__}: {error})"
        ) from error
    preprocess = asdict(PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)))
    preprocess |= {key: tag_cfg[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag_cfg}
    return model, architecture, preprocess
