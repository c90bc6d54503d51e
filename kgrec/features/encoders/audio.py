"""A sound is heard as windows of its spectrogram on the mel scale, which spaces pitches as ears do.

* ``mel-cnn/random-<seed>`` (untrained) and ``mel-cnn@<file>``: see :mod:`~kgrec.features.encoders.convolutions`.
  Channels 16, 32 and 64: MGNN's audio network at the size that fits a processor
* ``transformers:<owner>/<model>`` or ``transformers:<folder>``: the Audio Spectrogram Transformer, or the audio half of
  CLAP, whose vectors are scaled to length 1 as they are compared; each with its own feature extractor

A sound is heard from beginning to end, in windows that follow each other or overlap a little; of one longer than
:data:`HEARD`, as many windows as make that, evenly spread. The vector is their mean. Sources: Gong et al., AST,
Interspeech 2021; Wu et al., CLAP, ICASSP 2023.
"""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kgrec.features.encoders.base import Precision, unavailable
from kgrec.features.encoders.convolutions import load
from kgrec.features.encoders.parts import PartsEncoder, check_packages, missing_packages
from kgrec.media.clips import declared_seconds, waveform

__all__ = ["MelCnn", "TransformersAudio", "log_mel", "missing_packages"]

#: samples a second; samples of an FFT, of the Hann window in it, and between windows (25 and 10 ms); bands
RATE, FFT, HANN, HOP, BANDS = 16_000, 512, 400, 160, 64
#: power below which nothing is heard: -60 dB
FLOOR = 1e-6
#: seconds of a sound that are heard in all
HEARD = 160.0
#: columns of the spectrogram in one window: 2.56 s
COLUMNS = 256
CHANNELS = (1, 16, 32, 64)
_WINDOWS = f"from beginning to end, as few as cover it, evenly, of {HEARD} seconds at most"


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spectrogram of a sound on the mel scale, in units of 40 dB: 0 for what is not heard, about 2 for the loudest tone.

    :param samples: at :data:`RATE`. shape: (samples,)
    :return: shape: (BANDS, 1 + (samples - FFT) // HOP); columns begin where FFTs do
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=FFT, win_length=HANN, hop_length=HOP, n_mels=BANDS, window="hann", center=False,
        power=2.0, fmin=0.0, fmax=RATE / 2, htk=False, norm="slaney",
    )  # fmt: skip
    return (np.log10(np.maximum(power, FLOOR) / FLOOR) / 4).astype(np.float32)


def window_starts(length: int, window: int, most: int) -> list[int]:
    """Where windows begin that cover ``length`` evenly from its beginning to its end, as few as can be, at most ``most``."""
    count = max(1, min(most, math.ceil(length / window)))
    return [round(start) for start in np.linspace(0, max(0, length - window), count)]


class _Windows(PartsEncoder):
    """Base of encoders of sounds.

    :param seconds: length of a window
    """

    modality = "audio"

    def __init__(self, *arguments: Any, seconds: float) -> None:
        super().__init__(*arguments)
        self.seconds, self.most = seconds, max(1, int(HEARD / seconds))

    def padded_length(self, content: bytes) -> int:
        """Number of windows, up to the next power of two, as the header tells it. Sounds of like length share a batch to
        save time; their vectors do not depend on it."""
        try:
            windows = declared_seconds(content) / self.seconds
        except ValueError:
            return 0  # told when it is decoded
        return 1 << math.ceil(math.log2(min(max(1.0, windows), self.most)))

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"numpy": np.__version__}


