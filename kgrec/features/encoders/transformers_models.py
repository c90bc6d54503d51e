"""Models as transformers publishes them: ``transformers:<owner>/<model>`` from the hub, or ``transformers:<folder>``.

A folder is what ``save_pretrained`` writes: config.json, model.safetensors and, for pictures, preprocessor_config.json,
for texts a tokeniser. Three kinds are known:

* two towers (CLIP, SigLIP, SigLIP 2): both modalities in one space, scaled to length 1 as they are compared
* language models (BERT, RoBERTa, MPNet, T5's encoder, …), pooled as :mod:`~kgrec.features.encoders.pooling` says
* image models (ViT, DINOv2, ConvNeXt, …): their pooled output, or the first token where its weights are not there

A weight that the folder lacks would be drawn at random, one that the model has no place for would be dropped: both are
errors. Source: Wolf et al., Transformers, EMNLP 2020.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders.base import (
    ImageEncoder,
    Measured,
    Precision,
    TextEncoder,
    hash_json,
    probe_pictures,
    unavailable,
)
from kgrec.features.encoders.hub import cached, from_hub
from kgrec.features.encoders.pixels import Middle, half_down
from kgrec.features.encoders.pooling import Pooling, read_pooling, read_prompt
from kgrec.features.torchvision_compat import prepare_torchvision
from kgrec.media.images import open_rgb

PREFIX = "transformers:"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FILES = [
    _WEIGHTS, _INDEX, "model-*.safetensors", "config.json", "preprocessor_config.json", "processor_config.json",
    "*token*.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "modules.json", "*sentence*.json",
    "*/config.json", "*/model.safetensors",
]  # fmt: skip

#: two-tower model -> whether its text tower is causal (pads need not be seen) or sees pads, and so all of them
_CAUSAL = {"clip": True, "metaclip_2": True, "siglip": False, "siglip2": False}
#: padded lengths: a text costs at most a third more than it needs
_LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096)
#: largest mean difference, in levels of 255, between our preparation of the probe pictures and a processor's own
_GREY_LEVELS = 0.5


def missing_packages() -> str:
    """Why the family cannot be had here; empty if it can."""
    return "" if importlib.util.find_spec("transformers") else "not installed; pip install transformers"


def is_cached(repository: str) -> bool:
    """Whether the weights of a hub repository are in the local hub cache."""
    return (cached(repository, _WEIGHTS) or cached(repository, _INDEX)) is not None


class Tower(nn.Module):
    """One half of a two-tower model.

    :param body: gives ``last_hidden_state`` and ``pooler_output``
    :param projection: into the common space; SigLIP's towers have theirs inside
    """

    def __init__(self, body: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.body, self.projection = body, projection
        # CLIP's image tower normalises for its vector the class token alone, which stands before the patches
        self.has_class = hasattr(getattr(body, "embeddings", None), "class_embedding")

    def forward(self, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, and the normalised states of texts' tokens or of patches, as open_clip has them.
        shapes: (B, width), (B, T, token_width)"""
        states = self.body(**inputs)
        tokens = states.last_hidden_state
        if self.has_class:
            tokens = self.body.post_layernorm(tokens[:, 1:])
        return nn.functional.normalize(self.projection(states.pooler_output).float(), dim=-1), tokens


