from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import read_parquet
from kgrec.errors import DataError, EncoderUnavailable
from kgrec.features.encode import FeaturesSettings, _encode, encode_features
from kgrec.features.encoders import base, open_encoder


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((90, 120), Image.Resampling.BILINEAR).save(stream, "JPEG")
    return stream.getvalue()


IMAGES = {f"item:{i}": picture(i) for i in range(11)}
TEXTS = {f"item:{i}": f"Film {i}. " + "A plot of words. " * i for i in range(11)} | {"entity:m.1": "A. Person"}


def run(media: Any, tmp_path: Path, settings: FeaturesSettings, cache: str = "cache") -> dict[str, Any]:
    return encode_features(media.folder, tmp_path / "out", settings, tmp_path / cache, "cpu")


def output(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())}


def vectors(tmp_path: Path, modality: str, width: int) -> dict[str, np.ndarray]:
    table = read_parquet(tmp_path / "out" / f"{modality}.parquet", schemas.features(width))
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
    values = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    assert values.dtype == np.float16
    return dict(zip(table["key"].to_pylist(), values, strict=True))


@pytest.fixture
def clip(tiny: Any) -> FeaturesSettings:
    return FeaturesSettings(image=tiny.open_clip, text=tiny.open_clip)


def test_each_key_gets_the_vector_of_its_content(media: Any, tmp_path: Path, clip: FeaturesSettings, tiny: Any) -> None:
    media.write(IMAGES, TEXTS)
    report = run(media, tmp_path, clip)
    counts = {"keys": 11, "duplicates": 0, "encoded": 11, "from_cache": 0, "width": 24}
    assert counts.items() <= report["image"].items()
    assert report["text"]["encoded"] == 12
    found = vectors(tmp_path, "text", 24)
    assert found.keys() == TEXTS.keys()
    import open_clip

    tokens = open_clip.get_tokenizer("kgrec-tiny")(list(TEXTS.values()))
    with torch.inference_mode():
        expected = tiny.open_clip_model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(np.stack([found[key] for key in TEXTS]), expected, atol=5e-4)
    row = read_parquet(tmp_path / "out" / "image.parquet").to_pylist()[0]
    assert row["encoder"] == f"{tiny.open_clip}@{report['image']['fingerprint']}"


def test_one_changed_poster_is_one_picture_encoded(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, clip)
    before = vectors(tmp_path, "image", 24)
    media.write(IMAGES | {"item:4": picture(99)}, TEXTS)
    report = run(media, tmp_path, clip)
    assert (report["image"]["encoded"], report["image"]["from_cache"]) == (1, 10)
    assert (report["text"]["encoded"], report["text"]["from_cache"]) == (0, 12)
    after = vectors(tmp_path, "image", 24)
    assert {key for key in after if not np.array_equal(after[key], before[key])} == {"item:4"}


def test_a_second_run_encodes_nothing_and_writes_the_same(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, clip)
    before = output(tmp_path)
    report = run(media, tmp_path, clip)
    assert (report["image"]["encoded"], report["text"]["encoded"]) == (0, 0)
    assert output(tmp_path) == before


@pytest.mark.parametrize("real", [False, True], ids=["tiny CLIP", "packaged encoders"])
def test_a_cache_filled_piece_by_piece_and_no_cache_give_equal_bytes(
    media: Any, tmp_path: Path, clip: FeaturesSettings, real: bool
) -> None:
    settings = FeaturesSettings() if real else clip
    for part in (["item:7"], ["item:3", "item:9", "item:1"], list(IMAGES)):
        media.write({key: IMAGES[key] for key in part}, {key: TEXTS[key] for key in part})
        run(media, tmp_path, settings)
    pieces = output(tmp_path)
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        report = run(media, tmp_path, settings)
        assert torch.get_num_threads() == (2 if threads == 1 else 1)
    finally:
        torch.set_num_threads(threads)
    assert report["image"]["from_cache"] == 0
    assert output(tmp_path) == pieces


def test_shared_contents_are_encoded_once(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write({"item:1": picture(1), "item:2": picture(1), "item:3": picture(3)}, {"item:1": "a", "item:2": "a"})
    report = run(media, tmp_path, clip)
    assert (report["image"]["encoded"], report["image"]["duplicates"]) == (2, 1)
    assert (report["text"]["encoded"], report["text"]["duplicates"]) == (1, 1)
    found = vectors(tmp_path, "image", 24)
    assert np.array_equal(found["item:1"], found["item:2"])
    assert not np.array_equal(found["item:1"], found["item:3"])


def test_another_encoder_does_not_see_the_first_ones_vectors(media: Any, tmp_path: Path, tiny: Any) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, FeaturesSettings(image=tiny.open_clip, text=None))
    report = run(media, tmp_path, FeaturesSettings(image=tiny.transformers, text=None))
    assert (report["image"]["encoded"], report["image"]["from_cache"]) == (11, 0)
    report = run(media, tmp_path, FeaturesSettings(image=tiny.open_clip, text=None, batch_size=3))
    assert report["image"]["from_cache"] == 0  # sums may be rounded otherwise in batches of another size


