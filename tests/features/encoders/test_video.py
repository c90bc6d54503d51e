from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn.functional import cosine_similarity

pytest.importorskip("av", reason="needs the extra `clips`")

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import convolutions, open_encoder
from kgrec.features.encoders.parts import PartsEncoder
from kgrec.features.encoders.video import FrameMean, VideoCnn, stretch_moments
from kgrec.media.clips import frames
from tests.clips import backdrop, numbered, sound, square, tone, video

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> VideoCnn:
    return VideoCnn("video-cnn/random-7", CPU, batch_size=4)


@pytest.fixture(scope="module")
def pictures(tiny: Any) -> FrameMean:
    return FrameMean(f"frames:{tiny.open_clip}", CPU, batch_size=3)


def vectors(encoder: PartsEncoder, *contents: bytes) -> torch.Tensor:
    """Each content in a batch of its own."""
    return torch.cat([encoder.encode(encoder.collate([content], 0)).vectors[:1] for content in contents])


def by_hand(encoder: FrameMean, content: bytes) -> torch.Tensor:
    """Frames at the middles of eight equal parts, encoded as files; the mean. shape: (8, width)"""
    images = open_encoder(encoder.name.removeprefix("frames:"), "image", "cpu", batch_size=encoder.batch_size)
    rows = []
    for image in frames(content, lambda seconds: [seconds * (2 * part + 1) / 16 for part in range(8)]):
        stream = io.BytesIO()
        image.save(stream, "PNG")
        rows.append(images.encode(images.collate([stream.getvalue()], 0)).vectors[0])
    return torch.stack(rows)


def test_frames_are_encoded_as_pictures_and_averaged(pictures: FrameMean) -> None:
    content = video(square(60))
    expected = by_hand(pictures, content)
    result = pictures.encode(pictures.collate([content, video(square(9))], 0), tokens=True)
    assert result.vectors.shape == (3, pictures.width) == (3, 24)
    torch.testing.assert_close(result.vectors[0], expected.mean(0), rtol=1e-5, atol=1e-6)
    assert result.tokens is not None
    assert torch.equal(result.tokens[0], expected)
    assert (expected[0] - expected[5]).abs().max() > 1e-3
    assert pictures.description["preprocessing"]["picture"] == pictures.pictures.preprocessing()
    assert pictures.description["weights"] == pictures.pictures.description["weights"]


def test_a_batch_smaller_than_a_videos_frames_changes_nothing() -> None:
    content = video(square(20))
    one = FrameMean("frames:efficientnet-lite0", CPU, batch_size=1)
    assert one.width == 1280
    torch.testing.assert_close(vectors(one, content)[0], by_hand(one, content).mean(0), rtol=1e-5, atol=1e-6)


