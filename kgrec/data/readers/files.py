"""The files of a source, wherever they lie: in its folder, in one below, or inside a zip archive, plain or gzipped."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kgrec.errors import DataError

#: what a damaged or truncated archive raises while it is read
_DAMAGE = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    :param name: base name without ``.gz``, as formats name their files (``ratings.dat``)
    :param path: the file on disk, or the archive that holds it
    :param member: name inside the archive; None for a file on disk
    """

    name: str
    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return self.path.name if self.member is None else f"{self.path.name}/{self.member}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the content as a byte stream, decompressed.

        :raises DataError: if the archive is truncated or damaged, also when that shows only while reading
        """
        try:
            if self.member is None:
                with gzip.open(self.path) if self.path.suffix == ".gz" else open(self.path, "rb") as stream:
                    yield stream  # type: ignore[misc]
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as inner:
                    if self.member.endswith(".gz"):
                        with gzip.open(inner) as unzipped:
                            yield unzipped  # type: ignore[misc]
                    else:
                        yield inner
        except _DAMAGE as error:
            raise DataError(f"is truncated or damaged ({error}); fetch it again", path=self) from error

    def read(self) -> bytes:
        """The whole content. :raises DataError: if the archive is truncated or damaged"""
        with self.open() as stream:
            return stream.read()


def list_files(folder: Path | str) -> dict[str, SourceFile]:
    """All files of ``folder``, its subfolders and its zip archives, by base name; hidden files are passed over.

    :param folder: a zip archive may stand for it

    :raises DataError: if the folder is missing, an archive is damaged, or a base name occurs twice
    """
    folder = Path(folder)
    archive = folder.suffix.lower() == ".zip" and folder.is_file()
    if not folder.is_dir() and not archive:
        raise DataError("no such folder; run the fetch stage first", path=folder)
    found: dict[str, SourceFile] = {}
    for path in [folder] if archive else sorted(path for path in folder.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        for file in _members(path) if path.suffix.lower() == ".zip" else [_file(path)]:
            if file.name in found:
                raise DataError(f"{file.name} is there twice ({found[file.name]} and {file}); leave one", path=folder)
            found[file.name] = file
    return found


def _file(path: Path) -> SourceFile:
    return SourceFile(path.name.removesuffix(".gz"), path)


def _members(path: Path) -> Iterator[SourceFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except _DAMAGE as error:
        raise DataError(f"is truncated or not a zip archive ({error}); fetch it again", path=path) from error
    for name in names:
        parts = name.split("/")
        if "__MACOSX" not in parts and not parts[-1].startswith("."):
            yield SourceFile(parts[-1].removesuffix(".gz"), path, name)


def need(files: Mapping[str, SourceFile], name: str) -> SourceFile:
    """The file ``name``. :raises DataError: if it is not among ``files``"""
    if name not in files:
        raise DataError(
            f"missing from the ratings folder, which has {', '.join(sorted(files)[:8]) or 'no files'}; "
            "is interactions.format right, and the source complete?",
            path=name,
        )
    return files[name]
