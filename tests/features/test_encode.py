from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from kgrec.config import parse_settings
from kgrec.data import schemas
from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features import encode as encode_module
from kgrec.features import local_engine
from kgrec.features.cache import cached_encoders
from kgrec.features.encode import FeaturesSettings, encode_features
from kgrec.features.encoders import Encoded, base, open_encoder
from kgrec.features.imports import ImportSettings
from kgrec.features.local_engine import Batch, encode_contents

ROOT = Path(__file__).resolve().parents[2]


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
    out = tmp_path / "out"
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def vectors(tmp_path: Path, modality: str, width: int) -> dict[str, np.ndarray]:
    table = read_parquet(tmp_path / "out" / "vectors" / f"{modality}.parquet", schemas.features(width))
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
    values = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    assert values.dtype == np.float16
    return dict(zip(table["key"].to_pylist(), values, strict=True))


@pytest.fixture(autouse=True)
def drift(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How drift was asked for; it has tests of its own."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(encode_module, "measure_drift", lambda *args: asked.append(args))
    return asked


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
    row = read_parquet(tmp_path / "out" / "vectors" / "image.parquet").to_pylist()[0]
    assert row["encoder"] == f"{tiny.open_clip}@{report['image']['fingerprint']}"


def test_drift_is_measured_on_what_was_written(
    media: Any, tmp_path: Path, plain: FeaturesSettings, drift: list[tuple[Any, ...]]
) -> None:
    media.write({}, TEXTS)
    out, baseline = tmp_path / "out", tmp_path / "baseline.parquet"
    encode_features(media.folder, out, plain, tmp_path / "cache", baseline=baseline)
    assert drift == [(out / "vectors", baseline, out, plain.drift)]
    assert sorted(path.name for path in drift[0][0].iterdir()) == ["text.parquet"]


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
    assert [name for name in output(tmp_path) if name.endswith("parquet")] == ["vectors/text.parquet"]


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

    def stop(self: base.Encoder, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 45:
            raise KeyboardInterrupt
        return encode(self, *args)

    monkeypatch.setattr(base.Encoder, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        run(media, tmp_path, clip)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists() or not output(tmp_path)
    report = run(media, tmp_path, clip)
    assert report["image"]["from_cache"] >= 8 * (45 - 2 * torch.get_num_threads())
    assert report["image"]["encoded"] + report["image"]["from_cache"] == 400


def test_an_encoder_that_cannot_be_had_leaves_nothing(media: Any, tmp_path: Path) -> None:
    media.write(IMAGES, TEXTS)
    with pytest.raises(EncoderUnavailable, match=r"'resnet50' cannot be had: no encoder has this name\. Choices:"):
        run(media, tmp_path, FeaturesSettings(image=None, text="resnet50"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "message"), [(1e6, "not finite in float16"), (0.0, "a vector of zeros")])
def test_a_vector_that_is_none_is_an_error_that_names_the_content(
    media: Any, tmp_path: Path, clip: FeaturesSettings, monkeypatch: pytest.MonkeyPatch, value: float, message: str
) -> None:
    media.write(IMAGES, TEXTS)
    encode = base.Encoder.encode
    vectors = torch.ones(8, 24)
    vectors[5] = value

    def spoil(self: base.Encoder, *args: Any) -> Encoded:
        return Encoded(vectors) if self.modality == "image" else encode(self, *args)

    monkeypatch.setattr(base.Encoder, "encode", spoil)
    key = sorted(IMAGES)[5]
    digest = sha256(IMAGES[key]).hexdigest()
    with pytest.raises(DataError, match=f"image content {digest} of {key} got .*{message}"):
        run(media, tmp_path, clip)
    assert output(tmp_path) == {}


def test_a_content_that_cannot_be_preprocessed_is_named(
    media: Any, tmp_path: Path, clip: FeaturesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    media.write(IMAGES, {})
    decode = base.ImageEncoder.collate

    def refuse(self: base.ImageEncoder, contents: Any, length: int) -> Any:
        if IMAGES["item:5"] in contents:
            raise ValueError("broken data stream")
        return decode(self, contents, length)

    monkeypatch.setattr(base.ImageEncoder, "collate", refuse)
    with pytest.raises(DataError, match=r"of item:5 cannot be preprocessed \(broken data stream\)"):
        run(media, tmp_path, clip)
    assert output(tmp_path) == {}


def rows_of(batches: Iterable[Batch]) -> dict[int, np.ndarray]:
    return {int(p): v for batch in batches for p, v in zip(batch.positions, batch.vectors, strict=True)}


@pytest.mark.parametrize("modality", ["image", "text"])
def test_workers_that_only_preprocess_give_the_same_vectors(
    tiny: Any, modality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where the calling thread runs the model."""
    encoder = open_encoder(tiny.open_clip, modality, "cpu")
    contents = list(enumerate((IMAGES if modality == "image" else TEXTS).values())) * 5
    contents = [(i, content) for i, (_, content) in enumerate(contents)]
    expected = rows_of(encode_contents(encoder, contents))
    assert expected.keys() == set(range(len(contents)))
    begin, in_flight, most = encoder.begin, 0, 0

    def follow(batch: Any, tokens: bool = False) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        wait = begin(batch, tokens)

        def finish() -> Encoded:
            nonlocal in_flight
            in_flight -= 1
            return wait()

        return finish

    encoder.begin = follow  # type: ignore[method-assign]
    monkeypatch.setattr(local_engine, "_on_cpu", lambda encoder: False)
    found = rows_of(encode_contents(encoder, contents, workers=3))
    assert found.keys() == expected.keys()
    assert most == 3  # one is begun before the result of the one before the last is asked for
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_gpu_gives_the_vectors_of_the_cpu_whatever_stands_beside_them(tiny: Any, modality: str) -> None:
    contents = list(enumerate((IMAGES if modality == "image" else TEXTS).values()))
    expected = rows_of(encode_contents(open_encoder(tiny.open_clip, modality, "cpu"), contents))
    encoder = open_encoder(tiny.open_clip, modality, "cuda", batch_size=4)
    found = rows_of(encode_contents(encoder, contents))
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=2e-3)
    again = rows_of(encode_contents(encoder, contents[::-1] * 5))
    assert all(np.array_equal(again[key], vector) for key, vector in found.items())


def test_exactly_what_changed_is_an_input_and_duplicates_once(
    media: Any, tmp_path: Path, clip: FeaturesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs: list[bytes] = []
    collate = base.ImageEncoder.collate

    def count(self: base.ImageEncoder, contents: Any, length: int) -> Any:
        inputs.extend(contents)
        return collate(self, contents, length)

    monkeypatch.setattr(base.ImageEncoder, "collate", count)
    settings = clip.model_copy(update={"text": None})
    images = IMAGES | {"item:90": IMAGES["item:4"], "item:91": IMAGES["item:4"]}
    media.write(images, {})
    run(media, tmp_path, settings)
    assert sorted(inputs) == sorted(set(IMAGES.values()))
    inputs.clear()
    images |= {"item:2": picture(77), "item:91": picture(78), "item:95": picture(78), "item:96": IMAGES["item:1"]}
    media.write(images, {})
    report = run(media, tmp_path, settings)["image"]
    assert sorted(inputs) == sorted([picture(77), picture(78)])
    assert (report["keys"], report["duplicates"], report["encoded"], report["from_cache"]) == (15, 3, 2, 10)


def test_cut_texts_are_counted_from_the_cache_too(media: Any, tmp_path: Path) -> None:
    settings = FeaturesSettings(image=None)
    long = " ".join(f"Sentence number {i} is here." for i in range(100))
    media.write({}, {"item:1": "short", "item:2": long, "item:3": long})
    first = run(media, tmp_path, settings)["text"]
    assert first["texts_cut"] == 2
    assert first["tokens_cut"] % 2 == 0
    assert 300 < first["tokens_cut"] // 2 < 600
    again = run(media, tmp_path, settings)["text"]
    assert again["encoded"] == 0
    assert (again["texts_cut"], again["tokens_cut"]) == (first["texts_cut"], first["tokens_cut"])


def test_tokens_are_written_beside_the_vectors(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES | {"item:99": IMAGES["item:3"]}, TEXTS)
    settings = clip.model_copy(update={"tokens": ("image", "text")})
    run(media, tmp_path, settings)
    plain = output(tmp_path)
    for modality, contents in (("image", IMAGES), ("text", TEXTS)):
        encoder = open_encoder(getattr(clip, modality), modality, "cpu")
        table = read_parquet(
            tmp_path / "out" / "tokens" / f"{modality}.parquet", schemas.feature_tokens(encoder.token_width or 0)
        )
        states = dict(zip(table["key"].to_pylist(), table["tokens"].to_pylist(), strict=True))
        assert list(states) == sorted([*contents, "item:99"] if modality == "image" else contents)
        for key, content in contents.items():
            encoded = encoder.encode(encoder.collate([content], encoder.padded_length(content)), True)
            expected = encoded.tokens[0][encoded.token_mask[0]]  # type: ignore[index]
            np.testing.assert_allclose(np.array(states[key], np.float32), expected.numpy(), atol=5e-3)
    assert run(media, tmp_path, settings)["text"]["encoded"] == 0
    assert output(tmp_path) == plain
    without = run(media, tmp_path, clip)  # has a cache of its own
    assert without["text"]["encoded"] == 12
    assert [path.name for path in (tmp_path / "out" / "tokens").iterdir()] == [".empty"]


def test_tokens_of_what_has_none_are_an_error(media: Any, tmp_path: Path, plain: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    for modality, message in (
        ("audio", "names audio, which features gives no encoder"),
        ("text", "has no token outputs"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(media, tmp_path, plain.model_copy(update={"tokens": (modality,)}))
    assert not (tmp_path / "out").exists()


def test_a_damaged_record_is_encoded_again(media: Any, tmp_path: Path, clip: FeaturesSettings) -> None:
    media.write(IMAGES, TEXTS)
    run(media, tmp_path, clip)
    before = output(tmp_path)
    (records,) = (tmp_path / "cache" / "image").rglob("records.bin")
    data = bytearray(records.read_bytes())
    data[100] ^= 1
    records.write_bytes(data)
    assert run(media, tmp_path, clip)["image"]["encoded"] == 11
    assert output(tmp_path) == before


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> FeaturesSettings:
    """Fast encoders without a model, for many contents: see ``benchmarks/features_memory.py``."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import features_memory
    finally:
        sys.path.pop(0)
    kinds = {"image": features_memory.SmallImages, "text": features_memory.SmallTexts}
    monkeypatch.setattr(local_engine, "open_encoder", lambda name, modality, *_: kinds[modality]())
    return FeaturesSettings(image=None, text="plain")


def test_the_order_in_which_the_cache_was_filled_changes_no_byte(
    media: Any, tmp_path: Path, plain: FeaturesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several row groups, out of the order of the cache, with contents that are shared."""
    monkeypatch.setattr(encode_module, "GROUP_ROWS", 128)
    rng = np.random.default_rng(0)
    texts = {f"item:{i:04d}": f"text {i % 700} " + "word " * (i % 7) for i in range(1000)}
    for part in np.array_split(rng.permutation(list(texts)), 4):
        media.write({}, {key: texts[key] for key in part})
        run(media, tmp_path, plain)
    media.write({}, texts)
    assert run(media, tmp_path, plain)["text"]["encoded"] == 0
    pieces = output(tmp_path)
    assert pq.read_metadata(tmp_path / "out" / "vectors" / "text.parquet").num_row_groups == 8
    assert run(media, tmp_path, plain, cache="other")["text"]["from_cache"] == 0
    assert output(tmp_path) == pieces


def test_token_row_groups_end_by_their_bytes() -> None:
    counts = np.array([3, 0, 5, 1, 9, 0, 0, 4], np.int32)
    for most in (1, 8, 10, 20, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encode_module, "GROUP_BYTES", most)
            parts = list(encode_module._parts(counts, 1))
        rows = [np.arange(8)[part] for part in parts]
        assert np.concatenate(rows).tolist() == list(range(8))
        assert all(2 * counts[part].sum() <= most or 2 * counts[part][1:].sum() < most for part in parts)
        assert (len(parts) == 1) == (most == 1000)


def test_a_killed_run_keeps_what_it_encoded_and_the_former_output(
    media: Any, tmp_path: Path, clip: FeaturesSettings
) -> None:
    settings = FeaturesSettings(text=None)
    media.write({"item:1": picture(1)}, {})
    run(media, tmp_path, settings)
    before = output(tmp_path)
    media.write({f"item:{i:03d}": picture(i) for i in range(2000)}, {})
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kgrec.features.encode import FeaturesSettings, encode_features\n"
        "media, out, cache = map(Path, sys.argv[1:])\n"
        "encode_features(media, out, FeaturesSettings(text=None), cache, 'cpu')\n"
    )
    folders = [str(media.folder), str(tmp_path / "out"), str(tmp_path / "cache")]
    process = subprocess.Popen([sys.executable, "-c", code, *folders])
    deadline = time.monotonic() + 60
    while (count := cached_encoders(tmp_path / "cache")[0].entries or 0) < 30:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert {name: data for name, data in output(tmp_path).items() if ".part/" not in name} == before
    media.write({f"item:{i:03d}": picture(i) for i in range(count)}, {})
    report = run(media, tmp_path, settings)["image"]
    assert report["from_cache"] >= count - 1
    assert list((tmp_path / "out").glob(".*")) == [] or not any(
        (tmp_path / "out").glob(".vectors.*.part/image.parquet")
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_catalogue() -> None:
    """A million items have 20 times as many, and 3 GiB beside the encoders."""
    command = [sys.executable, str(ROOT / "benchmarks" / "features_memory.py"), "--items", "50000"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert float(said.split("growth ")[1]) < 600


def test_imported_vectors_stand_beside_encoded_ones(media: Any, tmp_path: Path, plain: FeaturesSettings) -> None:
    media.write({}, TEXTS)
    files = tmp_path / "files"
    files.mkdir()
    matrix = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.save(files / "image_feat.npy", matrix)
    settings = plain.model_copy(update={"imports": {"poster_cnn": ImportSettings(file="image_feat.npy")}})
    report = encode_features(media.folder, tmp_path / "out", settings, tmp_path / "cache", imports=files)
    assert report["poster_cnn"]["keys"] == 3
    assert report.keys() == {"text", "poster_cnn"}
    found = vectors(tmp_path, "poster_cnn", 4)
    assert np.array_equal(np.stack([found[f"item:{i}"] for i in range(3)]), matrix.astype(np.float16))
    assert len(vectors(tmp_path, "text", 512)) == 12


def test_a_modality_is_encoded_or_imported(media: Any, tmp_path: Path, plain: FeaturesSettings) -> None:
    media.write({}, TEXTS)
    one = ImportSettings(file="a.npy")
    with pytest.raises(ConfigError, match="no folder of imported features"):
        run(media, tmp_path, plain.model_copy(update={"imports": {"poster": one}}))
    with pytest.raises(ConfigError, match="names text, which has an encoder"):
        run(media, tmp_path, plain.model_copy(update={"imports": {"text": one}}))
    with pytest.raises(ConfigError, match="imports"):
        parse_settings(FeaturesSettings, {"imports": {"../x": {"file": "a.npy"}}})


def test_clips_are_a_modality_like_others(media: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loudness(base.Encoder):
        modality, width = "audio", 3

        def preprocessing(self) -> dict[str, Any]:
            return {}

        libraries = preprocessing

        def padded_length(self, content: bytes) -> int:
            return len(content)

        def collate(self, contents: Any, length: int) -> dict[str, torch.Tensor]:
            rows = [torch.frombuffer(bytearray(content), dtype=torch.uint8)[:3].float() for content in contents]
            return {"samples": torch.stack(rows + rows[:1] * (self.batch_size - len(rows)))}

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["samples"]

    encoder = Loudness("loudness", torch.nn.Identity(), torch.device("cpu"), 4)
    monkeypatch.setattr(local_engine, "open_encoder", lambda *_: encoder)
    rows = [(f"item:{i}", sha256(bytes([i])).hexdigest(), bytes(range(i, i + 4)), 1.0, "wav") for i in range(1, 8)]
    table = pa.Table.from_pylist(
        [dict(zip(schemas.CLIPS.names, row, strict=True)) for row in rows], schema=schemas.CLIPS
    )
    write_parquet(table, media.folder / "audio" / "audio-00000.parquet", row_group_size=2)
    run(media, tmp_path, FeaturesSettings(image=None, text=None, audio="loudness"))
    found = vectors(tmp_path, "audio", 3)
    assert {key: vector.tolist() for key, vector in found.items()} == {
        f"item:{i}": [i, i + 1, i + 2] for i in range(1, 8)
    }


def test_missing_media_is_an_error_that_names_the_stage(tmp_path: Path, clip: FeaturesSettings) -> None:
    with pytest.raises(DataError, match="run the media stage first"):
        encode_features(tmp_path / "absent", tmp_path / "out", clip, tmp_path / "cache")
