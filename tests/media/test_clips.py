from __future__ import annotations

import hashlib
import io
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kgrec.errors import ConfigError
from kgrec.media.clips import Clip, Kind, check_clip, declared_seconds, frames, waveform
from kgrec.media.images import Rejected
from tests.clips import RATE, av, backdrop, number_of, numbered, sound, square, tone, video

LIMITS: dict[str, Any] = {"max_bytes": 10_000_000, "max_seconds": 60.0}


def checked(data: bytes, kind: Kind, **limits: Any) -> Clip:
    outcome = check_clip(data, kind, **LIMITS | limits)
    assert isinstance(outcome, Clip), outcome
    return outcome


def rejected(data: bytes, kind: Kind, **limits: Any) -> str:
    outcome = check_clip(data, kind, **LIMITS | limits)
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("wav", "wav"),
        ("mp3", "mp3"),
        ("flac", "flac"),
        ("ogg", "ogg"),
        ("mp4", "mov,mp4,m4a,3gp,3g2,mj2"),
    ],
)
def test_a_good_sound_of_each_format_keeps_its_bytes(kind: str, name: str) -> None:
    data = sound(tone(440), kind)
    clip = checked(data, "audio")
    assert (clip.sha256, clip.data, clip.format) == (hashlib.sha256(data).hexdigest(), data, name)
    assert clip.seconds == pytest.approx(3.0, abs=0.01)  # AAC comes in whole packets


VIDEOS = [
    ("mp4", "libx264"), ("mp4", "mpeg4"), ("webm", "libvpx-vp9"), ("matroska", "libx264"), ("avi", "mpeg4"),
    ("mpegts", "libx264"), ("flv", "libx264"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "codec"), VIDEOS)
def test_a_good_video_of_each_format_keeps_its_bytes(kind: str, codec: str) -> None:
    data = video(square(60), kind, codec)
    clip = checked(data, "video")
    assert clip.data == data
    assert clip.seconds == pytest.approx(2.5, abs=0.002)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "ogg", "mp4"])
def test_a_cut_sound_is_told(kind: str, part: float) -> None:
    data = sound(tone(440), kind)
    assert rejected(data[: int(len(data) * part)], "audio").startswith("truncated: ")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("kind", "codec"), [v for v in VIDEOS if v[0] != "mpegts"])  # a broadcast ends where it ends
def test_a_cut_video_is_told(kind: str, codec: str, part: float) -> None:
    data = video(square(60), kind, codec)
    assert rejected(data[: int(len(data) * part)], "video").startswith("truncated: ")


@pytest.mark.parametrize("kind", ["mp3", "flac"])
def test_damage_inside_is_told_or_stepped_over(kind: str) -> None:
    data = bytearray(sound(tone(440) + 0.1 * np.random.default_rng(0).standard_normal(3 * RATE), kind))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    outcome = check_clip(bytes(data), "audio", **LIMITS)
    assert isinstance(outcome, Rejected) or outcome.seconds > 2.7


def test_wrong_type_is_named() -> None:
    page = b"<!DOCTYPE html><html><body>Not found</body></html>"
    assert rejected(page, "video") == "not a video: an HTML page"
    assert rejected(b'{"error": "limit reached"}', "audio") == "not audio: JSON"
    assert rejected(bytes(range(256)) * 20, "audio") == "not audio: no known audio format"
    assert rejected(b"", "video") == "empty file"
    assert rejected(sound(tone(440)), "video") == "not a video: only sound in it"
    assert rejected(video(square(3)), "audio") == "not audio: no audio in it"


@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_file_that_names_other_files_is_not_followed(playlist: bytes) -> None:
    assert rejected(playlist, "audio") == "not audio: no known audio format"


