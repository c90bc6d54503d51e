from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import hub, open_encoder, timm_models
from kgrec.features.torchvision_compat import prepare_torchvision
from kgrec.media.images import open_rgb
from tests.features.encoders.refusals import refusal

Alone = Callable[[str, Any, list[Any]], torch.Tensor]
MODELS = ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "test_mambaout"]


@pytest.fixture(scope="module")
def timm() -> Any:
    prepare_torchvision()
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def weights(timm: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file with random weights of one of timm's own tiny models, classifier and all."""
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("timm")

    def file(model: str) -> Path:
        path = root / f"{model}.safetensors"
        if not path.exists():
            torch.manual_seed(2)
            built = timm.create_model(model)
            state = {k: v + 0.1 * torch.randn(v.shape) if v.ndim > 1 else v for k, v in built.state_dict().items()}
            save_file({k: v.contiguous() for k, v in state.items()}, path)
        return path

    return file


def by_hand(timm: Any, model: str, file: Path, pictures: list[bytes]) -> torch.Tensor:
    """timm's own use: its transform, its loading, the model without classifier."""
    from safetensors.torch import load_file

    built = timm.create_model(model, num_classes=0).eval()
    missing, unexpected = built.load_state_dict(load_file(file), strict=False)
    assert not missing
    assert len(unexpected) <= 2
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(built), is_training=False)
    with torch.inference_mode():
        vectors: torch.Tensor = built(torch.stack([transform(open_rgb(picture)) for picture in pictures]))
    return vectors


@pytest.mark.parametrize("model", MODELS)
def test_features_are_what_timm_computes(
    model: str, timm: Any, weights: Callable[[str], Path], alone: Alone, pictures: list[bytes]
) -> None:
    name = f"timm:{model}@{weights(model)}"
    expected = by_hand(timm, model, weights(model), pictures)
    found = alone(name, "image", pictures)
    assert found.shape == expected.shape
    # pixels differ by a rounding to one of 255 levels here and there
    assert (torch.nn.functional.cosine_similarity(found, expected) > 0.9999).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().max()))
    encoder = open_encoder(name, "image", "cpu", batch_size=4)
    together = encoder.encode(encoder.collate(pictures, 0), tokens=True)
    torch.testing.assert_close(together.vectors, found, rtol=0, atol=1e-6)
    assert torch.equal(encoder.encode(encoder.collate(pictures[::-1], 0)).vectors.flip(0), found)
    assert together.tokens is not None
    assert together.token_mask is not None
    assert together.tokens.shape == (4, 100 if model == "test_vit" else 25, encoder.token_width)
    assert together.token_mask.all()
    assert encoder.width == found.shape[1]


def test_tokens_are_patches_whatever_the_layout(timm: Any) -> None:
    class Model:
        num_features, num_prefix_tokens = 8, 1

    sequence, rows_last, rows_first = torch.rand(2, 13, 8), torch.rand(2, 3, 4, 8), torch.rand(2, 8, 3, 4)
    assert torch.equal(timm_models.places(sequence, Model), sequence[:, 1:])
    assert torch.equal(timm_models.places(rows_last, Model)[:, 5], rows_last[:, 1, 1])
    assert torch.equal(timm_models.places(rows_first, Model)[:, 5], rows_first[:, :, 1, 1])


