"""Training a small CLIP pulls an item's picture and caption together and pushes those of other items apart.

From a few thousand pairs no tower can be learnt, but a common space of two that know pictures and texts already can: by
default the towers are those of the encoders that come as packages, they stay as they are, and only projections are
trained (locked-image tuning, with both sides locked). Tower outputs are then computed once. With ``init: random`` both
towers begin at nothing, which is for trying things out and for large catalogues.

The loss is open_clip's own. Sources: Radford et al., CLIP, ICML 2021; Zhai et al., LiT, CVPR 2022. Shapes: N pairs, B rows
of a batch, V kinds of captions, D width of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from kgrec.config import Settings
from kgrec.data.io import atomic_folder, write_json
from kgrec.device import find_device
from kgrec.errors import DataError, TrainingError
from kgrec.features.clip_pairs import Caption, Pairs, Part, read_pairs, split_pairs
from kgrec.features.clip_retrieval import retrieval
from kgrec.features.clip_towers import read_weights, write_pretrained, write_random, write_weights
from kgrec.features.encoders import Encoder, open_encoder
from kgrec.media.duplicates import NEAR_BITS
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: pairs that each part has at least
FEWEST = 20
#: CLIP's own bound on the scale of similarities
_MOST_SCALE = math.log(100)


class TrainClipSettings(Settings):
    """How a small CLIP is made."""

    init: Literal["pretrained", "random"] = "pretrained"
    """Where the towers begin: as EfficientNet-lite0 and all-MiniLM-L6-v2, which then stay as they are, or as a small
    ViT and a small causal transformer that know nothing."""
    captions: tuple[Caption, ...] = Field(default=("title", "text"), min_length=1)
    """What of an item's text is its caption: all of it, or what stands before the first full stop, its title. With both
    one is drawn for each pair and step, and each is measured."""
    width: int = Field(default=128, ge=32, multiple_of=32)
    """Length of a vector; with random towers, also their width."""
    layers: int = Field(default=3, ge=1)
    """Of each random tower."""
    image_size: int | None = Field(default=None, ge=16, multiple_of=8)
    """Side in pixels; null: 224 for pretrained towers, 64 for random ones."""
    resize: Literal["squash", "shortest"] = "squash"
    """Pictures are squeezed whole to a square, or scaled and cut to their middle."""
    epochs: int = Field(default=40, ge=1)
    """Most passes over the pairs."""
    patience: int = Field(default=15, ge=1)
    """Epochs without a better validation loss after which training stops; the best epoch's weights are kept."""
    batch_size: int = Field(default=512, ge=2)
    """Pairs compared with each other; at most half of those there are."""
    learning_rate: float | None = Field(default=None, gt=0)
    """At its height; null: 0.003 for projections, 0.001 for whole towers. It rises over the first twentieth of the steps
    and falls to 0 along a cosine."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Of matrices, as AdamW applies it."""
    dropout: float = Field(default=0.7, ge=0, lt=1)
    """Share of a locked tower's outputs that are hidden from its projection while training."""
    temperature: float = Field(default=0.07, gt=0)
    """What similarities are divided by at first; it is learnt."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share of the items that is held out to the end, by a hash of their keys."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share that decides when to stop."""
    split: int = 0
    """Another number holds out other items."""
    near_bits: int = Field(default=NEAR_BITS, ge=0, le=16)
    """Pictures whose perceptual hashes differ by so many bits count as one, so that no copy of a held-out picture is
    trained on."""
    seed: int = 0
    """Of random weights and of the order of pairs."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``."""

    @model_validator(mode="after")
    def _check_parts(self) -> TrainClipSettings:
        if self.test + self.validation > 0.8:
            raise ValueError("test and validation leave less than a fifth of the items for training")
        return self


