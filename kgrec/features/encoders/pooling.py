"""Pooling makes one vector of a text's token states; a sentence encoder's folder says how in ``modules.json``.

That file, of the sentence-transformers layout, lists what follows the transformer: a pooling, maybe dense layers, maybe
a scaling to length 1. A folder without it is a plain language model, whose token states are averaged and scaled to
length 1. Source: Reimers and Gurevych, Sentence-BERT, EMNLP 2019. Shapes: B texts, T tokens, D width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: what `1_Pooling/config.json` may name, in the order in which several are joined
_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_FLAGS = {
    "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens", "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens", "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}  # fmt: skip
_ACTIVATIONS = {kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid, nn.SiLU)}


class Pooling(nn.Module):
    """Token states -> vectors.

    :param modes: of ``_MODES``; several are joined end to end
    :param layers: what follows, in order
    """

    def __init__(self, modes: tuple[str, ...] = ("mean",), layers: list[nn.Module] | None = None) -> None:
        super().__init__()
        self.modes, self.layers = modes, nn.Sequential(*([Scale()] if layers is None else layers))

    def forward(self, states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """:param mask_BT: 1 where a token is the text's; every row has one. Returns shape (B, width)"""
        states_BTD = states_BTD.float()
        pooled = torch.cat([_pool(mode, states_BTD, mask_BT) for mode in self.modes], dim=-1)
        for layer in self.layers:
            pooled = layer(pooled.to(layer.linear.weight.dtype) if isinstance(layer, Dense) else pooled).float()
        return pooled

    def describe(self) -> dict[str, Any]:
        """As JSON values."""
        return {"pooling": list(self.modes), "then": [str(layer) for layer in self.layers]}


class Scale(nn.Module):
    """To length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1)


class Dense(nn.Module):
    """A linear layer and what bends it."""

    def __init__(self, width: int, out: int, bias: bool, activation: str) -> None:
        super().__init__()
        self.linear, self.activation = nn.Linear(width, out, bias=bias), _ACTIVATIONS[activation]()

    def forward(self, vectors: Tensor) -> Tensor:
        bent: Tensor = self.activation(self.linear(vectors))
        return bent


def _pool(mode: str, states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    weight_BT1 = mask_BT.unsqueeze(-1).to(states_BTD.dtype)
    if mode == "weightedmean":  # later tokens of a causal model have seen more
        weight_BT1 = weight_BT1 * torch.arange(1, weight_BT1.shape[1] + 1, device=mask_BT.device).view(1, -1, 1)
    if mode in ("mean", "weightedmean", "mean_sqrt_len_tokens"):
        total = weight_BT1.sum(1)
        return (states_BTD * weight_BT1).sum(1) / (total.sqrt() if mode == "mean_sqrt_len_tokens" else total)
    if mode == "max":
        return states_BTD.masked_fill(weight_BT1 == 0, -torch.inf).amax(1)
    rows = torch.arange(len(states_BTD), device=mask_BT.device)
    return states_BTD[rows, mask_BT.sum(1) - 1] if mode == "lasttoken" else states_BTD[:, 0]


def read_pooling(folder: Path) -> Pooling:
    """What ``folder`` says follows its transformer; see the head of this file for one that says nothing.

    :raises ValueError: for a module, a mode or an option that is not one of the above; the message says which
    """
    if not (folder / "modules.json").is_file():
        return Pooling()
    modes: tuple[str, ...] = ()
    layers: list[nn.Module] = []
    for module in json.loads((folder / "modules.json").read_text())[1:]:
        kind, place = str(module["type"]).rsplit(".", 1)[-1], folder / str(module["path"])
        config = json.loads(text.read_text()) if (text := place / "config.json").is_file() else {}
        if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
            raise ValueError(
                f"{place / 'config.json'}: module_input_name {config['module_input_name']!r} is not pooled"
            )
        if kind == "Pooling" and not modes:
            modes = _read_modes(config, place / "config.json")
        elif kind == "Dense" and modes:
            layers.append(_read_dense(config, place))
        elif kind == "Normalize" and modes:
            layers.append(Scale())
        elif kind != "Dropout":
            raise ValueError(f"{folder / 'modules.json'}: a {kind} at this place is not supported")
    if not modes:
        raise ValueError(f"{folder / 'modules.json'} names no Pooling")
    return Pooling(modes, layers)


def read_prompt(folder: Path) -> str:
    """What the encoder puts before every text: the default prompt of the folder; mostly nothing.

    :raises ValueError: if the default prompt is not among the prompts, or would have to be left out of the pooling
    """
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    name = config.get("default_prompt_name")
    if name is None:
        return ""
    prompt = (config.get("prompts") or {}).get(name)
    if prompt is None:
        raise ValueError(f"{path}: default_prompt_name {name!r} is not among its prompts")
    pooling = folder / "1_Pooling" / "config.json"
    if prompt and pooling.is_file() and not json.loads(pooling.read_text()).get("include_prompt", True):
        raise ValueError(f"{pooling}: include_prompt false is not supported")
    return str(prompt)


def _read_modes(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    said = config.get("pooling_mode") or [mode for mode, flag in _FLAGS.items() if config.get(flag)] or ["mean"]
    modes = (said,) if isinstance(said, str) else tuple(said)
    if unknown := [mode for mode in modes if mode not in _MODES]:
        raise ValueError(f"{path}: pooling_mode {unknown[0]!r} is none of {', '.join(_MODES)}")
    return modes


def _read_dense(config: dict[str, Any], place: Path) -> Dense:
    from safetensors.torch import load_file

    activation = str(config.get("activation_function", "torch.nn.Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        what = "use_residual" if config.get("use_residual") else f"activation_function {activation!r}"
        raise ValueError(f"{place / 'config.json'}: {what} is not supported")
    if not (place / "model.safetensors").is_file():
        raise ValueError(f"{place} has no model.safetensors")
    dense = Dense(config["in_features"], config["out_features"], config.get("bias", True), activation)
    dense.load_state_dict(load_file(place / "model.safetensors"))
    return dense