class Sentences(nn.Module):
    """A language model and its pooling."""

    def __init__(self, body: nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.body, self.pooling = body, pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and token states. shapes: (B, width), (B, T, token_width)"""
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.pooling(states, attention_mask), states


class Pictures(nn.Module):
    """An image model. Its vector is its pooled output; where it has none (or without weights), the first token of a
    sequence or the mean of a map."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and token states (a map's places are its tokens). shapes: (B, width), (B, T, token_width)"""
        states = self.body(pixel_values=pixel_values)
        tokens, pooled = states.last_hidden_state, states.get("pooler_output")
        is_map = tokens.dim() == 4  # (B, width, rows, columns)
        if is_map:
            tokens = tokens.flatten(2).transpose(1, 2)
        if pooled is not None:
            return pooled.flatten(1), tokens
        return tokens.float().mean(1) if is_map else tokens[:, 0], tokens


class TransformersImage(Measured, ImageEncoder):
    """Pictures through a two-tower model or an image model.

    :raises EncoderUnavailable: if package, folder, repository or a file cannot be had, or the model reads no pictures
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model, folder, self._pooling = _image_model(name)
        self._processor = _image_processor(name, folder)
        said = self._processor.to_dict()
        # NaFlex models keep a picture's aspect and read it as a list of patches
        self._patches = said["max_num_patches"] if "spatial_shapes" in self._processor.model_input_names else 0
        self._middle = None if self._patches else middle_of(self._processor)
        if self._middle is not None:
            side = self._middle.shorter
        else:
            size = said.get("size") or {"side": said["patch_size"] * round(self._patches**0.5)}
            side = max(value for value in dict(size).values() if value)
        super().__init__(
            name, model.to(device), device, batch_size, precision, side=side, transform=self._middle or self._transform,
            normalise=self._middle and self._middle.normalise,
        )  # fmt: skip
        vector, tokens = _try(name, folder, lambda: self._states(self.prepare(self._rows(_probe()[:1]))))
        self._width, self._token_width = vector.shape[-1], tokens.shape[-1]

    def _transform(self, picture: Image.Image) -> Tensor:
        pixels = self._processor(images=picture, return_tensors="np")["pixel_values"][0]
        return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))

    def collate(self, contents: Sequence[bytes], length: int) -> dict[str, Tensor]:
        rows = self._rows([open_rgb(content, self.side) for content in contents])
        return {name: torch.cat([few, *[few[:1]] * (self.batch_size - len(few))]) for name, few in rows.items()}

    def _rows(self, pictures: list[Image.Image]) -> dict[str, Tensor]:
        if not self._patches:
            return {"pixels": torch.stack([self.transform(picture) for picture in pictures])}
        rows = dict(self._processor(images=pictures, return_tensors="pt"))
        return {"pixels": rows.pop("pixel_values")} | rows

    @torch.inference_mode()
    def _states(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        more = {name: tensor for name, tensor in batch.items() if name != "pixels"}
        states: tuple[Tensor, Tensor] = self.model(pixel_values=batch["pixels"], **more)
        return states

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self._states(batch)[0]

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        vectors, tokens = self._states(batch)
        mask = batch.get("pixel_attention_mask")
        whole = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return vectors, tokens, whole if mask is None else mask.bool()

    def preprocessing(self) -> dict[str, Any]:
        said = json.loads(json.dumps(self._processor.to_dict(), default=str)) | {"draft": 2}
        return {"pooling": self._pooling} | (said if self._middle is None else self._middle.description())

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"transformers": version("transformers")}


class TransformersText(Measured, TextEncoder):
    """Texts through a two-tower model or a language model.

    :raises EncoderUnavailable: if package, folder, repository or a file cannot be had, or the model reads no texts
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        folder = _folder(name)
        config, body, missing = _load(name, folder)
        tokenizer = _tokenizer(name, folder)
        self._sees_pads = not _CAUSAL.get(config.model_type, True)
        self._pads_left = self._sees_pads and tokenizer.padding_side == "left"
        prompt, self._pooling, model = "", {"pooling": "projected, length 1"}, None
        if config.model_type in _CAUSAL:
            _complain(name, folder, missing, config)
            model = Tower(body.text_model, getattr(body, "text_projection", nn.Identity()))
            context = int(config.text_config.max_position_embeddings)
        else:
            _ask_for_pooling(name, folder)
            pooling = _try(name, folder, lambda: read_pooling(folder))
            prompt = _try(name, folder, lambda: read_prompt(folder))
            _complain(name, folder, [key for key in missing if not key.startswith("pooler.")], config)
            if body.main_input_name != "input_ids" or (config.is_encoder_decoder and hasattr(body, "decoder")):
                raise unavailable(name, f"{folder} holds a {config.model_type} model, which does not encode texts")
            if hasattr(body, "pooler"):
                body.pooler = None  # a head for another task; the pooling is ours
            model = Sentences(body, pooling)
            context = _context(name, folder, config, body, tokenizer)
            self._pooling = pooling.describe() | {"prompt": prompt}
        uncut = copy.deepcopy(tokenizer)  # a tokeniser that is told to cut and not to cut in turn is not thread-safe
        lengths = [context] if self._sees_pads else [n for n in _LENGTHS if n < context] + [context]
        super().__init__(
            name, model.to(device), device, batch_size, precision,
            tokenise=lambda text: list(tokenizer(prompt + text, truncation=True, max_length=context)["input_ids"]),
            count=lambda text: len(uncut(prompt + text, verbose=False)["input_ids"]),
            lengths=lengths, pad=int(tokenizer.pad_token_id or 0), tokeniser_hash=_hash_tokenizer(tokenizer),
        )  # fmt: skip
        ready = self.prepare(self.collate(["x"], self.padded_length("x")))
        vector, tokens = _try(name, folder, lambda: self._states({key: rows[:1] for key, rows in ready.items()}))
        self._width, self._token_width = vector.shape[-1], tokens.shape[-1]

    def collate(self, contents: Sequence[str], length: int) -> dict[str, Tensor]:
        batch = super().collate(contents, length)
        if self._pads_left:
            spare = (length - batch["mask"].sum(1)).tolist()
            batch = {
                name: torch.stack([row.roll(by) for row, by in zip(rows, spare, strict=True)])
                for name, rows in batch.items()
            }
        return batch

    @torch.inference_mode()
    def _states(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mask = {} if self._sees_pads else {"attention_mask": batch["mask"]}
        states: tuple[Tensor, Tensor] = self.model(input_ids=batch["tokens"], **mask)
        return states

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self._states(batch)[0]

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        vectors, tokens = self._states(batch)
        return vectors, tokens, batch["mask"].bool()

    def preprocessing(self) -> dict[str, Any]:
        return super().preprocessing() | self._pooling | {"pads": "seen" if self._sees_pads else "masked"}

    def libraries(self) -> dict[str, str]:
        return {"transformers": version("transformers"), "tokenizers": version("tokenizers")}


def _image_model(name: str) -> tuple[nn.Module, Path, str]:
    """The model, the folder its files lie in, and how its vector comes about."""
    folder = _folder(name)
    config, body, missing = _load(name, folder)
    if config.model_type in _CAUSAL:
        _complain(name, folder, missing, config)
        return (
            Tower(body.vision_model, getattr(body, "visual_projection", nn.Identity())),
            folder,
            "projected, length 1",
        )
    headless = bool(missing) and all(key.startswith("pooler.") for key in missing)
    _complain(name, folder, [] if headless else missing, config)
    if body.main_input_name != "pixel_values":
        raise unavailable(name, f"{folder} holds a {config.model_type} model, which does not encode pictures")
    if getattr(config, "mask_ratio", 0):
        raise unavailable(name, f"a {config.model_type} model hides parts of each picture at random")
    if headless:
        body.pooler = None
    return Pictures(body), folder, "without its head" if headless else "the model's own"


def middle_of(processor: Any) -> Middle | None:
    """The processor's work as one resize, where that is all it does and gives the same on the probe pictures."""
    said = processor.to_dict()
    size, crop = dict(said.get("size") or {}), dict(said.get("crop_size") or {})
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    if not (said.get("do_resize") and said.get("do_normalize") and said.get("do_rescale")) or said.get("do_pad"):
        return None
    if said.get("resample") not in filters:
        return None
    size, crop = ({key: value for key, value in one.items() if value} for one in (size, crop))
    whole = crop if said.get("do_center_crop") else size
    if set(whole) != {"height", "width"} or set(size) not in ({"shortest_edge"}, {"height", "width"}):
        return None
    if size.get("shortest_edge", 1 << 30) < max(whole.values()) or ("height" in size and whole != size):
        return None
    middle = Middle(
        size.get("shortest_edge"), (whole["height"], whole["width"]), tuple(said["image_mean"]),
        tuple(said["image_std"]), Image.Resampling(said["resample"]), 1 / said["rescale_factor"], offset=half_down,
    )  # fmt: skip
    theirs = torch.from_numpy(np.stack(processor(images=_probe(), return_tensors="np")["pixel_values"]))
    ours = middle.normalise(torch.stack([middle(picture) for picture in _probe()]))
    spread = torch.tensor(middle.std).view(3, 1, 1) * middle.unit
    return middle if ours.shape == theirs.shape and ((ours - theirs).abs() * spread).mean() <= _GREY_LEVELS else None


@cache
def _probe() -> list[Image.Image]:
    return [open_rgb(picture) for picture in probe_pictures()[-3:]]  # those with most detail


def _folder(name: str) -> Path:
    """Where the model's files lie, fetched if need be."""
    source = name.removeprefix(PREFIX)
    if reason := missing_packages():
        raise unavailable(name, reason)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise unavailable(name, f"there is no folder {folder}")
    if folder_of_parts := cached(source, _INDEX):
        return folder_of_parts
    try:
        return from_hub(name, source, _FILES)
    except EncoderUnavailable:
        if folder_of_parts := cached(source, _INDEX):  # large models come in parts
            return folder_of_parts
        raise


def _ask_for_pooling(name: str, folder: Path) -> None:
    """See to it that a folder of the hub cache tells how the model is pooled: another program may have fetched the
    weights without that."""
    from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository = name.removeprefix(PREFIX)
    if Path(repository).expanduser().is_dir() or try_to_load_from_cache(repository, "modules.json") is not None:
        return  # a folder is whole, and the cache remembers what a repository lacks
    try:
        hf_hub_download(repository, "modules.json")
        snapshot_download(repository, allow_patterns=_FILES)
    except Exception as error:  # the hub's client raises errors of many unrelated classes
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return  # it has none: a plain language model
        reason = f"{folder} may lack the modules.json that says how it is pooled, and the hub does not answer"
        raise unavailable(name, f"{reason} ({type(error).__name__}); name a folder that is whole") from error


def _load(name: str, folder: Path) -> tuple[Any, Any, list[str]]:
    """Configuration, model in float32, and the weights that the folder lacks."""
    prepare_torchvision()
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.utils import logging

    if not (folder / _WEIGHTS).is_file() and not (folder / _INDEX).is_file():
        others = sorted(path.name for path in folder.glob("*.bin")) or ["no weights at all"]
        raise unavailable(
            name, f"{folder} has no {_WEIGHTS}, but {', '.join(others)}; pickled weights can run code and are not read. "
            "Where you trust them, load them with transformers and save_pretrained() the model again"
        )  # fmt: skip
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it warns of is an error here
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        kind = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
        body, loading = kind.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises many classes for a folder that is not whole
        raise unavailable(name, f"{folder} does not load ({type(error).__name__}: {error})") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    parts = {part for part, _ in body.named_children()}
    prefix = f"{body.base_model_prefix}."
    homeless = [key for key in loading["unexpected_keys"] if key.removeprefix(prefix).split(".")[0] in parts]
    if homeless:  # heads for other tasks stand beside the model's parts, these within
        raise unavailable(name, f"{folder} has weights that its config.json has no place for: {_few(homeless)}")
    return config, body.float(), sorted(loading["missing_keys"])


def _complain(name: str, folder: Path, missing: Sequence[str], config: Any) -> None:
    if missing:
        raise unavailable(name, f"{folder} lacks weights of its {config.model_type} model: {_few(missing)}")


def _few(keys: Sequence[str]) -> str:
    return ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _try(name: str, folder: Path, action: Callable[[], Any]) -> Any:
    """What ``action`` gives; its failure in our words."""
    try:
        return action()
    except Exception as error:
        raise unavailable(name, f"{folder} does not work ({type(error).__name__}: {error})") from error


def _image_processor(name: str, folder: Path) -> Any:
    import transformers
    from transformers import AutoImageProcessor

    # Pillow's resampling, as these models were trained with; transformers 5 renamed the switch
    pillow = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
    try:
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, **pillow)
    except Exception as error:
        raise unavailable(name, f"{folder} has no usable preprocessor_config.json ({error})") from error


def _tokenizer(name: str, folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise unavailable(name, f"{folder} has no usable tokeniser ({error})") from error


def _hash_tokenizer(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    rules = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}  # set at each call
    return hash_json({"kind": type(tokenizer).__name__} | rules)


def _context(name: str, folder: Path, config: Any, body: nn.Module, tokenizer: Any) -> int:
    """Most tokens a text may have: the least of what sentence_bert_config.json, the tokeniser and the model say."""
    path = folder / "sentence_bert_config.json"
    said = json.loads(path.read_text()).get("max_seq_length") if path.is_file() else None
    positions = getattr(config, "max_position_embeddings", None)
    for place, module in body.named_modules():  # RoBERTa's positions begin behind that of padding
        if positions and place.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1
    limits = [limit for limit in (said or tokenizer.model_max_length, positions) if limit and limit < 1 << 30]
    if not limits:
        raise unavailable(name, f"{folder} says nowhere how long a text may be; put max_seq_length into {path.name}")
    return int(min(limits))