def test_other_weights_under_the_same_name_are_another_encoder(media: Any, tmp_path: Path, tiny: Any) -> None:
    from safetensors.torch import load_file, save_file

    weights = tmp_path / "clip.safetensors"
    settings = FeaturesSettings(image=f"open_clip:kgrec-tiny@{weights}", text=None)
    media.write(IMAGES, TEXTS)
    state = load_file(tiny.weights)
    save_file(state, weights)
    run(media, tmp_path, settings)
    state["visual.class_embedding"][0] += 1e-3
    save_file(state, weights)
    assert run(media, tmp_path, settings)["image"]["encoded"] == 11


def test_a_modality_left_out_has_no_file(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, clip)
    report = run(media, tmp_path, FeaturesSettings(image=None, text=clip.text))
    assert report.keys() == {"text"}
    assert list(output(tmp_path)) == ["text.parquet"]


def test_no_pictures_is_an_empty_table_of_the_right_width(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write({}, {"item:1": "a"}, shards=1)
    assert run(media, tmp_path, clip)["image"]["keys"] == 0
    assert vectors(tmp_path, "image", 24) == {}


def test_a_damaged_cache_is_begun_anew(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, clip)
    before = output(tmp_path)
    for path in (tmp_path / "cache").rglob("*.sqlite"):
        path.write_bytes(b"not a database at all" * 100)
    assert run(media, tmp_path, clip)["image"]["encoded"] == 11
    assert output(tmp_path) == before


def test_an_interrupted_run_leaves_no_output_and_keeps_what_it_encoded(
    media: Any, tmp_path: Path, clip: FeaturesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"item:{i:03d}": picture(i) for i in range(400)}
    media.write(images, {"item:1": "a"})
    calls = 0
    encode = base.Encoder.encode

    def stop(self: base.Encoder, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 45:
            raise KeyboardInterrupt
        return encode(self, batch)

    monkeypatch.setattr(base.Encoder, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        run(media, tmp_path, clip)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists() or not output(tmp_path)
    report = run(media, tmp_path, clip)
    assert report["image"]["from_cache"] >= 256
    assert report["image"]["encoded"] + report["image"]["from_cache"] == 400


def test_an_encoder_that_cannot_be_had_leaves_nothing(media: Any, tmp_path: Path) -> None:
    media.write(IMAGES, TEXTS)
    with pytest.raises(EncoderUnavailable, match=r"'resnet50' cannot be had: no encoder has this name\. Choices:"):
        run(media, tmp_path, FeaturesSettings(image=None, text="resnet50"))
    assert not (tmp_path / "out").exists()


def test_a_vector_that_is_not_finite_is_an_error(
    media: Any, tmp_path: Path, clip: FeaturesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    media.write(IMAGES, TEXTS)
    monkeypatch.setattr(base.Encoder, "encode", lambda self, batch: base.Encoded(torch.full((8, 24), 1e6)))
    with pytest.raises(DataError, match=r"not finite in float16 for content [0-9a-f]{64}"):
        run(media, tmp_path, clip)
    assert not (tmp_path / "out").exists() or not output(tmp_path)


def test_workers_that_only_preprocess_give_the_same_vectors(tiny: Any) -> None:
    """As on a GPU, where the calling thread runs the model."""
    encoder = open_encoder(tiny.open_clip, "image", "cpu")
    contents = [(f"{i:064x}", IMAGES[f"item:{i}"]) for i in range(11)]
    expected = dict(row for rows in _encode(encoder, iter(contents), 11) for row in rows)
    encoder.encode = lambda batch: base.Encoded(encoder.forward(batch))  # type: ignore[method-assign,assignment]
    encoder.device = SimpleNamespace(type="other")  # type: ignore[assignment]
    with torch.inference_mode():
        found = dict(row for rows in _encode(encoder, iter(contents), 11) for row in rows)
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-3)


def test_missing_media_is_an_error_that_names_the_stage(tmp_path: Path, clip: FeaturesSettings) -> None:
    with pytest.raises(DataError, match="run the media stage first"):
        encode_features(tmp_path / "absent", tmp_path / "out", clip, tmp_path / "cache")
