"""A block is a run of whole lines of a dump; block ``k`` is the same on every run and every machine.

The rule of the cut: block ``k`` ends at the last newline at or before byte ``(k + 1) * size`` of the decompressed text. A
thread of its own decompresses, without the GIL, at most ``AHEAD`` blocks ahead of the reader; buffers that the reader
gives back are used again, which saves the system clearing fresh memory for each.
"""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.errors import DataError, KgrecError
from kgrec.kg.dumps.streams import DAMAGE, Stream, open_stream
from kgrec.kg.dumps.syntaxes import as_triples

#: bytes of decompressed text per block
SIZE = 1 << 25
#: blocks decompressed before they are asked for
AHEAD = 2
#: zero bytes before and behind the text of a block, for readers that take many bytes at once
PAD = 64
#: bytes decompressed at once: what the checksum then reads is still in the processor's cache
_PIECE = 1 << 20


@dataclass
class Block:
    """Whole lines of a dump, the last one closed by a newline even where the file forgot it."""

    index: int
    #: 1-based number of the first line
    first_line: int
    #: bytes of the lines between ``PAD`` zero bytes on both sides; shape: (PAD + size + PAD,), uint8; until ``release``
    padded: npt.NDArray[np.uint8]
    #: compressed bytes read when the block was ready
    position: int
    #: compressed bytes of the file, None where unknown
    total: int | None
    #: number of lines; a reader that knows it writes it here and so saves counting
    lines: int | None = None
    _buffer: Any = field(default=None, repr=False)
    _spare: list[Any] = field(default_factory=list, repr=False)

    @property
    def data(self) -> npt.NDArray[np.uint8]:
        """Bytes of the lines; shape: (size,), uint8; valid until ``release``."""
        return self.padded[PAD:-PAD]

    def release(self) -> None:
        """Give the memory of ``data`` back once it is read; not doing so only costs time."""
        if self.lines is None:
            self.lines = count_lines(self.data)
        self.padded = self.padded[:0]
        if self._buffer is not None:
            self._spare.append(self._buffer)
            self._buffer = None


def count_lines(data: npt.NDArray[np.uint8]) -> int:
    """Newlines in ``data``."""
    return sum(int(np.count_nonzero(data[i : i + _PIECE] == ord("\n"))) for i in range(0, len(data), _PIECE))


def open_blocks(source: str | Path, *, block: int = SIZE, skip_blocks: int = 0) -> Iterator[Block]:
    """Blocks of the N-Triples of ``source``, in order, from block ``skip_blocks`` on.

    Other syntaxes (by the suffix, ``.ttl.gz``) are rewritten first; see ``kgrec.kg.dumps.syntaxes``.

    A line longer than ``block`` is cut to its first ``block`` bytes; the blocks it spans are empty until it ends.

    :param source: path or URL; see ``kgrec.kg.dumps.streams.open_stream``
    :param block: bytes of decompressed text per block
    :param skip_blocks: blocks decompressed but not handed out, for a run that goes on where another ended
    :raises DataError: if the file is missing, truncated or damaged, after the blocks before the damage
    """
    ready: queue.SimpleQueue[Block | BaseException | None] = queue.SimpleQueue()
    room, stop = threading.Semaphore(AHEAD), threading.Event()

    def produce() -> None:
        try:
            with open_stream(source) as stream:
                stream.text = as_triples(stream.text, source)
                for made in _cut(stream, block):
                    room.acquire()
                    if stop.is_set():
                        return
                    ready.put(made)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=produce, name="decompress", daemon=True)
    thread.start()
    line = 1
    try:
        while (got := ready.get()) is not None:
            if isinstance(got, BaseException):
                raise _explain(got, source, line - 1) from None
            room.release()
            got.first_line = line
            if got.index >= skip_blocks:
                yield got
            else:
                got.release()
            line += count_lines(got.data) if got.lines is None else got.lines
    finally:
        stop.set()
        room.release()
        thread.join()


def _cut(stream: Stream, size: int) -> Iterator[Block]:
    """Blocks of ``stream`` by the rule of the cut; ``first_line`` is left to the reader."""
    spare: list[mmap.mmap] = []
    rest = b""
    index = 0
    ended = False
    while not ended:
        buffer = spare.pop() if spare else _memory(PAD + 2 * size + 1 + PAD)
        view = memoryview(buffer)
        kept = PAD + len(rest)
        view[PAD:kept] = rest
        filled = kept + _fill(stream, view[kept : kept + size])
        ended = filled < kept + size
        if len(rest) == size:
            # a line that is too long: what follows its first bytes is left out
            end = buffer.find(b"\n", kept, filled)
            tail = bytes(view[end:filled]) if end >= 0 else b""
            view[kept : kept + len(tail)] = tail
            filled = kept + len(tail)
        if ended and filled > PAD and view[filled - 1] != ord("\n"):
            view[filled] = ord("\n")
            filled += 1
        cut = max(buffer.rfind(b"\n", PAD, filled) + 1, PAD)
        rest = bytes(view[cut : min(filled, cut + size)])
        if ended and cut == PAD:
            return
        view[cut : cut + PAD] = bytes(PAD)
        padded = np.frombuffer(buffer, np.uint8, cut + PAD)
        yield Block(index, 0, padded, stream.position, stream.total, _buffer=buffer, _spare=spare)
        index += 1


def _explain(error: BaseException, source: str | Path, lines: int) -> BaseException:
    """What a person can do about an ``error`` met behind ``lines`` lines."""
    why = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, DAMAGE):
        return DataError(f"is truncated or damaged behind line {lines:,} ({why}); fetch it again", path=source)
    if "://" in str(source) and isinstance(error, Exception) and not isinstance(error, KgrecError):
        return DataError(f"broke off behind line {lines:,} ({why}); run again to go on", path=source)
    return error


def _memory(size: int) -> mmap.mmap:
    """Memory that is only taken where it is written, in huge pages where the system has them."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _fill(stream: Stream, view: memoryview) -> int:
    """Bytes read into ``view``; fewer than it holds only at the end of the text."""
    done = 0
    while done < len(view):
        read = stream.text.readinto(view[done : done + _PIECE])
        if not read:
            break
        done += read
    return done