def test_the_picture_on_an_album_is_no_video() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="flac") as container:
        heard = container.add_stream("flac", rate=RATE, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 120, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(backdrop(), format="rgb24")))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray((tone(440)[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate = RATE
        for piece in av.AudioResampler("s16", "mono", RATE, frame_size=4096).resample(frame):
            container.mux(heard.encode(piece))
        container.mux(heard.encode(None))
    data = stream.getvalue()
    with av.open(io.BytesIO(data)) as container:
        assert len(container.streams.video) == 1  # there is one for FFmpeg
    assert checked(data, "audio").seconds == pytest.approx(3.0, abs=0.1)
    assert rejected(data, "video") == "not a video: only sound in it"


def test_a_sound_is_silence_by_its_amplitude_and_not_by_its_level() -> None:
    assert rejected(sound(np.zeros(RATE)), "audio") == "placeholder: silence"
    assert rejected(sound(np.full(RATE, 0.5)), "audio") == "placeholder: silence"  # a constant is not heard either
    assert rejected(sound(np.zeros(RATE), "mp3"), "audio") == "placeholder: silence"
    assert rejected(sound(tone(440, amplitude=0.0005)), "audio") == "placeholder: silence"
    checked(sound(tone(440, amplitude=0.002)), "audio")
    mostly = np.zeros(3 * RATE)
    mostly[-2000:] = 0.5 * np.sin(np.arange(2000) / 10)
    checked(sound(mostly), "audio")


def test_a_video_of_one_colour_is_a_placeholder_and_one_that_begins_black_is_not() -> None:
    black = [np.full((120, 160, 3), 16, np.uint8)] * 24
    changing = [np.full((120, 160, 3), level, np.uint8) for level in range(10, 240, 5)]
    assert rejected(video(black), "video") == "placeholder: near-uniform colour"
    assert rejected(video(changing), "video") == "placeholder: near-uniform colour"
    checked(video(black + square(24)), "video")


def test_limits_of_bytes_length_and_listed_files() -> None:
    data = sound(tone(440))
    assert rejected(data, "audio", max_bytes=len(data) - 1).startswith("too many bytes")
    checked(data, "audio", max_bytes=len(data), max_seconds=3.0)
    assert rejected(data, "audio", max_seconds=2.9) == "too long: 3 seconds of at most 3"
    assert rejected(video(square(60)), "video", max_seconds=2.0).startswith("too long")
    listed = frozenset({hashlib.sha256(data).hexdigest()})
    assert rejected(data, "audio", placeholders=listed) == "placeholder: listed by its hash"


def test_a_click_is_no_sound() -> None:
    assert rejected(sound(tone(1000, 0.09)), "audio") == "too short: 0.090 seconds of at least 0.1"
    checked(sound(tone(1000, 0.1)), "audio")


def test_a_bomb_of_length_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = sound(np.zeros(3600 * 8000), "flac", rate=8000)
    assert len(hour) < 1_000_000
    monkeypatch.setattr("kgrec.media.clips._Opened.decoded", None)  # would fail if it were called
    assert rejected(hour, "audio") == "too long: 3,600 seconds of at most 60"


def test_a_bomb_of_pixels_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video([backdrop(1600, 1200)] * 2)
    checked(data, "video", max_pixels=1600 * 1200)
    monkeypatch.setattr("kgrec.media.clips._Opened.decoded", None)
    assert rejected(data, "video", max_pixels=1600 * 1200 - 1) == "too many pixels: 1600 x 1200, at most 1,919,999"


def test_a_video_that_lies_about_its_size_is_not_decoded() -> None:
    data = video([backdrop(1600, 1200)] * 3, "matroska")
    small, large = (b"\xb0\x82" + n.to_bytes(2, "big") + b"\xba\x82" for n in (160, 1600))
    assert data.count(large) == 1  # Matroska's PixelWidth
    assert rejected(data.replace(large, small), "video", max_pixels=1_000_000).startswith(
        ("too many pixels", "damaged")
    )


def test_a_sound_is_read_as_the_mean_of_its_channels_at_the_rate_asked_for() -> None:
    heard = waveform(sound(tone(1000)), 16_000)
    assert heard.dtype == np.float32
    assert heard.shape == (48_000,)
    expected = tone(1000, rate=16_000)
    assert np.abs(heard[1000:-1000] - expected[1000:-1000]).max() < 2e-3
    both = waveform(sound(np.stack([tone(1000), np.zeros(3 * RATE)])), 16_000)
    assert np.abs(both - heard / 2).max() < 1e-4  # not the sum, not scaled by a root of two
    unheard = waveform(sound(tone(15_000)), 16_000)
    assert np.abs(unheard[1000:-1000]).max() < 0.02  # above half the rate: filtered, not folded


def test_the_sound_of_a_video_is_audio() -> None:
    data = video(square(60), audio=tone(440, 2.5))
    assert checked(data, "audio").seconds == pytest.approx(2.5, abs=0.05)
    peak = np.abs(np.fft.rfft(waveform(data, 8000)[:16_000])).argmax() / 2
    assert peak == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [
        ("mp4", "libx264", {"g": "10", "bf": "3"}),
        ("mp4", "libx264", {"g": "10", "bf": "3", "x264-params": "open-gop=1"}),
        ("matroska", "libx264", {}),
        ("mpegts", "libx264", {"g": "7"}),
        ("mp4", "mpeg4", {"bf": "2", "g": "6"}),
        ("avi", "mpeg4", {"bf": "2", "g": "6"}),
        ("webm", "libvpx-vp9", {"g": "9"}),
    ],
)
def test_the_frame_shown_at_a_moment_is_found_between_key_frames(
    kind: str, codec: str, options: dict[str, str]
) -> None:
    data = video(numbered(50), kind, codec, rate=25, **options)
    half = 0.5 / 25
    order = [49, 0, 17, 3, 3, 31, 30, 48]
    found = frames(data, lambda seconds: [number / 25 + half for number in order])
    assert [number_of(image) for image in found] == order
    every = frames(data, lambda seconds: [number / 25 + half for number in range(50)])
    assert [number_of(image) for image in every] == list(range(50))
    for number, image in zip(order, found, strict=True):  # reached from another key frame, the same to the bit
        assert image.tobytes() == every[number].tobytes()
    ends = frames(data, lambda seconds: [-1.0, seconds, seconds + 9])
    assert [number_of(image) for image in ends] == [0, 49, 49]


def test_frames_of_uneven_length_are_found_by_time() -> None:
    times = [0.0, 0.1, 0.2, 1.5, 1.6, 3.0]
    data = video(numbered(6), "matroska", times=times)
    found = frames(data, lambda seconds: [0.05, 0.15, 0.25, 1.45, 1.55, 2.9, 3.0])
    assert [number_of(image) for image in found] == [0, 1, 2, 2, 3, 4, 5]


def test_a_bad_packet_is_told_when_checked_and_stepped_over_when_read() -> None:
    good = video(square(100), "matroska", rate=25, g="5")
    with av.open(io.BytesIO(good)) as container:
        packet = bytes([packet for packet in container.demux() if packet.size][56])
    assert good.count(packet) == 1
    bad = good.replace(packet, bytes(len(packet)))
    assert rejected(bad, "video").startswith("damaged: Invalid data")

    def moments(seconds: float) -> list[float]:
        return [number / 25 + 0.02 for number in (10, 56, 62)]

    whole, stepped = frames(good, moments), frames(bad, moments)
    assert [image.tobytes() for image in whole[::2]] == [image.tobytes() for image in stepped[::2]]


def test_a_video_of_one_frame() -> None:
    data = video(square(1))
    assert checked(data, "video").seconds < 0.1
    assert len(frames(data, lambda seconds: [0.0, seconds / 2, seconds])) == 3


def test_a_turned_video_is_seen_upright() -> None:
    data = video([backdrop(64, 48)] * 3)
    plain = frames(data, lambda seconds: [0.0])[0]
    assert plain.size == (64, 48)
    identity, quarter = (
        b"".join((value & 0xFFFFFFFF).to_bytes(4, "big") for value in values)
        for values in (
            (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000),
            (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),  # ISO 14496-12: (x, y) -> (-y, x), a quarter clockwise
        )
    )
    header = data.index(b"tkhd")
    place = data.index(identity, header)
    turned = frames(data[:place] + quarter + data[place + len(quarter) :], lambda seconds: [0.0])[0]
    assert turned.size == (48, 64)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(plain), -1))


def test_pixels_are_made_square() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as container:
        out = container.add_stream("libx264", rate=24)
        out.width, out.height, out.pix_fmt = 64, 48, "yuv420p"
        out.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(out.encode(av.VideoFrame.from_ndarray(backdrop(64, 48), format="rgb24")))
        container.mux(out.encode(None))
    assert frames(stream.getvalue(), lambda seconds: [0.0])[0].size == (85, 48)


def test_the_header_tells_the_length() -> None:
    assert declared_seconds(sound(tone(440), "flac")) == pytest.approx(3.0)
    assert declared_seconds(video(square(60))) == pytest.approx(2.5, abs=0.01)
    with pytest.raises(ValueError, match="not a clip: an HTML page"):
        declared_seconds(b"<html>")


@pytest.mark.parametrize("data", [b"", b"RIFF", bytes(1000), b"OggS" + bytes(40), b"\0\0\0\x18ftypmp42" + bytes(16)])
def test_what_is_no_clip_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        waveform(data, 16_000)
    with pytest.raises(ValueError, match=r"\w"):
        frames(data, lambda seconds: [0.0])


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'kgrec\[clips\]'"):
        check_clip(b"RIFF", "audio", **LIMITS)
