"""Generated sounds and videos, encoded by PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

av = pytest.importorskip("av", reason="needs the extra `clips`")

RATE = 48_000
_CODECS = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac", "ogg": "libopus", "mp4": "aac"}


def tone(hertz: float, seconds: float = 3.0, rate: int = RATE, amplitude: float = 0.5) -> NDArray[np.float64]:
    """A sine. shape: (samples,)"""
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def sound(samples: NDArray[Any], kind: str = "wav", rate: int = RATE) -> bytes:
    """An audio file of ``samples``: (samples,) or (2, samples), -1 to 1."""
    channels = np.atleast_2d(samples)
    layout = "mono" if len(channels) == 1 else "stereo"
    stream = io.BytesIO()
    with av.open(stream, "w", format=kind) as container:
        out = container.add_stream(_CODECS[kind], rate=rate, layout=layout)
        integers = np.round(np.clip(channels, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(integers.T.reshape(1, -1)), "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        pieces = av.AudioResampler(out.format.name, layout, rate, frame_size=out.codec_context.frame_size or 4096)
        for piece in [*pieces.resample(frame), *pieces.resample(None), None]:
            container.mux(out.encode(piece))
    return stream.getvalue()


def video(
    frames: Sequence[NDArray[np.uint8]], kind: str = "mp4", codec: str = "libx264", rate: int = 24,
    times: Sequence[float] | None = None, audio: NDArray[Any] | None = None, **options: str,
) -> bytes:  # fmt: skip
    """A video file of ``frames``: (height, width, 3). ``times`` in seconds, else ``rate`` frames a second."""
    stream = io.BytesIO()
    tick = Fraction(1, rate if times is None else 1000)
    with av.open(stream, "w", format=kind) as container:
        out = container.add_stream(codec, rate=rate, options=options)
        out.height, out.width = frames[0].shape[:2]
        out.pix_fmt = "yuv420p"
        out.codec_context.time_base = tick
        heard = None if audio is None else container.add_stream("aac", rate=RATE, layout="mono")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number if times is None else round(times[number] * 1000), tick
            container.mux(out.encode(frame))
        container.mux(out.encode(None))
        if heard is not None and audio is not None:
            for start in range(0, len(audio) - 1023, 1024):
                piece = av.AudioFrame.from_ndarray(audio[None, start : start + 1024].astype(np.float32), "fltp", "mono")
                piece.sample_rate, piece.pts, piece.time_base = RATE, start, Fraction(1, RATE)
                container.mux(heard.encode(piece))
            container.mux(heard.encode(None))
    return stream.getvalue()


def backdrop(width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """A still gradient, so that no frame is of one colour. shape: (height, width, 3)"""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + x * 120 // width, 60 + y * 120 // height, (x + y) * 90 // (width + height)], -1).astype(
        np.uint8
    )


def square(
    count: int = 48, step: int = 3, colour: tuple[int, int, int] = (250, 20, 20), start: int = 0, side: int = 30
) -> list[NDArray[np.uint8]]:
    """Frames of a square that moves ``step`` pixels to the right each; negative: to the left."""
    frames = []
    for number in range(count):
        frame = backdrop()
        x = (start + step * number) % (frame.shape[1] - side)
        frame[45 : 45 + side, x : x + side] = colour
        frames.append(frame)
    return frames


def numbered(count: int, width: int = 64, height: int = 64) -> list[NDArray[np.uint8]]:
    """Frames that say which they are: see :func:`number_of`."""
    frames = []
    for number in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        for bit in range(8):
            frame[:, bit * width // 8 : (bit + 1) * width // 8] = 235 if number >> bit & 1 else 20
        frames.append(frame)
    return frames


def number_of(image: Any) -> int:
    """The number of a frame of :func:`numbered`, whatever it went through."""
    pixels = np.asarray(image, dtype=float).mean(axis=(0, 2))
    return sum(1 << bit for bit, part in enumerate(np.array_split(pixels, 8)) if part.mean() > 128)