@pytest.mark.parametrize(
    "data",
    [
        {"input_size": [3, 160, 160], "crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"},
        {"input_size": [3, 224, 224], "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bilinear"},
        {"input_size": [3, 96, 64], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"},
        {"input_size": [3, 96, 96], "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bicubic"},
        {"input_size": [3, 96, 96], "crop_pct": 1.0, "crop_mode": "border", "interpolation": "bicubic"},
        {"input_size": [3, 96, 64], "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"},
    ],
    ids=lambda data: f"{data['crop_mode']}-{data['crop_pct']}-{data['interpolation']}",
)
def test_pictures_are_prepared_as_timm_does(timm: Any, data: dict[str, Any]) -> None:
    data = data | {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
    ours, side = timm_models._transform(data)
    theirs = timm.data.create_transform(**data, is_training=False)
    assert side >= min(data["input_size"][1:])
    for seed, size in enumerate(((300, 444), (444, 300), (90, 131), (640, 640))):
        blocks = np.random.default_rng(seed).integers(0, 256, (20, 14, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
        pixels = ours(picture)
        if isinstance(ours, timm_models.Middle):
            pixels = ours.normalise(pixels[None])[0]
        levels = (pixels - theirs(picture)).abs() * torch.tensor(data["std"]).view(3, 1, 1) * 255
        assert levels.max() <= 3.5
        assert levels.mean() <= 0.3


def test_a_configuration_beside_the_file_goes_before_timms(
    timm: Any, weights: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(weights("test_resnet").read_bytes())
    config = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "input_size": [3, 96, 96]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = open_encoder(f"timm:test_resnet@{file}", "image", "cpu")
    assert encoder.preprocessing()["mean"] == [0.1, 0.2, 0.3]
    assert encoder.preprocessing()["input_size"] == [3, 96, 96]
    assert encoder.fingerprint != open_encoder(f"timm:test_resnet@{weights('test_resnet')}", "image", "cpu").fingerprint
    (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "resnet18"}))
    with pytest.raises(EncoderUnavailable, match=r"config.json describes a resnet18, not a test_resnet"):
        open_encoder(f"timm:test_resnet@{file}", "image", "cpu")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(EncoderUnavailable, match=r"config.json is not a timm configuration"):
        open_encoder(f"timm:test_resnet@{file}", "image", "cpu")


def test_a_checkpoint_of_torch_and_one_without_classifier_are_read(
    weights: Callable[[str], Path], tmp_path: Path, alone: Alone, pictures: list[bytes]
) -> None:
    from safetensors.torch import load_file, save_file

    expected = alone(f"timm:test_vit@{weights('test_vit')}", "image", pictures)
    state = load_file(weights("test_vit"))
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "run.pth")
    assert torch.equal(alone(f"timm:test_vit@{tmp_path / 'run.pth'}", "image", pictures), expected)
    save_file({k: v for k, v in state.items() if not k.startswith("head.")}, tmp_path / "features.safetensors")
    assert torch.equal(alone(f"timm:test_vit@{tmp_path / 'features.safetensors'}", "image", pictures), expected)


class Code:
    def __reduce__(self) -> Any:
        return print, ("code has run",)


def test_weights_that_do_not_fit(
    weights: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weights("test_vit"))
    save_file({k: v for k, v in state.items() if k != "blocks.1.mlp.fc1.weight"}, tmp_path / "missing.safetensors")
    save_file(state | {"blocks.99.x": torch.zeros(1)}, tmp_path / "more.safetensors")
    (tmp_path / "half.safetensors").write_bytes(weights("test_vit").read_bytes()[:1000])
    torch.save({"state_dict": state, "args": Code()}, tmp_path / "code.pth")
    for file, reason in (
        ("missing.safetensors", "blocks.1.mlp.fc1.weight"), ("more.safetensors", "blocks.99.x"),
        ("half.safetensors", "does not load as test_vit"), ("code.pth", "does not load as test_vit"),
    ):  # fmt: skip
        with pytest.raises(EncoderUnavailable) as error:
            open_encoder(f"timm:test_vit@{tmp_path / file}", "image", "cpu")
        assert reason in str(error.value)
    assert "code has run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timm:vit_base_patch16_242", "no model 'vit_base_patch16_242'; it has vit_base_patch16_2"),
        ("timm:test_vit.r160", "no tag 'r160' for test_vit; tags: r160_in1k"),
        ("timm:test_vit@/nowhere/vit.safetensors", "no file /nowhere/vit.safetensors"),
        ("timm:owner/model", "not of the form timm:<model>"),
        ("timm:vit_base_patch8_1024", "no model"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_can(name: str, reason: str) -> None:
    assert reason in refusal(name)


def test_a_model_without_published_weights_is_never_random() -> None:
    with pytest.raises(EncoderUnavailable, match="timm has no weights of it on the hub, or a local file"):
        open_encoder("timm:vit_small_patch16_18x2_224", "image", "cpu")


def test_the_hub_is_asked_for_the_tags_repository(
    timm: Any, weights: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    (tmp_path / "model.safetensors").write_bytes(weights("test_vit").read_bytes())
    monkeypatch.setattr(timm_models, "from_hub", lambda name, repository, files: asked.append(repository) or tmp_path)
    for name in ("timm:test_vit", "timm:test_vit.r160_in1k"):
        assert open_encoder(name, "image", "cpu").width == 64
    assert asked == ["timm/test_vit.r160_in1k"] * 2
    assert hub.from_hub is not timm_models.from_hub
