"""A clip is usable when its file decodes to its end and something is heard or seen in it.

Sound is read as one channel of samples, video as the pictures shown at given moments. Clips come from strangers, so
nothing is opened that could refer to another file, and nothing is unpacked beyond the limits of length and size.
Needs the extra ``clips`` (PyAV, which carries FFmpeg).
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kgrec.errors import ConfigError
from kgrec.media.images import Rejected, check_file, kind_of_text, spread

Kind = Literal["audio", "video"]

#: FFmpeg's demuxers that a file may ask for; playlists and the like, which name other files, are not among them
FORMATS = ("mov", "matroska", "avi", "wav", "mp3", "flac", "ogg", "aac", "aiff", "asf", "flv", "mpegts", "mpeg")
SUFFIXES_AUDIO = frozenset({".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma"})
SUFFIXES_VIDEO = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ogv", ".ts", ".mpg", ".mpeg", ".wmv", ".flv"}
)
#: frames of a video that are looked at when it is checked
_LOOKS = 8
#: no clip within reason has more packets: three hours of sound in the shortest there are, 2.5 ms
_MAX_PACKETS = 4_320_000
#: sounds shorter than this are clicks
_MIN_SECONDS = 0.1
#: largest width x height of a frame: a little above 8K
_MAX_PIXELS = 35_000_000
#: first bytes of the formats above, where they have a fixed beginning
_MAGIC = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"FORM", b"FLV")
_TURNS = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Clip:
    """A file that passed all checks. ``format`` is the container as FFmpeg names it (``mov,mp4,m4a,3gp,3g2,mj2``)."""

    sha256: str
    data: bytes
    seconds: float
    format: str


def check_clip(
    data: bytes, kind: Kind, *, max_bytes: int, max_seconds: float, max_pixels: int = _MAX_PIXELS,
    silent_below: float = 1e-3, uniform_below: float = 12.0, placeholders: Set[str] = frozenset(),
) -> Clip | Rejected:  # fmt: skip
    """Open ``data`` and read it to its end: all of a sound, of a video all packets and some frames over its length.

    The sound of a video file is audio too.

    :param max_bytes: longest file that is looked at
    :param max_seconds: longest clip; longer ones are not unpacked
    :param max_pixels: largest width x height of a frame
    :param silent_below: amplitude (0 to 1, half the distance from the lowest to the highest sample) under which a sound
        is silence; the default is -60 dB
    :param uniform_below: see :func:`kgrec.media.images.spread`; a video of which all frames looked at are below it is a
        placeholder
    :param placeholders: SHA-256 (hexadecimal) of files known to stand for "no clip"
    :raises ConfigError: if PyAV is not installed
    """
    sha256 = check_file(data, max_bytes, placeholders)
    if isinstance(sha256, Rejected):
        return sha256
    try:
        with _opened(data, kind, max_seconds, max_pixels) as clip:
            if clip.reached + max(0.2, 0.02 * clip.declared) < clip.declared:
                return Rejected(f"truncated: {clip.reached:.1f} of {clip.declared:.1f} seconds")
            seconds, empty = _heard(clip, silent_below) if kind == "audio" else _seen(clip, uniform_below)
            if kind == "audio" and seconds < _MIN_SECONDS:
                return Rejected(f"too short: {seconds:.3f} seconds of at least {_MIN_SECONDS}")
            if seconds > max_seconds:
                return Rejected(f"too long: {seconds:,.0f} seconds of at most {max_seconds:,.0f}")
            return Rejected(f"placeholder: {empty}") if empty else Clip(sha256, data, seconds, clip.format)
    except _Refused as error:
        return Rejected(str(error))
    except ValueError as error:
        return Rejected(f"damaged: {error}")


def waveform(data: bytes, rate: int) -> NDArray[np.float32]:
    """The sound of a file, resampled to ``rate`` Hz, its channels averaged. shape: (samples,), about -1 to 1

    :raises ValueError: if it has no sound or cannot be decoded
    """
    with _opened(data, "audio") as clip:
        return np.concatenate(list(clip.sound(rate)))


def frames(data: bytes, times: Callable[[float], Sequence[float]]) -> list[Image.Image]:
    """The pictures a video shows at some moments: RGB, upright, pixels made square.

    :param times: from the video's length to the moments wanted, both in seconds; a moment beyond an end is that end
    :return: one picture per moment, in that order; moments of one frame share one picture
    :raises ValueError: if it has no video or cannot be decoded
    """
    with _opened(data, "video") as clip:
        clip.strict = False  # it was checked in other places, maybe
        return clip.frames(times(clip.seconds))


def declared_seconds(data: bytes) -> float:
    """Length as the header tells it, which costs little; 0 where it tells none.

    :raises ValueError: if the file cannot be opened
    """
    with _opened(data, None) as clip:
        return clip.declared


class _Refused(ValueError):
    """The message is a whole reason, ``<kind>: <detail>``."""


class _Opened:
    """An open file and its first stream of a kind."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.stream, self.codec, self.format = stream, stream.codec_context, str(container.format.name)
        self.codec.thread_count = 1  # clips are decoded side by side already
        #: seconds of the whole file: as the header says (0: it does not), and as its packets reach
        self.declared, self.reached = max(0.0, (container.duration or 0) / 1e6), 0.0
        #: whether a packet that cannot be decoded is an error, or is stepped over
        self.strict = True
        #: packets of the stream in the order of decoding
        self.packets: list[Any] = []

    def read(self, container: Any, max_seconds: float) -> None:
        """Read all packets of the file, and keep the stream's."""
        start = (container.start_time or 0) / 1e6
        for count, packet in enumerate(container.demux()):
            if packet.is_corrupt:
                raise _Refused("truncated: the last packet is cut")
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self.reached = max(self.reached, end - start)
            if packet.size and packet.stream_index == self.stream.index:
                self.packets.append(packet)
            if self.reached > 1.1 * max_seconds + 1 or count > _MAX_PACKETS:
                raise _Refused(f"too long: over {self.reached:,.0f} seconds of at most {max_seconds:,.0f}")
        if not self.packets:
            raise _Refused("truncated: nothing behind the header")

    def decoded(self, start: int = 0, wanted: Container[int] | None = None) -> Iterator[Any]:
        """Frames in the order of showing, from the packet of number ``start`` on, which should be a key frame.

        :param wanted: times of the frames that must be among them; others are left out where nothing depends on them
        """
        self.codec.flush_buffers()
        for packet in [*self.packets[start:], None]:
            if wanted is not None:
                self.codec.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
            try:
                yield from self.codec.decode(packet)
            except ValueError:  # FFmpeg's "invalid data"
                if self.strict:
                    raise

    def sound(self, rate: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Mono samples, at ``rate`` Hz or as the file has them."""
        from av import AudioResampler

        resampler, some = AudioResampler(format="fltp", rate=rate), False
        for frame in (*self.decoded(), None):
            for piece in resampler.resample(frame):
                some = True
                yield piece.to_ndarray().mean(axis=0, dtype=np.float32)
        if not some:
            raise ValueError("no sound in it")

    @property
    def seconds(self) -> float:
        """Length of a video: from its first frame to the end of its last."""
        if not self._marks_are_times:
            return len(self.packets) / float(self.stream.average_rate or 25)
        shown = [packet for packet in self.packets if not packet.is_discard]
        return float(
            (max(p.pts + (p.duration or 0) for p in shown) - min(p.pts for p in shown)) * self.stream.time_base
        )

    @property
    def _marks_are_times(self) -> bool:
        """Whether packets know when they are shown; of AVI's, FFmpeg only guesses."""
        return self.format != "avi" and all(packet.pts is not None for packet in self.packets)

    def frames(self, moments: Iterable[float]) -> list[Image.Image]:
        """See :func:`frames`."""
        if self._marks_are_times:
            marks = sorted({packet.pts for packet in self.packets if not packet.is_discard})
            starts = [float((mark - marks[0]) * self.stream.time_base) for mark in marks]
            find = self._shown_at
        else:
            marks = list(range(len(self.packets)))
            starts = [mark * self.seconds / len(marks) for mark in marks]
            find = self._numbered
        wanted = [marks[max(0, bisect_right(starts, moment + 1e-6) - 1)] for moment in moments]
        pictures = {mark: _picture(frame, self.codec.sample_aspect_ratio) for mark, frame in find(sorted(set(wanted)))}
        return [pictures[mark] for mark in wanted]

    def _shown_at(self, marks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames of rising times, decoded from the key frames before them."""
        key_frames = [(packet.pts, index) for index, packet in enumerate(self.packets) if packet.is_keyframe]

        def start(mark: int) -> int:
            return max((index for time, index in key_frames if time <= mark), default=0)

        for key_frame, group in groupby(marks, start):
            run, frame = self.decoded(key_frame, set(marks)), None
            for mark in group:
                while frame is None or frame.pts is None or frame.pts < mark:
                    if (following := next(run, None)) is None:
                        break
                    frame = following
                if frame is None:
                    raise ValueError(f"no frame at {float(mark * self.stream.time_base):.3f} seconds")
                yield mark, frame

    def _numbered(self, marks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames of rising numbers; past the end, the last one."""
        left, frame = set(marks), None
        for number, frame in enumerate(self.decoded()):
            if number in left:
                left.remove(number)
                yield number, frame
        if frame is None:
            raise ValueError("no frame in it")
        yield from ((mark, frame) for mark in left)


def _heard(clip: _Opened, silent_below: float) -> tuple[float, str]:
    """Length of a sound in seconds, and what it is if it is nothing."""
    samples, low, high = 0, np.inf, -np.inf
    for piece in clip.sound():
        samples, low, high = samples + len(piece), min(low, piece.min()), max(high, piece.max())
    return samples / clip.codec.sample_rate, "silence" if (high - low) / 2 < silent_below else ""


def _seen(clip: _Opened, uniform_below: float) -> tuple[float, str]:
    """Length of a video in seconds, and what it is if it is nothing."""
    seconds = clip.seconds
    looks = clip.frames([*((i + 0.5) / _LOOKS * seconds for i in range(_LOOKS)), seconds])
    return seconds, "near-uniform colour" if max(map(spread, looks)) < uniform_below else ""


def _picture(frame: Any, aspect: Any) -> Image.Image:
    image = frame.to_image()
    if aspect and aspect != 1:
        image = image.resize((max(1, round(image.width * aspect)), image.height), Image.Resampling.BILINEAR)
    turn = _TURNS.get(round(frame.rotation / 90) % 4)
    return image if turn is None else image.transpose(turn)


@contextmanager
def _opened(
    data: bytes, kind: Kind | None, max_seconds: float = float("inf"), max_pixels: int = _MAX_PIXELS
) -> Iterator[_Opened]:
    """Open a file held in memory; without a ``kind``, its header only. FFmpeg's errors become ValueError."""
    try:
        import av
    except ImportError:
        raise ConfigError("clips are read with PyAV, which is not installed; pip install 'kgrec[clips]'") from None
    name = {"audio": "audio", "video": "a video", None: "a clip"}[kind]
    limits = {"format_whitelist": ",".join(FORMATS), "max_pixels": str(max_pixels)}
    known = data.startswith(_MAGIC) or data[4:8] == b"ftyp"
    if known and _is_cut(data):
        raise _Refused("truncated: the file is shorter than it says")
    opened = False
    try:
        with av.open(io.BytesIO(data), options=limits, metadata_errors="replace") as container:
            opened = True
            streams = [
                stream for stream in (getattr(container.streams, kind) if kind else container.streams)
                if not stream.disposition & av.stream.Disposition.attached_pic
            ]  # fmt: skip
            if not streams:
                raise _Refused(f"not {name}: {'only sound in it' if container.streams.audio else f'no {kind} in it'}")
            clip = _Opened(container, streams[0])
            if clip.declared > max_seconds:
                raise _Refused(f"too long: {clip.declared:,.0f} seconds of at most {max_seconds:,.0f}")
            if kind == "video":
                if clip.codec.width * clip.codec.height > max_pixels:
                    size = f"{clip.codec.width} x {clip.codec.height}"
                    raise _Refused(f"too many pixels: {size}, at most {max_pixels:,}")
                clip.codec.options = {"max_pixels": str(max_pixels)}  # a stream may change its mind
            if kind:
                clip.read(container, max_seconds)
            yield clip
    except av.EOFError:
        raise _Refused("truncated: the file ends inside its header") from None
    except (av.FFmpegError, OSError, OverflowError) as error:
        if not (known or opened):
            raise _Refused(f"not {name}: {kind_of_text(data).replace('image', kind or 'clip')}") from None
        raise ValueError(getattr(error, "strerror", None) or str(error)) from None


def _is_cut(data: bytes) -> bool:
    """Whether a file ends before its outermost parts do; told for RIFF (WAV, AVI), Ogg and MP4, others cannot be told
    so or give their length in seconds."""
    if data.startswith(b"RIFF"):
        size = int.from_bytes(data[4:8], "little") + 8
        return len(data) + 1 < size < 0x7F00_0000  # the largest numbers stand for "not known"
    if data.startswith(b"OggS"):
        page = data.rfind(b"OggS")
        table = data[page + 27 : page + 27 + data[page + 26]] if page + 26 < len(data) else b""
        return not table or page + 27 + len(table) + sum(table) > len(data)
    if data[4:8] != b"ftyp":
        return False
    start, names = 0, set()
    while start + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[start : start + 8])
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        names.add(name)
        start = start + size if size >= 8 else len(data)  # 0: to the end of the file
    return start > len(data) or b"moov" not in names
