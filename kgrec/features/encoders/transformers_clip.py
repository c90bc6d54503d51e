"""The same CLIP, as transformers publishes it: ``transformers:openai/clip-vit-base-patch32`` or
``transformers:<folder>``.

A folder is what ``save_pretrained`` writes: config.json, model.safetensors, preprocessor_config.json and a tokeniser.
Vectors are scaled to length 1, as CLIP compares them. Source: Radford et al., 2021.
"""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from kgrec.features.encoders.base import ImageEncoder, Precision, TextEncoder, hash_json, unavailable
from kgrec.features.encoders.hub import cached, from_hub
from kgrec.features.torchvision_compat import prepare_torchvision

PREFIX = "transformers:"
_FILES = ["model.safetensors", "config.json", "preprocessor_config.json", "*token*.json", "vocab.json", "merges.txt"]


def missing_packages() -> str:
    """Why the family cannot be had here; empty if it can."""
    return "" if importlib.util.find_spec("transformers") else "not installed; pip install transformers"


def is_cached(repository: str) -> bool:
    """Whether the weights of a hub repository are in the local hub cache."""
    return cached(repository, _FILES[0]) is not None


class TransformersClipImage(ImageEncoder):
    """Image tower. :raises EncoderUnavailable: if package, folder, repository or a file cannot be had"""

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model, folder = _load(name)
        import transformers
        from transformers import AutoImageProcessor

        # Pillow's resampling, as CLIP was trained with; transformers 5 renamed the switch
        pillow = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, **pillow)
        except Exception as error:
            raise unavailable(name, f"{folder} has no usable preprocessor_config.json ({error})") from error
        side = int(model.config.vision_config.image_size)
        self._width = int(model.config.projection_dim)
        super().__init__(name, model.to(device), device, batch_size, precision, transform=self._transform, side=side)

    def _transform(self, image: Image.Image) -> Tensor:
        pixels = self._processor(images=image, return_tensors="np")["pixel_values"][0]
        return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))

    @property
    def width(self) -> int:
        return self._width

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        pooled = self.model.vision_model(pixel_values=batch["pixels"]).pooler_output
        return nn.functional.normalize(self.model.visual_projection(pooled), dim=-1)

    def preprocessing(self) -> dict[str, Any]:
        return json.loads(json.dumps(self._processor.to_dict(), default=str)) | {"draft": 2}

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"transformers": version("transformers")}


class TransformersClipText(TextEncoder):
    """Text tower. :raises EncoderUnavailable: if package, folder, repository or a file cannot be had"""

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        model, folder = _load(name)
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise unavailable(name, f"{folder} has no usable tokeniser ({error})") from error
        context = int(model.config.text_config.max_position_embeddings)
        self._width = int(model.config.projection_dim)
        super().__init__(
            name, model.to(device), device, batch_size, precision,
            tokenise=lambda text: list(tokenizer(text, truncation=True, max_length=context)["input_ids"]),
            lengths=(context,), pad=int(tokenizer.pad_token_id or 0),
            tokeniser_hash=hash_json({"kind": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}),
        )  # fmt: skip

    @property
    def width(self) -> int:
        return self._width

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        states = self.model.text_model(input_ids=batch["tokens"], attention_mask=batch["mask"])
        return nn.functional.normalize(self.model.text_projection(states.pooler_output), dim=-1)

    def libraries(self) -> dict[str, str]:
        return {"transformers": version("transformers"), "tokenizers": version("tokenizers")}


def _load(name: str) -> tuple[Any, Path]:
    """The model and the folder its files lie in."""
    source = name.removeprefix(PREFIX)
    if reason := missing_packages():
        raise unavailable(name, reason)
    prepare_torchvision()
    from transformers import AutoConfig, CLIPModel
    from transformers.utils import logging

    folder = Path(source).expanduser()
    if not folder.is_dir():
        if source.startswith((".", "/", "~")) or source.count("/") != 1:
            raise unavailable(name, f"there is no folder {folder}")
        folder = from_hub(name, source, _FILES)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if kind != "clip":
            raise unavailable(name, f"{folder} holds a {kind} model, not a CLIP")
        model, loading = CLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise unavailable(name, f"{folder} does not load as a CLIP ({error})") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if loading["missing_keys"]:
        raise unavailable(name, f"{folder} lacks weights: {', '.join(sorted(loading['missing_keys'])[:5])}")
    return model.float(), folder