def train_clip(images: Path, texts: Path, out: Path, settings: TrainClipSettings) -> dict[str, Any]:
    """Train a CLIP on the items that have both picture and text, and write it in open_clip's layout.

    ``open_clip:<out>`` then names it, for pictures and for texts. Equal inputs, settings and number of threads give equal
    bytes on a CPU. Memory: 150 kB a pair for random towers at 224 pixels (12 kB at 64), 10 kB for locked ones,
    twice that for a moment.

    :param images: folder of picture shards (:data:`~kgrec.data.schemas.IMAGES`)
    :param texts: texts.parquet (:data:`~kgrec.data.schemas.TEXTS`)
    :param out: folder to write: open_clip_config.json, open_clip_model.safetensors, the tokeniser's files where the text
        tower has its own, and training.json, which is the report
    :return: ``pairs`` by part, ``losses`` of each epoch, the epoch that was kept, and what
        :func:`~kgrec.features.clip_retrieval.retrieval` says of validation and test, for each kind of caption
    :raises DataError: if a table is missing or damaged, a picture cannot be decoded, or there are too few pairs
    :raises TrainingError: if the loss is not finite
    :raises EncoderUnavailable: if packages of the pretrained towers are missing
    """
    device = find_device(settings.device)
    pairs = read_pairs(images, texts)
    captions = [pairs.captions(kind) for kind in settings.captions]
    parts = split_pairs(
        pairs, captions, test=settings.test, validation=settings.validation, split=settings.split,
        near_bits=settings.near_bits,
    )  # fmt: skip
    sizes = {part: len(positions) for part, positions in parts.items()}
    if min(sizes.values()) < FEWEST:
        found = ", ".join(f"{count} for {part}" for part, count in sizes.items())
        raise DataError(
            f"too few items have both a picture and a text of their own: {found}; each part needs {FEWEST}", path=images
        )
    with atomic_folder(out) as folder:
        _write_untrained(folder, settings)
        clip = _open(folder, pairs, captions, settings, device)
        log.info("training", **sizes)
        history, best = _fit(clip, parts, settings)
        write_weights(folder, read_weights(folder) | clip.state())
        report = {
            "pairs": sizes, "settings": settings.model_dump(mode="json"), "losses": history, "kept_epoch": best,
            "temperature": float(torch.exp(-clip.scale.detach())),
            "retrieval": {part: clip.measure(parts[part], settings) for part in ("validation", "test")},
        }  # fmt: skip
        write_json(report, folder / "training.json")
    return report


@dataclass
class _Side:
    """What of one modality is trained, and what it is trained on."""

    encoder: Encoder
    prefix: str
    """of the encoder's parameters among those of the whole model"""
    inputs: Tensor
    """tower outputs or batches of contents, on the CPU. shape: (N, …), of captions (V, N, …)"""
    forward: Callable[[Tensor], Tensor]
    """inputs -> vectors. shape: (B, …) -> (B, D)"""
    trained: nn.Module

    def vectors(self, inputs: Tensor) -> Tensor:
        """Of length 1. shape: (B, …) -> (B, D)"""
        return nn.functional.normalize(self.forward(inputs.to(self.encoder.device)), dim=-1)


@dataclass
class _Clip:
    image: _Side
    text: _Side
    scale: nn.Parameter

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        named = [item for side in (self.image, self.text) for item in side.trained.named_parameters()]
        return [*named, ("scale", self.scale)]

    def train(self, mode: bool) -> None:
        for side in (self.image, self.text):
            side.trained.train(mode)

    def state(self) -> dict[str, Tensor]:
        """Weights by their names in the whole model."""
        towers = {
            s.prefix + name: t for s in (self.image, self.text) for name, t in s.encoder.model.state_dict().items()
        }
        return towers | {"logit_scale": self.scale.detach()}

    @torch.inference_mode()
    def vectors(self, positions: NDArray[np.int64], rows: int = 256) -> tuple[Tensor, Tensor]:
        """shapes: (N, D), (V, N, D)"""
        chunks = torch.from_numpy(positions).split(rows)
        images = torch.cat([self.image.vectors(self.image.inputs[chunk]) for chunk in chunks])
        texts = [torch.cat([self.text.vectors(one[chunk]) for chunk in chunks]) for one in self.text.inputs]
        return images, torch.stack(texts)

    def measure(self, positions: NDArray[np.int64], settings: TrainClipSettings) -> dict[str, Any]:
        images, texts = self.vectors(positions)
        return {kind: retrieval(images.cpu(), one.cpu()) for kind, one in zip(settings.captions, texts, strict=True)}


