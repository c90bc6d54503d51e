"""CLIP embeds pictures and texts in one space; open_clip holds many trainings of it, named ``<model>/<tag>``.

- ``open_clip:ViT-B-32/openai`` loads from the hub, ``open_clip:hf-hub:<owner>/<model>`` any repository there in
  open_clip's layout,
- ``open_clip:<folder>`` a folder in that layout: open_clip_config.json, open_clip_model.safetensors, and tokeniser files
  where the text tower has its own; names of towers and tokenisers in the configuration may be folders inside it,
- ``open_clip:ViT-B-32@<file>`` takes weights from a file, with the architecture's own settings, and
  ``open_clip:ViT-B-32/openai@<file>`` with that training's. A tag matters beyond its weights: OpenAI's were trained with
  another activation (quick GELU) than the architecture's default, which a file does not say.

Vectors are scaled to length 1, as CLIP compares them. Source: Radford et al., 2021;
https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from kgrec.features.encoders.base import ImageEncoder, Precision, TextEncoder, hash_json, unavailable
from kgrec.features.encoders.hub import cached, from_hub
from kgrec.features.encoders.pixels import Middle
from kgrec.features.encoders.timm_models import places
from kgrec.features.torchvision_compat import prepare_torchvision

PREFIX = "open_clip:"
_WEIGHTS, _CONFIG, _HUB = "open_clip_model.safetensors", "open_clip_config.json", "hf-hub:"
_TOKENISER = ["tokenizer.json", "tokenizer_config.json", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json"]
_LENGTHS = (8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256)


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
    """Image tower. Its tokens, where it has some, are the patches: the states that the pooling reads, after the last
    normalisation (open_clip's ``output_tokens``), the class token left out, or the places of a feature map, row by row.

    :raises EncoderUnavailable: if package, model, tag, folder or weights cannot be had
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        clip = _load(name)
        transform, side = _preprocess(clip.preprocess)
        tower = clip.model.visual
        if hasattr(tower, "output_tokens"):
            tower.output_tokens = True
        self._preprocess, self._middle = clip.preprocess, isinstance(transform, Middle)
        self._width = int(clip.config["embed_dim"])
        super().__init__(
            name, tower.to(device), device, batch_size, precision, transform=transform, side=side,
            normalise=transform.normalise if isinstance(transform, Middle) else None,
        )  # fmt: skip

    @property
    def width(self) -> int:
        return self._width

    @property
    def token_width(self) -> int | None:
        if hasattr(self.model, "trunk"):
            return int(self.model.trunk.num_features)
        return int(self.model.ln_post.normalized_shape[-1]) if hasattr(self.model, "output_tokens") else None

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        found = self.model(batch["pixels"])
        return _unit(found[0] if isinstance(found, tuple) else found)

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        if self.token_width is None:
            return super().forward_tokens(batch)
        if hasattr(self.model, "trunk"):
            trunk = self.model.trunk
            states = trunk.forward_features(batch["pixels"])
            vectors, tokens = self.model.head(trunk.forward_head(states)), places(states, trunk)
        else:
            vectors, tokens = self.model(batch["pixels"])
        return _unit(vectors), tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    def preprocessing(self) -> dict[str, Any]:
        found = {key: list(v) if isinstance(v, tuple) else v for key, v in self._preprocess.items()} | {"draft": 2}
        return found | {"resampled": "once"} if self._middle else found

    def libraries(self) -> dict[str, str]:
        return super().libraries() | _libraries(self.model)


class OpenClipText(TextEncoder):
    """Text tower. Its tokens are the states of the last layer, normalised, from the first to the end-of-text token.

    In a causal tower no state depends on what follows it, so texts are cut after their end-of-text token and padded to
    a few lengths: the same vectors, several times faster. A tower that masks its padding is treated alike; one that
    reads it, as SigLIP's does, sees its full length.

    :raises EncoderUnavailable: if package, model, tag, folder, weights or tokeniser cannot be had
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        clip = _load(name)
        tokeniser = _tokeniser(name, clip)
        tower = _text_tower(clip.model)
        pad, end = tokeniser.pad, _end_of_text(tower)
        context = int(clip.config["text_cfg"].get("context_length", 77))
        trimmed = end is not None or _masks_padding(tower, pad)
        self._width = int(clip.config["embed_dim"])

        def tokenise(text: str) -> list[int]:
            ids = tokeniser.ids(text)
            if end is not None:
                return ids[: end(ids) + 1]
            return ids[: max((at for at, token in enumerate(ids) if token != pad), default=0) + 1]

        super().__init__(
            name, tower.to(device), device, batch_size, precision, tokenise=tokenise, count=tokeniser.count, pad=pad,
            lengths=[n for n in _LENGTHS if n < context and trimmed] + [context], tokeniser_hash=tokeniser.hash,
        )  # fmt: skip

    @property
    def width(self) -> int:
        return self._width

    @property
    def token_width(self) -> int:
        if hasattr(self.model, "ln_final"):
            return int(self.model.ln_final.normalized_shape[-1])
        return int(self.model.transformer.config.hidden_size)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self._states(batch["tokens"])[0]

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        vectors, tokens = self._states(batch["tokens"])
        return vectors, tokens, batch["mask"][:, -tokens.shape[1] :].bool()  # a pooled first token is not among them

    def _states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        if not _is_plain(self.model):
            vectors, tokens = self.model(ids)
            return _unit(vectors), tokens
        from open_clip.transformer import text_global_pool

        length, tower = ids.shape[1], self.model
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        states = tower.token_embedding(ids) + tower.positional_embedding[:length]
        states = tower.ln_final(tower.transformer(states, attn_mask=mask))
        pooled = text_global_pool(states, ids, _pool_type(tower), eos_token_id=_eos(tower))
        projection = tower.text_projection
        if projection is not None:
            pooled = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return _unit(pooled), states

    def libraries(self) -> dict[str, str]:
        return _libraries(self.model)


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors.float(), dim=-1)


def _text_tower(model: nn.Module) -> nn.Module:
    """What of a CLIP reads texts, without the rest: an open_clip text tower, or a CLIP that has lost its image tower."""
    if hasattr(model, "text"):
        tower: nn.Module = model.text
        if hasattr(tower, "output_tokens"):
            tower.output_tokens = True
        return tower
    for name in ("visual", "logit_scale", "logit_bias"):
        delattr(model, name)
    return model


def _is_plain(tower: nn.Module) -> bool:
    """Whether no token is added to the text and no mask is made from it."""
    extra = getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False)
    return hasattr(tower, "token_embedding") and not extra


def _pool_type(tower: nn.Module) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", ""))


def _eos(tower: nn.Module) -> int | None:
    return getattr(tower, "text_eos_id", None) if hasattr(tower, "text_eos_id") else getattr(tower, "eos_id", None)


def _end_of_text(tower: nn.Module) -> Callable[[list[int]], int] | None:
    """Where a causal tower takes its vector from, in token ids; None: what follows that place matters too."""
    if not _is_plain(tower) or tower.attn_mask is None:
        return None
    if _pool_type(tower) == "argmax":
        return lambda ids: ids.index(max(ids))
    if _pool_type(tower) == "eos":
        eos = _eos(tower)
        return lambda ids: ids.index(eos) if eos in ids else 0
    return None


def _masks_padding(tower: nn.Module, pad: int) -> bool:
    config = getattr(tower, "config", None)  # only towers from transformers have one
    return config is not None and config.pad_token_id == pad


@dataclass(frozen=True)
class _Tokeniser:
    ids: Callable[[str], list[int]]
    """text -> ids, special ones too, padded to the context length"""
    count: Callable[[str], int]
    pad: int
    hash: str


def _tokeniser(name: str, clip: _Clip) -> _Tokeniser:
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = clip.config["text_cfg"]
    context, options = text.get("context_length", 77), dict(text.get("tokenizer_kwargs", {}))
    source = text.get("hf_tokenizer_name")
    if not source:
        simple = SimpleTokenizer(context_length=context, **options)
        described = {"kind": "SimpleTokenizer", "vocabulary": simple.encoder, "options": options}
        return _Tokeniser(
            lambda one: list(simple(one)[0].tolist()), lambda one: len(simple.encode(one)) + 2, 0, hash_json(described)
        )
    folder = _inside(clip.folder, source, "tokenizer_config.json", "tokenizer.json")
    if folder is None:
        folder = from_hub(name, source, _TOKENISER)
    mode = text.get("tokenizer_mode")
    try:
        own = HFTokenizer(str(folder), context_length=context, tokenizer_mode=mode, local_files_only=True, **options)
    except Exception as error:  # transformers raises many classes for files that do not fit
        raise unavailable(name, f"{folder} has no usable tokeniser ({type(error).__name__}: {error})") from error
    backend = getattr(own.tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else {"vocabulary": own.tokenizer.get_vocab()}
    rules = {key: value for key, value in rules.items() if key not in ("padding", "truncation")}  # set by use
    special = 2 if mode == "clips" else 0

    def count(one: str) -> int:
        return special + len(
            own.tokenizer(own.clean_fn(one), add_special_tokens=not special, verbose=False)["input_ids"]
        )

    described = {"kind": type(own.tokenizer).__name__, "rules": rules, "mode": mode, "options": options}
    pad = own.tokenizer.pad_token_id or 0
    return _Tokeniser(lambda one: list(own(one)[0].tolist()), count, pad, hash_json(described))


def _preprocess(settings: dict[str, Any]) -> tuple[Callable[[Image.Image], Tensor], int]:
    """The transform of a checkpoint, and the side its pictures are scaled to: :class:`Middle`, or where the checkpoint
    wants something else, open_clip's own."""
    size, mean, std = settings["size"], settings["mean"], settings["std"]
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))
    squash = settings["resize_mode"] == "squash"
    if squash or (settings["resize_mode"] == "shortest" and height == width):
        resample = Image.Resampling.BILINEAR if settings["interpolation"] == "bilinear" else Image.Resampling.BICUBIC
        mean, std = ((v,) * 3 if isinstance(v, float | int) else tuple(v) for v in (mean, std))
        middle = Middle(None if squash else height, (height, width), mean, std, resample)
        return middle, middle.shorter
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**settings), is_train=False), max(height, width)


