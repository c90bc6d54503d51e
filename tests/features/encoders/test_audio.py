from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

pytest.importorskip("av", reason="needs the extra `clips`")

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import convolutions, open_encoder, parts
from kgrec.features.encoders.audio import MelCnn, TransformersAudio, log_mel, missing_packages, window_starts
from kgrec.features.torchvision_compat import prepare_torchvision
from kgrec.media.clips import waveform
from tests.clips import RATE, sound, tone, video

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> MelCnn:
    return MelCnn("mel-cnn/random-7", CPU, batch_size=4)


def vectors(encoder: parts.PartsEncoder, *contents: bytes) -> torch.Tensor:
    """Each content in a batch of its own."""
    return torch.cat([encoder.encode(encoder.collate([content], 0)).vectors[:1] for content in contents])


def noise(seed: int, seconds: float = 3.0) -> np.ndarray[Any, Any]:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def test_the_spectrogram_is_that_of_the_formula() -> None:
    """Slaney's scale (linear to 1 kHz, then logarithmic), triangles of equal area, powers of Hann-windowed FFTs."""
    samples = (tone(1000, 1.0, 16_000) + 0.1 * tone(3333, 1.0, 16_000)).astype(np.float32)

    def hertz(mel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    highest = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    edges = hertz(np.linspace(0, highest, 66))
    bins = np.arange(257) * 16_000 / 512
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    hann = np.zeros(512)
    hann[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    columns = [np.abs(np.fft.rfft(hann * samples[160 * i : 160 * i + 512].astype(float))) ** 2 for i in range(97)]
    power = filters @ np.array(columns).T
    expected = (10 * np.log10(np.maximum(power, 1e-6)) + 60) / 40
    found = log_mel(samples)
    assert found.shape == (64, 97)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4
    assert int(found[:, 50].argmax()) == int(np.abs(edges[1:-1] - 1000).argmin())


def test_windows_cover_a_sound_from_beginning_to_end() -> None:
    assert window_starts(100, 256, 9) == [0]
    assert window_starts(256, 256, 9) == [0]
    assert window_starts(257, 256, 9) == [0, 1]
    assert window_starts(512, 256, 9) == [0, 256]
    starts = window_starts(1000, 256, 9)
    assert (starts[0], starts[-1] + 256) == (0, 1000)
    assert all(b - a <= 256 for a, b in pairwise(starts))
    assert window_starts(100_000, 256, 3) == [0, 49_872, 99_744]


def test_a_vector_is_the_mean_over_windows(encoder: MelCnn) -> None:
    content = sound(noise(0, 7.0))
    mel = log_mel(np.pad(waveform(content, 16_000), 256))
    assert mel.shape == (64, 701)
    with torch.inference_mode():
        rows = [encoder.model(torch.from_numpy(mel[None, None, :, s : s + 256])) for s in (0, 222, 445)]
    result = encoder.encode(encoder.collate([content], 0), tokens=True)
    torch.testing.assert_close(result.vectors[0], torch.cat(rows).mean(0), rtol=1e-5, atol=1e-6)
    assert result.tokens is not None
    assert result.token_mask is not None
    assert result.tokens.shape == (4, 3, encoder.width) == (4, 3, encoder.token_width) == (4, 3, 64)
    torch.testing.assert_close(result.tokens[0], torch.cat(rows), rtol=1e-5, atol=1e-6)
    assert result.token_mask.all()


def test_what_sounds_different_is_further_than_what_sounds_alike(encoder: MelCnn) -> None:
    """Even without training, if not by much: textures, not meanings."""
    low = sound(tone(300))
    still = [np.zeros((64, 64, 3), np.uint8)] * 72
    lossy = [sound(tone(300), kind) for kind in ("mp3", "ogg", "mp4")] + [video(still, audio=tone(300))]
    alike = cosine_similarity(vectors(encoder, low), vectors(encoder, *lossy)).min()
    assert alike > 0.999
    lossless = vectors(encoder, low, sound(tone(300), "flac"), sound(np.stack([tone(300), tone(300)])))
    assert torch.equal(lossless[0], lossless[1])
    assert torch.equal(lossless[0], lossless[2])  # both channels, the same sound
    chirp = 0.5 * np.sin(2 * np.pi * np.cumsum(np.linspace(200, 2000, 3 * RATE)) / RATE)
    others = vectors(encoder, low, *map(sound, (tone(900), tone(3000), noise(0), chirp, chirp[::-1])))
    cosines = cosine_similarity(others[:, None], others[None], dim=-1) - 2 * torch.eye(6)
    assert 1 - cosines.max() > 5 * (1 - alike)
    noises = vectors(encoder, sound(noise(1)), sound(noise(2)))
    assert cosine_similarity(noises[:1], noises[1:]) > 0.999 > 0.99 > cosine_similarity(noises[:1], others[:1])


def test_a_vector_does_not_depend_on_its_neighbours_or_its_place(encoder: MelCnn) -> None:
    contents = [sound(noise(seed, seconds)) for seed, seconds in enumerate((0.5, 9.0, 3.0, 30.0))]
    alone = vectors(encoder, *contents)
    together = encoder.encode(encoder.collate(contents, 0)).vectors
    turned = encoder.encode(encoder.collate(contents[::-1], 0)).vectors.flip(0)
    assert torch.equal(alone, together)
    assert torch.equal(alone, turned)


def test_of_a_long_sound_windows_are_heard_evenly(encoder: MelCnn) -> None:
    assert encoder.most == 62
    content = sound(np.concatenate([tone(300, 100, 8000), 0.2 * tone(1000, 100, 8000)]), "flac", 8000)
    found = encoder.parts(content)["mel"]
    assert found.shape == (62, 64, 256)
    assert encoder.padded_length(content) == 64
    loudest = found.amax(dim=(1, 2))
    assert (loudest[:31] > loudest[31:].max()).all()


def test_sounds_of_like_length_share_a_batch(encoder: MelCnn) -> None:
    lengths = [encoder.padded_length(sound(tone(300, seconds), "flac")) for seconds in (0.1, 2.5, 3.0, 5.0, 11.0, 20.0)]
    assert lengths == [1, 1, 2, 2, 8, 8]
    assert encoder.padded_length(b"nothing") == 0


@pytest.mark.parametrize("samples", [100, 400, 4800])
def test_a_sound_however_short_has_a_vector(encoder: MelCnn, samples: int) -> None:
    assert torch.isfinite(vectors(encoder, sound(0.5 * np.ones(samples)))).all()


def test_silence_has_a_vector_of_its_own(encoder: MelCnn) -> None:
    silence, some = vectors(encoder, sound(np.zeros(RATE)), sound(noise(0, 1.0)))
    assert torch.isfinite(silence).all()
    assert silence.norm() > 0
    assert not torch.equal(silence, some)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", sound(tone(300), "flac")[:3000], video([np.zeros((64, 64, 3), np.uint8)] * 9)]
)
def test_what_cannot_be_decoded_is_a_value_error(encoder: MelCnn, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        encoder.collate([content], 0)


def test_random_weights_come_from_their_seed_and_a_file_gives_its_own(tmp_path: Path) -> None:
    content = sound(noise(0))
    first, again, other = (MelCnn(f"mel-cnn/random-{seed}", CPU, 4) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(vectors(first, content), vectors(again, content))
    assert not torch.equal(vectors(first, content), vectors(other, content))
    weights = [parameter for parameter in first.model.parameters() if parameter.dim() > 1]
    for weight in weights:  # He et al., 2015: variance 2 / fan-in
        assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.2)
    path = tmp_path / "trained.safetensors"
    convolutions.save(first.model, path)  # type: ignore[arg-type]
    loaded = MelCnn(f"mel-cnn@{path}", CPU, 4)
    assert torch.equal(vectors(loaded, content), vectors(first, content))
    assert loaded.description["weights"] == first.description["weights"]
    assert loaded.description["libraries"].keys() >= {"torch", "av", "libavcodec", "libswresample", "librosa", "numpy"}


def test_what_cannot_be_had_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "wrong.safetensors"
    convolutions.save(convolutions.network((1, 2), 2), wrong)
    (tmp_path / "no.safetensors").write_bytes(b"x")
    for name, reason in (
        ("mel-cnn", "not of the form mel-cnn/random-<seed>"),
        ("mel-cnn/random--1", "not of the form"),
        ("mel-cnn@/nowhere", "there is no file /nowhere"),
        (f"mel-cnn@{wrong}", r"does not hold the weights 0\.weight \(16, 1, 3, 3\)"),
        (f"mel-cnn@{tmp_path}/no.safetensors", "does not hold the weights"),
    ):
        with pytest.raises(EncoderUnavailable, match=reason):
            MelCnn(name, CPU)
    monkeypatch.setattr(parts, "_NEEDED", ("no_such_module",))
    with pytest.raises(EncoderUnavailable, match=r"no_such_module not installed; pip install 'kgrec\[clips\]'"):
        MelCnn("mel-cnn/random-0", CPU)


def test_bfloat16_is_close(encoder: MelCnn) -> None:
    rounded = MelCnn("mel-cnn/random-7", CPU, 4, "bfloat16")
    contents = (sound(noise(0)), sound(tone(500)))
    assert cosine_similarity(vectors(encoder, *contents), vectors(rounded, *contents)).min() > 0.999
    assert rounded.fingerprint != encoder.fingerprint


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare_torchvision()
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_length=128,
        num_mel_bins=32,
    )
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor(max_length=128, num_mel_bins=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def claps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One CLAP of each way to treat long sounds."""
    prepare_torchvision()
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    folders = {}
    for way in ("rand_trunc", "fusion"):
        folders[way] = tmp_path_factory.mktemp("clap")
        torch.manual_seed(0)
        heard = {
            "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 16, "hidden_size": 32,
            "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "num_hidden_layers": 2,
            "enable_fusion": way == "fusion", "enable_patch_fusion": way == "fusion",
        }  # fmt: skip
        read = {
            "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        }  # fmt: skip
        ClapModel(ClapConfig(audio_config=heard, text_config=read, projection_dim=24)).save_pretrained(folders[way])
        ClapFeatureExtractor(
            feature_size=16, sampling_rate=16_000, max_length_s=2, hop_length=160, frequency_max=8000, truncation=way
        ).save_pretrained(folders[way])
    return folders


def test_the_spectrogram_transformer_is_what_transformers_computes(ast: Path) -> None:
    from transformers import ASTFeatureExtractor, ASTModel

    ours = TransformersAudio(f"transformers:{ast}", CPU, batch_size=2)
    content = sound(noise(0, 1.2))
    model, extractor = ASTModel.from_pretrained(ast).eval(), ASTFeatureExtractor.from_pretrained(ast)
    samples = waveform(content, 16_000)
    with torch.inference_mode():
        inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
        expected = model(**inputs).pooler_output
    torch.testing.assert_close(vectors(ours, content), expected, rtol=1e-5, atol=1e-5)
    long = sound(noise(0, 2 * (127 * 160 + 400) / 16_000))  # two windows to the sample
    halves = np.split(waveform(long, 16_000), 2)
    with torch.inference_mode():
        rows = [model(**extractor(half, sampling_rate=16_000, return_tensors="pt")).pooler_output for half in halves]
    torch.testing.assert_close(vectors(ours, long), torch.stack(rows).mean(0), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(rows[0], rows[1], atol=1e-4)


@pytest.mark.parametrize("way", ["rand_trunc", "fusion"])
def test_claps_audio_half_is_what_transformers_computes(claps: dict[str, Path], way: str) -> None:
    from transformers import ClapFeatureExtractor, ClapModel

    clap = claps[way]
    ours = TransformersAudio(f"transformers:{clap}", CPU, batch_size=2)
    assert ours.width == 24
    content = sound(noise(0, 1.5))
    model, extractor = ClapModel.from_pretrained(clap).eval(), ClapFeatureExtractor.from_pretrained(clap)
    inputs = extractor(waveform(content, 16_000), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states = model.audio_model(input_features=inputs["input_features"].float(), is_longer=torch.tensor([[False]]))
        expected = torch.nn.functional.normalize(model.audio_projection(states.pooler_output), dim=-1)
    torch.testing.assert_close(vectors(ours, content), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["ast", "rand_trunc", "fusion"])
def test_transformers_vectors_do_not_depend_on_neighbours_or_chance(
    family: str, ast: Path, claps: dict[str, Path]
) -> None:
    ours = TransformersAudio(f"transformers:{ast if family == 'ast' else claps[family]}", CPU, batch_size=3)
    contents = [sound(noise(0, 7.0)), sound(tone(440, 0.01)), sound(noise(1, 2.5))]
    alone = vectors(ours, *contents)
    assert torch.isfinite(alone).all()
    np.random.seed(5)  # CLAP's extractor draws from it where a sound is too long
    assert torch.equal(alone, ours.encode(ours.collate(contents, 0)).vectors)
    assert (alone[0] - alone[2]).abs().max() > 1e-4
    assert ours.description["preprocessing"]["window"] == ours._window


def test_folders_that_do_not_serve_are_named(ast: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="no folder /nowhere"):
        TransformersAudio("transformers:/nowhere", CPU)
    broken = shutil.copytree(ast, tmp_path / "ast")
    (broken / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderUnavailable, match="no usable preprocessor_config"):
        TransformersAudio(f"transformers:{broken}", CPU)
    from transformers import BertConfig, BertModel

    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    ).save_pretrained(tmp_path / "bert")
    shutil.copy(ast / "preprocessor_config.json", tmp_path / "bert")
    with pytest.raises(EncoderUnavailable, match="holds a bert model; known are AST and CLAP"):
        TransformersAudio(f"transformers:{tmp_path / 'bert'}", CPU)


def test_they_open_by_name(ast: Path) -> None:
    assert type(open_encoder("mel-cnn/random-0", "audio", "cpu")) is MelCnn
    assert type(open_encoder(f"transformers:{ast}", "audio", "cpu")) is TransformersAudio
    assert missing_packages() == ""