def _write_untrained(folder: Path, settings: TrainClipSettings) -> None:
    if settings.init == "random":
        write_random(
            folder, width=settings.width, image_size=settings.image_size or 64, layers=settings.layers,
            resize=settings.resize, seed=settings.seed,
        )  # fmt: skip
    else:
        write_pretrained(
            folder, width=settings.width, image_size=settings.image_size or 224,
            resize=settings.resize, seed=settings.seed,
        )  # fmt: skip


def _open(
    folder: Path, pairs: Pairs, captions: Sequence[list[str]], settings: TrainClipSettings, device: torch.device
) -> _Clip:
    """The model of ``folder`` through the encoders that will use it, with all inputs ready."""
    image, text = (open_encoder(f"open_clip:{folder}", modality, str(device)) for modality in ("image", "text"))
    if settings.init == "random":
        pixels = torch.cat(list(_pixels(image, pairs)))
        ids = _token_ids(text, captions)
        for encoder in (image, text):
            encoder.model.requires_grad_(True)
        sides = (
            _Side(image, "visual.", pixels, lambda x: image.forward(image.prepare({"pixels": x})), image.model),
            _Side(text, "", ids, lambda x: text.forward({"tokens": x}), text.model),
        )
    else:
        sides = (
            _locked(image, "visual.", "head", lambda: torch.cat(list(_outputs(image, pairs)))),
            _locked(text, "text.", "proj", lambda: torch.stack([_encode_texts(text, one) for one in captions])),
        )
    scale = nn.Parameter(torch.tensor(-math.log(settings.temperature), device=device))
    return _Clip(*sides, scale)


def _locked(encoder: Encoder, prefix: str, head: str, outputs: Callable[[], Tensor]) -> _Side:
    """A tower whose outputs are computed once, without the projection ``head``, which alone is trained."""
    projection = getattr(encoder.model, head)
    setattr(encoder.model, head, nn.Identity())
    inputs = outputs()
    setattr(encoder.model, head, projection.requires_grad_(True))
    return _Side(encoder, prefix, inputs, projection, projection)


def _pixels(encoder: Encoder, pairs: Pairs) -> Iterator[Tensor]:
    """Pictures as the encoder collates them, in the order of the pairs. shapes: (rows, 3, height, width), uint8"""
    waiting: list[bytes] = []
    with item_progress("reading pictures", len(pairs)) as bar:
        for at, (place, data) in enumerate(pairs.pictures()):
            if place != at:
                raise DataError("keys are not rising over all shards; rerun the media stage", path=pairs.images)
            waiting.append(data)
            if len(waiting) == encoder.batch_size or at == len(pairs) - 1:
                try:
                    batch = encoder.collate(waiting, 0)["pixels"][: len(waiting)]
                except ValueError as error:
                    keys = pairs.keys[at + 1 - len(waiting)], pairs.keys[at]
                    raise DataError(f"a picture from {keys[0]} to {keys[1]} {error}", path=pairs.images) from error
                yield batch
                bar.advance(len(waiting))
                waiting = []


def _outputs(encoder: Encoder, pairs: Pairs) -> Iterator[Tensor]:
    for pixels in _pixels(encoder, pairs):
        with torch.inference_mode():
            yield encoder.model(encoder.prepare({"pixels": pixels})["pixels"]).float().cpu()