def _libraries(tower: nn.Module) -> dict[str, str]:
    others = {"trunk": "timm", "config": "transformers"}  # whose towers have such an attribute
    names = ["open_clip_torch", "torchvision", *(other for mark, other in others.items() if hasattr(tower, mark))]
    return {name: version(name) for name in names}


@dataclass(frozen=True)
class _Clip:
    model: Any
    config: dict[str, Any]
    """open_clip's configuration of the architecture"""
    preprocess: dict[str, Any]
    folder: Path | None
    """where the configuration lies, if in a folder"""


def _load(name: str) -> _Clip:
    if reason := missing_packages():
        raise unavailable(name, reason)
    prepare_torchvision()
    rest = name.removeprefix(PREFIX)
    if rest.startswith(_HUB):
        return _load_folder(name, from_hub(name, rest.removeprefix(_HUB), [_WEIGHTS, _CONFIG, *_TOKENISER]))
    folder = Path(rest).expanduser()
    if (folder / _CONFIG).is_file() or rest.startswith(("/", ".", "~")):
        return _load_folder(name, folder)
    return _load_named(name)


def _load_folder(name: str, folder: Path) -> _Clip:
    for file in (_CONFIG, _WEIGHTS):
        if not (folder / file).is_file():
            raise unavailable(name, f"there is no file {folder / file}")
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        text = dict(config["text_cfg"])
    except (ValueError, KeyError, TypeError) as error:
        raise unavailable(name, f"{folder / _CONFIG} is not an open_clip configuration ({error!r})") from error
    config = dict(config) | {"text_cfg": _local_tower(name, text, folder)}
    model = _create(name, f"local-dir:{folder}", None, text_cfg=config["text_cfg"])
    return _Clip(model, config, _settings_of(model), folder)