class MelCnn(_Windows):
    """Mean over windows of a small 2D network's vectors of the spectrogram, 64-d.

    :raises EncoderUnavailable: if the weights or the extra ``clips`` cannot be had
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        check_packages(name)
        model = load(name, "mel-cnn", CHANNELS, 2).to(device)
        super().__init__(name, model, device, batch_size, precision, seconds=COLUMNS * HOP / RATE)

    @property
    def width(self) -> int:
        return CHANNELS[-1]

    def parts(self, content: bytes) -> dict[str, Tensor]:
        samples = waveform(content, RATE)
        columns = 1 + len(samples) // HOP
        whole = (
            max(columns, COLUMNS) - 1
        ) * HOP + FFT  # a column's FFT is centred on its time; beyond the ends is silence
        samples = np.pad(samples, (FFT // 2, max(0, whole - FFT // 2 - len(samples))))
        starts = window_starts(columns, COLUMNS, self.most)
        windows = [log_mel(samples[HOP * start : HOP * (start + COLUMNS - 1) + FFT]) for start in starts]
        return {"mel": torch.from_numpy(np.stack(windows))}

    def forward_part(self, batch: dict[str, Tensor]) -> Tensor:
        """:param batch: ``mel``, shape: (B, BANDS, COLUMNS)"""
        vectors: Tensor = self.model(batch["mel"][:, None])
        return vectors

    def preprocessing(self) -> dict[str, Any]:
        return {
            "rate": RATE, "channels": "mean", "fft": FFT, "hann": HANN, "hop": HOP, "bands": BANDS, "mel": "slaney",
            "floor": FLOOR, "scale": "log10(power / floor) / 4", "columns": COLUMNS, "windows": _WINDOWS,
        }  # fmt: skip

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"librosa": version("librosa")}


class TransformersAudio(_Windows):
    """Mean over windows of a transformers model's vectors; a window is as long as its feature extractor takes at once.

    :raises EncoderUnavailable: if package, folder, repository or a file cannot be had, or the model is of another kind
    """

    def __init__(
        self, name: str, device: torch.device, batch_size: int | None = None, precision: Precision = "float32"
    ) -> None:
        check_packages(name)
        from kgrec.features.encoders import transformers_models as models

        folder = models._folder(name)
        config, body, missing = models._load(name, folder)
        models._complain(name, folder, missing, config)
        self._extractor = _extractor(name, folder)
        self._rate = int(self._extractor.sampling_rate)
        model: nn.Module
        if config.model_type == "clap":
            model = models.Tower(body.audio_model, body.audio_projection)
            self._window, self._width = int(self._extractor.nb_max_samples), int(config.projection_dim)
        elif config.model_type == "audio-spectrogram-transformer":
            model = _Spectrogram(body)
            hop, frame = self._rate // 100, self._rate // 40  # 10 and 25 ms
            self._window, self._width = (int(self._extractor.max_length) - 1) * hop + frame, int(config.hidden_size)
        else:
            raise unavailable(name, f"{folder} holds a {config.model_type} model; known are AST and CLAP")
        super().__init__(
            name, model.to(device), device, batch_size, precision, seconds=self._window / self._rate
        )  # fmt: skip

    @property
    def width(self) -> int:
        return self._width

    def parts(self, content: bytes) -> dict[str, Tensor]:
        samples = waveform(content, self._rate)
        samples = np.pad(samples, (0, max(0, self._rate // 10 - len(samples))))  # a tenth of a second at least
        windows = []
        for start in window_starts(len(samples), self._window, self.most):
            features = self._extractor(
                samples[start : start + self._window], sampling_rate=self._rate, return_tensors="np"
            )
            windows.append(features[self._extractor.model_input_names[0]][0])
        return {"features": torch.from_numpy(np.stack(windows).astype(np.float32))}

    def forward_part(self, batch: dict[str, Tensor]) -> Tensor:
        """:param batch: ``features``, as the extractor gives them, B of them"""
        features = batch["features"]
        if isinstance(self.model, _Spectrogram):
            vectors: Tensor = self.model(features)
            return vectors
        longer = torch.zeros(len(features), 1, dtype=torch.bool, device=features.device)  # no window is cut
        vectors, _ = self.model(input_features=features, is_longer=longer)
        return vectors

    def preprocessing(self) -> dict[str, Any]:
        said = json.loads(json.dumps(self._extractor.to_dict(), default=str))
        return {"extractor": said, "channels": "mean", "window": self._window, "windows": _WINDOWS}

    def libraries(self) -> dict[str, str]:
        return super().libraries() | {"transformers": version("transformers")}


class _Spectrogram(nn.Module):
    """AST's pooled output: the mean of its two class tokens."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.body(input_values=features).pooler_output
        return pooled


def _extractor(name: str, folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many classes for a folder that is not whole
        raise unavailable(name, f"{folder} has no usable preprocessor_config.json ({error})") from error