def _token_ids(encoder: Encoder, captions: Sequence[list[str]]) -> Tensor:
    """shape: (V, N, T)"""
    length = max(encoder.padded_length(text) for kind in captions for text in kind)
    size = encoder.batch_size
    return torch.stack([
        torch.cat([
            encoder.collate(kind[at : at + size], length)["tokens"][: len(kind) - at] for at in range(0, len(kind), size)
        ])
        for kind in captions
    ])  # fmt: skip


def _encode_texts(encoder: Encoder, texts: list[str]) -> Tensor:
    """Outputs of the text tower, short texts first. shape: (N, width of the tower)"""
    lengths = [encoder.padded_length(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda at: lengths[at])
    rows: list[Tensor | None] = [None] * len(texts)
    with item_progress("reading texts", len(texts)) as bar:
        for begin in range(0, len(order), encoder.batch_size):
            some = order[begin : begin + encoder.batch_size]
            ids = encoder.collate([texts[at] for at in some], lengths[some[-1]])["tokens"].to(encoder.device)
            with torch.inference_mode():
                pooled = encoder.model(ids)[0].float().cpu()
            for at, row in zip(some, pooled, strict=False):
                rows[at] = row
            bar.advance(len(some))
    return torch.stack([row for row in rows if row is not None])


def _fit(
    clip: _Clip, parts: dict[Part, NDArray[np.int64]], settings: TrainClipSettings
) -> tuple[list[dict[str, float]], int]:
    """Train until the validation loss has stopped falling, and put the best epoch's weights back.

    :return: losses of each epoch, and the best epoch, from 1
    """
    from open_clip.loss import ClipLoss

    loss_of, train = ClipLoss(), torch.from_numpy(parts["train"])
    named = clip.parameters()
    decayed = [p for name, p in named if p.ndim > 1]
    plain = [p for name, p in named if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    rate = settings.learning_rate or (3e-3 if settings.init == "pretrained" else 1e-3)
    optimizer = torch.optim.AdamW(groups, rate, betas=(0.9, 0.98))
    size = min(settings.batch_size, len(train) // 2)
    steps = len(train) // size
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: _rate(at, steps * settings.epochs))
    generator = torch.Generator().manual_seed(settings.seed)
    drop = settings.dropout if settings.init == "pretrained" else 0.0
    kinds = len(settings.captions)

    history: list[dict[str, float]] = []
    best, kept = 0, [p.detach().clone() for _, p in named]
    with item_progress("training", settings.epochs, "epoch") as bar:
        for epoch in range(1, settings.epochs + 1):
            clip.train(True)
            total = 0.0
            order = train[torch.randperm(len(train), generator=generator)]
            for rows in order[: steps * size].split(size):
                kind = torch.randint(kinds, (size,), generator=generator)
                images, texts = clip.image.inputs[rows], clip.text.inputs[kind, rows]
                if drop:
                    images, texts = (_hide(x, drop, generator) for x in (images, texts))
                loss = loss_of(clip.image.vectors(images), clip.text.vectors(texts), clip.scale.exp())
                if not torch.isfinite(loss):
                    raise TrainingError(f"the loss of epoch {epoch} is {loss.item()}; lower learning_rate ({rate})")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    clip.scale.clamp_(0, _MOST_SCALE)
                total += loss.item()
            clip.train(False)
            images, texts = clip.vectors(parts["validation"])
            scale = clip.scale.detach().exp()
            losses = {"train": total / steps, "validation": _mean([loss_of(images, one, scale) for one in texts])}
            history.append(losses)
            if losses["validation"] < history[best - 1]["validation"] or best == 0:
                best, kept = epoch, [p.detach().clone() for _, p in named]
            bar.advance(1, **losses)
            log.info("finished epoch", epoch=epoch, **losses)
            if epoch - best >= settings.patience:
                break
    with torch.no_grad():
        for (_, parameter), value in zip(named, kept, strict=True):
            parameter.copy_(value)
    return history, best


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: a rise over a twentieth of the steps, then a cosine to 0."""
    rise = max(1, steps // 20)
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _hide(inputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
    return inputs * (torch.rand(inputs.shape, generator=generator) >= share) / (1 - share)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