def test_stretches_are_what_the_network_sees(network: VideoCnn) -> None:
    data = video(numbered(200), rate=25, g="20")  # eight seconds: stretches at 0.5, 2.5, 4.5 and 6.5
    times = [start + (frame + 0.5) / 8 for start in (0.5, 2.5, 4.5, 6.5) for frame in range(8)]
    np.testing.assert_allclose(stretch_moments(8.0), times)
    images = frames(data, lambda seconds: times)
    pixels = np.stack([np.asarray(ImageOps.fit(i, (112, 112), Image.Resampling.BILINEAR)) for i in images])
    inputs = torch.from_numpy(pixels.reshape(4, 8, 112, 112, 3)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    batch = network.collate([data], 0)
    assert batch["pixels"].dtype == torch.uint8
    assert batch["pixels"].shape == (4, 4, 3, 8, 112, 112)
    with torch.inference_mode():
        rows = torch.cat([network.model(inputs[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(vectors(network, data)[0], rows.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 0.04, 0.5, 1.0, 1.7, 600.0])
def test_moments_lie_in_the_video(seconds: float) -> None:
    moments = stretch_moments(seconds)
    assert len(moments) == 32
    assert min(moments) >= 0
    assert max(moments) <= max(seconds, 1.0)


def test_movement_and_colour_are_seen(network: VideoCnn, pictures: FrameMean) -> None:
    right = square(48, 2)
    one, left, blue, *same = (
        video(right), video(right[::-1]), video(square(48, 2, (20, 20, 250))),
        video(right, "webm", "libvpx-vp9"), video(right, "avi", "mpeg4"),
    )  # fmt: skip
    for encoder in (network, pictures):
        seen = vectors(encoder, one, blue, *same)
        alike = cosine_similarity(seen[:1], seen[2:]).min()
        assert 1 - cosine_similarity(seen[0], seen[1], dim=0) > 5 * (1 - alike)
    ways = vectors(network, one, left, *same)  # the same pictures, in another order
    assert 1 - cosine_similarity(ways[0], ways[1], dim=0) > 2 * (1 - cosine_similarity(ways[:1], ways[2:]).min())


def test_a_vector_does_not_depend_on_its_neighbours_or_its_place(network: VideoCnn, pictures: FrameMean) -> None:
    contents = [video(square(count, step)) for count, step in ((48, 2), (5, 9), (30, 1))]
    for encoder in (network, pictures):
        alone = vectors(encoder, *contents)
        assert torch.equal(alone, encoder.encode(encoder.collate(contents, 0)).vectors[:3])
        assert torch.equal(alone, encoder.encode(encoder.collate(contents[::-1], 0)).vectors[:3].flip(0))


def test_uneven_frames_are_weighed_by_how_long_they_show(pictures: FrameMean) -> None:
    first, second = backdrop(), square(1, colour=(20, 250, 20))[0]
    uneven = video([first, second, second], "matroska", times=[0.0, 3.0, 4.0])
    found = pictures.encode(pictures.collate([uneven], 0), tokens=True)
    assert found.tokens is not None
    assert (found.tokens[0] == found.tokens[0, 0]).all(1).tolist() == [True] * 6 + [False] * 2


def test_a_video_of_one_frame_is_its_picture(network: VideoCnn, pictures: FrameMean) -> None:
    still = video(square(1))
    stream = io.BytesIO()
    frames(still, lambda seconds: [0.0])[0].save(stream, "PNG")
    images = pictures.pictures
    expected = images.encode(images.collate([stream.getvalue()], 0)).vectors[0]
    torch.testing.assert_close(vectors(pictures, still)[0], expected, rtol=1e-5, atol=1e-6)
    assert torch.isfinite(vectors(network, still)).all()


@pytest.mark.parametrize("content", [b"", b"<html>", sound(tone(300)), video(square(30))[:900]])
def test_what_cannot_be_decoded_is_a_value_error(network: VideoCnn, pictures: FrameMean, content: bytes) -> None:
    for encoder in (network, pictures):
        with pytest.raises(ValueError, match=r"\w"):
            encoder.collate([content], 0)


def test_weights_come_from_a_seed_or_a_file(network: VideoCnn, tmp_path: Path) -> None:
    content = video(square(20))
    path = tmp_path / "trained.safetensors"
    convolutions.save(network.model, path)  # type: ignore[arg-type]
    loaded = VideoCnn(f"video-cnn@{path}", CPU, 4)
    assert torch.equal(vectors(loaded, content), vectors(network, content))
    other = VideoCnn("video-cnn/random-8", CPU, 4)
    assert not torch.equal(vectors(other, content), vectors(network, content))
    assert len({network.fingerprint, loaded.fingerprint, other.fingerprint}) == 3
    assert network.description["libraries"].keys() >= {"torch", "av", "libavcodec", "libswscale", "pillow"}


def test_what_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderUnavailable, match="not of the form video-cnn/random-<seed>"):
        VideoCnn("video-cnn/resnet", CPU)
    with pytest.raises(EncoderUnavailable, match="no encoder has this name"):
        FrameMean("frames:nothing", CPU)
    monkeypatch.setattr("kgrec.features.encoders.parts._NEEDED", ("no_such_module",))
    for name, kind in (("video-cnn/random-0", VideoCnn), ("frames:x", FrameMean)):
        with pytest.raises(EncoderUnavailable, match=r"no_such_module not installed; pip install 'kgrec\[clips\]'"):
            kind(name, CPU)


def test_precision_reaches_the_image_encoder(pictures: FrameMean) -> None:
    rounded = FrameMean(pictures.name, CPU, 3, "bfloat16")
    content = video(square(20))
    assert rounded.precision == rounded.pictures.precision == "bfloat16"
    assert {parameter.dtype for parameter in rounded.model.parameters()} == {torch.bfloat16}
    assert cosine_similarity(vectors(rounded, content), vectors(pictures, content)).min() > 0.99


def test_frames_of_clip_have_length_one_and_their_mean_less(pictures: FrameMean) -> None:
    found = pictures.encode(pictures.collate([video(square(24))], 0), tokens=True)
    assert found.tokens is not None
    torch.testing.assert_close(found.tokens[0].norm(dim=-1), torch.ones(8))
    assert 0.9 < found.vectors[0].norm() < 1 - 1e-6


def test_they_open_by_name(pictures: FrameMean) -> None:
    assert type(open_encoder("video-cnn/random-0", "video", "cpu")) is VideoCnn
    assert type(open_encoder(pictures.name, "video", "cpu")) is FrameMean
