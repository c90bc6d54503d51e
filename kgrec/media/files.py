"""Poster files are looked up by the item id their name carries: ``<item_id>.<suffix>``, in zip archives and in folders.

A later layer hides an earlier one: an overrides folder before plain files before archives. So one poster is replaced by
dropping one file beside the archive.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from kgrec.errors import ConfigError, DataError
from kgrec.media.images import SUFFIXES


@dataclass(frozen=True)
class PosterFile:
    """One file that may be a picture. ``read`` returns its bytes, at most ``limit + 1`` of them."""

    name: str
    read: Callable[[int], bytes]


class DamagedMember(Exception):
    """A member of an otherwise readable archive cannot be unpacked; the message says why."""


class PosterFiles:
    """All poster files of a folder, by item id. A context manager: archives stay open while it is.

    :param folder: holds ``*.zip`` archives, files, or both; subfolders are searched
    :param overrides: another folder of files that hide those of ``folder``
    :raises DataError: if ``folder`` does not exist or an archive is not a complete zip file
    :raises ConfigError: if ``overrides`` does not exist
    """

    def __init__(self, folder: Path, overrides: Path | None = None) -> None:
        if not folder.is_dir():
            raise DataError("no such folder of posters; run the fetch stage first", path=folder)
        if overrides is not None and not overrides.is_dir():
            raise ConfigError(f"media.overrides: {overrides} is not a folder; create it or set it to null")
        self.by_item: dict[str, PosterFile] = {}
        #: names of files that hid behind another file of the same item in the same layer
        self.ambiguous: list[str] = []
        self._archives = ExitStack()
        try:
            for archive in sorted(folder.rglob("*.zip")):
                self._add_layer(self._members(archive))
            self._add_layer(self._plain(folder))
            if overrides is not None:
                self._add_layer(self._plain(overrides))
        except BaseException:
            self._archives.close()
            raise

    def __enter__(self) -> PosterFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self._archives.close()

    def _add_layer(self, files: Iterable[tuple[PurePosixPath, PosterFile]]) -> None:
        layer: dict[str, PosterFile] = {}
        for path, file in files:
            hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
            if hidden or path.suffix.lower() not in SUFFIXES:
                continue
            item_id = unquote(path.stem)
            if item_id in layer:
                self.ambiguous.append(file.name)
            else:
                layer[item_id] = file
        self.by_item.update(layer)

    def _plain(self, folder: Path) -> Iterable[tuple[PurePosixPath, PosterFile]]:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            yield relative, PosterFile(f"{folder.name}/{relative}", _FileReader(path))

    def _members(self, archive: Path) -> Iterable[tuple[PurePosixPath, PosterFile]]:
        try:
            opened = self._archives.enter_context(zipfile.ZipFile(archive))
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"is not a complete zip archive ({error}); fetch it again", path=archive) from None
        for member in sorted(opened.infolist(), key=lambda info: info.filename):
            if not member.is_dir():
                file = PosterFile(f"{archive.name}/{member.filename}", _MemberReader(opened, member))
                yield PurePosixPath(member.filename), file


@dataclass(frozen=True)
class _FileReader:
    path: Path

    def __call__(self, limit: int) -> bytes:
        with self.path.open("rb") as stream:
            return stream.read(limit + 1)


@dataclass(frozen=True)
class _MemberReader:
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __call__(self, limit: int) -> bytes:
        try:
            with self.archive.open(self.member) as stream:
                return stream.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise DamagedMember(str(error)) from None
