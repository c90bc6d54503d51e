"""A stream is the decompressed text of a file, wherever it lies: gzip, bzip2, zstd or plain; local, or any fsspec URL.

The format is told by the first bytes, and a name that says otherwise is an error. Several gzip members, bzip2 streams or
zstd frames behind one another are one text. gzip goes through ISA-L, straight into the caller's buffer.
"""

from __future__ import annotations

import bz2
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import fsspec.core
import pyarrow as pa
from isal import igzip_lib, isal_zlib

from kgrec.errors import DataError

#: first bytes of each compressed format, and the suffixes that promise it
MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "zstd": b"\x28\xb5\x2f\xfd"}
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}

#: what reading a damaged file raises, over all formats
DAMAGE = cast(tuple[type[Exception], ...], (EOFError, OSError, ValueError, isal_zlib.error, igzip_lib.error))

#: bytes asked of a disk or a server at once; bigger ones only cost cache
_READ, _REMOTE_READ = 1 << 17, 1 << 23


class Text(Protocol):
    """Decompressed bytes, in order."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill ``buffer`` as far as possible; 0 at the end."""


class Stream:
    """An open file: its decompressed ``text``, and how much of it was read."""

    def __init__(self, text: Text, raw: io.BufferedReader[Any], total: int | None) -> None:
        self.text = text
        #: compressed bytes of the whole file; None if the server does not say
        self.total = total
        self._raw = raw

    @property
    def position(self) -> int:
        """Compressed bytes read so far."""
        return self._raw.tell()


def plain_name(source: str | Path) -> str:
    """Name of the text inside: the last part of ``source`` without query and compression suffix."""
    name = os.path.basename(str(source).split("?")[0].split("#")[0])
    return name[: -len(Path(name).suffix)] if Path(name).suffix in SUFFIXES else name


@contextmanager
def open_stream(source: str | Path) -> Iterator[Stream]:
    """Open ``source`` for reading.

    :param source: a local path, or a URL of any file system fsspec knows (``https://…``, ``s3://…``, ``memory://…``)
    :raises DataError: if there is no such file, or its bytes are not what its name promises
    """
    with ExitStack() as stack:
        try:
            raw, total = _open_raw(str(source), stack)
            head = raw.peek(4)
        except (OSError, ImportError, ValueError) as error:
            raise DataError(f"cannot be opened ({error or type(error).__name__})", path=source) from None
        found = next((name for name, magic in MAGIC.items() if head.startswith(magic)), None)
        promised = SUFFIXES.get(Path(str(source).split("?")[0]).suffix)
        if promised and found != promised:
            raise DataError(f"is not a {promised} file; fetch it again, or mend its name", path=source)
        yield Stream(_decompress(found, raw, stack), raw, total)


def _open_raw(source: str, stack: ExitStack) -> tuple[io.BufferedReader[Any], int | None]:
    if "://" not in source:
        local = stack.enter_context(io.BufferedReader(io.FileIO(source), _READ))
        return local, os.fstat(local.fileno()).st_size
    system, path = fsspec.core.url_to_fs(source)
    remote = stack.enter_context(system.open(path, "rb", block_size=_REMOTE_READ, cache_type="none"))
    return io.BufferedReader(cast(io.RawIOBase, remote), _REMOTE_READ), getattr(remote, "size", None)


def _decompress(found: str | None, raw: io.BufferedReader[Any], stack: ExitStack) -> Text:
    if found == "gzip":
        # the reader inside isal's GzipFile, which alone decompresses into a given buffer, without a copy
        return isal_zlib._GzipReader(raw, _READ)
    if found == "bzip2":
        return stack.enter_context(bz2.BZ2File(raw))
    if found == "zstd":
        return cast(Text, stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")))
    return raw
