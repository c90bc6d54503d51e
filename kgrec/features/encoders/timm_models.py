"""Image models as timm publishes them, without their classifier: what it would read, pooled and not normalised.

``timm:<model>`` or ``timm:<model>.<tag>`` loads from the hub, ``timm:<model>@<file>`` from safetensors or a checkpoint
that torch reads without running code. Size, crop, filter and normalisation are those of the training that the tag
names; a config.json beside a file, as timm saves one, goes before them. Source: Wightman, PyTorch Image Models, 2019;
https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from kgrec.features.encoders.base import ImageEncoder, Measured, Precision, unavailable
from kgrec.features.encoders.hub import cached, from_hub
from kgrec.features.encoders.pixels import Middle
from kgrec.features.torchvision_compat import prepare_torchvision

PREFIX = "timm:"
_WEIGHTS = "model.safetensors"
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def missing_packages() -> str:
    """Why the family cannot be had here; empty if it can."""
    return "" if importlib.util.find_spec("timm") else "not installed; pip install timm"


def is_cached(model: str) -> bool:
    """Whether the weights of ``<model>[.<tag>]`` are in the local hub cache."""
    prepare_torchvision()
    import timm

    published = timm.get_pretrained_cfg(model)
    repository = published.hf_hub_id if published is not None else None
    return bool(repository) and cached(str(repository), _WEIGHTS) is not None


class TimmImage(Measured, ImageEncoder):
    """The pooled features of a timm model. Its tokens are the patches of a sequence, class and register tokens left out,
    or the places of a feature map, row by row.

    :raises EncoderUnavailable: if package, model, tag or file cannot be had, or a weight is missing or left over
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model = _load(name)
        from timm.data import resolve_model_data_config

        self._data = {
            key: list(v) if isinstance(v, tuple) else v for key, v in resolve_model_data_config(model).items()
        }
        transform, side = _transform(self._data)
        self._once = isinstance(transform, Middle)
        super().__init__(
            name, model.to(device), device, batch_size, precision, transform=transform, side=side,
            normalise=transform.normalise if isinstance(transform, Middle) else None,
        )  # fmt: skip
        with torch.inference_mode():
            picture = Image.new("RGB", (self.side, self.side))
            ready = self.prepare({"pixels": self.transform(picture)[None]})
            vector, tokens, _ = self.forward_tokens(ready)
        self._width, self._token_width = vector.shape[-1], tokens.shape[-1]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        vectors: Tensor = self.model(batch["pixels"])
        return vectors

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        states = self.model.forward_features(batch["pixels"])
        tokens = places(states, self.model)
        whole = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return self.model.forward_head(states), tokens, whole

    def preprocessing(self) -> dict[str, Any]:
        return self._data | {"draft": 2} | ({"resampled": "once"} if self._once else {})

    def libraries(self) -> dict[str, str]:
        used = ["timm"] if self._once else ["timm", "torchvision"]
        return super().libraries() | {library: version(library) for library in used}


def places(states: Tensor, model: Any) -> Tensor:
    """What ``model.forward_features`` gives, as tokens. shape: (B, T, model.num_features)"""
    if states.ndim == 3:
        return states[:, getattr(model, "num_prefix_tokens", 0) :]
    if states.shape[1] == model.num_features:  # (B, width, rows, columns)
        return states.flatten(2).transpose(1, 2)
    return states.flatten(1, 2)


def _transform(data: dict[str, Any]) -> tuple[Callable[[Image.Image], Tensor], int]:
    """The picture's way into the model, and the side it is scaled to: in one resize, or where the training wants
    something else (a border, say), timm's own way."""
    _, height, width = data["input_size"]
    side = math.floor(height / data["crop_pct"])
    squeezed = data["crop_mode"] == "squash" and data["crop_pct"] == 1
    if data["interpolation"] in _FILTERS and (squeezed or (data["crop_mode"] == "center" and height == width)):
        middle = Middle(
            None if squeezed else side, (height, width), tuple(data["mean"]), tuple(data["std"]),
            _FILTERS[data["interpolation"]],
        )  # fmt: skip
        return middle, middle.shorter
    from timm.data import create_transform

    transform: Callable[[Image.Image], Tensor] = create_transform(**data, is_training=False)
    return transform, max(height, width)


def _parse(name: str) -> tuple[str, str, str]:
    """``timm:<model>[.<tag>][@<file>]`` -> (model, tag, file), absent parts empty."""
    match = re.fullmatch(rf"{PREFIX}(?P<model>[^./@:]+)(?:\.(?P<tag>[^/@]+))?(?:@(?P<file>.+))?", name)
    if match is None:
        raise unavailable(name, "the name is not of the form timm:<model>, timm:<model>.<tag> or timm:<model>@<file>")
    return match["model"], match["tag"] or "", match["file"] or ""


def _load(name: str) -> Any:
    """The model with all its weights and without its classifier."""
    architecture, tag, file = _parse(name)
    if reason := missing_packages():
        raise unavailable(name, reason)
    prepare_torchvision()
    import timm
    from timm.models import load_state_dict

    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), 5)
        raise unavailable(name, f"timm has no model {architecture!r}" + (f"; it has {', '.join(near)}" if near else ""))
    known = {one.rpartition(".")[2]: one for one in timm.list_models(f"{architecture}.*", pretrained=True)}
    if tag and tag not in known:
        raise unavailable(name, f"timm has no tag {tag!r} for {architecture}; tags: {', '.join(known) or 'none'}")
    published = timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    said: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    if file:
        weights = Path(file).expanduser()
        if not weights.is_file():
            raise unavailable(name, f"there is no file {weights}")
        said, arguments = _saved(name, weights.parent / "config.json", architecture)
    elif published is None or not published.hf_hub_id:
        tags = f"; name one of its tags {', '.join(known)}" if known and not tag else ""
        raise unavailable(name, f"timm has no weights of it on the hub{tags}, or a local file with @<file>")
    else:
        weights = from_hub(name, published.hf_hub_id, [_WEIGHTS]) / _WEIGHTS
    try:
        state = load_state_dict(str(weights), weights_only=True)
        classifier = said.get("classifier") or getattr(published, "classifier", None) or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        head = next((state[f"{one}.weight"] for one in heads if f"{one}.weight" in state), None)
        classes = 0 if head is None else len(head)  # then timm's loading is strict
        model = timm.create_model(
            architecture, pretrained=True, pretrained_cfg=tag or None, num_classes=classes, **arguments,
            pretrained_cfg_overlay=said | {"state_dict": state, "num_classes": classes, "label_offset": 0, "source": ""},
        )  # fmt: skip
        if classes:
            model.reset_classifier(0)
    except Exception as error:  # torch, safetensors and timm raise many classes for a file that does not fit
        raise unavailable(
            name, f"{weights} does not load as {architecture} ({type(error).__name__}: {error})"
        ) from error
    model.pretrained_cfg.pop("state_dict")
    return model


def _saved(name: str, path: Path, architecture: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a config.json beside the weights says of their training and of the model's form; nothing without one."""
    if not path.is_file():
        return {}, {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config.get("architecture", architecture)
        training = config.get("pretrained_cfg", config)
        said = {key: training[key] for key in _TRAINING if training.get(key) is not None}
    except (ValueError, AttributeError) as error:
        raise unavailable(name, f"{path} is not a timm configuration ({error})") from error
    if found != architecture:
        raise unavailable(name, f"{path} describes a {found}, not a {architecture}")
    arguments = {key: v for key, v in (config.get("model_args") or {}).items() if key != "num_classes"}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}, arguments


#: what of a config.json decides how pictures and weights are read
_TRAINING = ("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "classifier")