def _load_named(name: str) -> _Clip:
    import open_clip

    architecture, tag, file = _parse(name)
    config = open_clip.get_model_config(architecture)
    if config is None:
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
    config["text_cfg"] = _local_tower(name, config["text_cfg"], None)
    quick = bool(tag_cfg.get("quick_gelu"))
    model = _create(name, architecture, weights, force_quick_gelu=quick, text_cfg=config["text_cfg"])
    given = {key: tag_cfg[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag_cfg}
    return _Clip(model, config, _settings_of(model) | given, None)


def _parse(name: str) -> tuple[str, str, str]:
    """``open_clip:<model>[/<tag>][@<file>]`` -> (model, tag, file), absent parts empty."""
    match = re.fullmatch(r"open_clip:(?P<model>[^/@]+)(?:/(?P<tag>[^/@]+))?(?:@(?P<file>.+))?", name)
    if match is None or not (match["tag"] or match["file"]):
        forms = "open_clip:<model>/<tag>, open_clip:<model>@<file> or open_clip:<folder with open_clip_config.json>"
        raise unavailable(name, f"the name is not of the form {forms}")
    return match["model"], match["tag"] or "", match["file"] or ""


def _create(name: str, model: str, weights: Path | None, **options: Any) -> nn.Module:
    """open_clip's model with all its weights; never with random ones."""
    import open_clip

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            created: nn.Module = open_clip.create_model(
                model, pretrained=str(weights) if weights else None, weights_only=True, pretrained_text=False,
                require_pretrained=True, **options,
            )  # fmt: skip
    except Exception as error:  # torch, safetensors and open_clip raise many classes for a file that does not fit
        place = f"{weights} does not load as {model}" if weights else f"{model.partition(':')[2]} does not load"
        raise unavailable(name, f"{place} ({type(error).__name__}: {error})") from error
    return created


def _settings_of(model: nn.Module) -> dict[str, Any]:
    import open_clip
    from open_clip.transform import PreprocessCfg

    return asdict(PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)))


def _local_tower(name: str, text: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """The text tower's configuration, with a tower from transformers as a local folder."""
    if not (tower := text.get("hf_model_name")):
        return text
    place = _inside(folder, tower, "config.json") or from_hub(name, tower, ["config.json"])
    return text | {"hf_model_name": str(place), "hf_model_pretrained": False}


def _inside(folder: Path | None, name: str, *files: str) -> Path | None:
    """The folder ``name`` inside ``folder``, else ``folder`` itself, whichever holds one of ``files`` first."""
    for place in (folder / name, folder) if folder else ():
        if any((place / file).is_file() for file in files):
            return place
    return None
