"""Media files are looked up by the key their name carries: ``<item_id>.<suffix>`` or ``entity:<entity_id>.<suffix>``, in zip
archives and in folders. What a file system does not allow in a name is percent-encoded (``entity%3Aa%2Fb.jpg``).

A later layer hides an earlier one: an overrides folder before plain files before archives. So one poster is replaced by
dropping one file beside the archive.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from kgrec.errors import ConfigError, DataError
from kgrec.media.images import SUFFIXES as _IMAGE_SUFFIXES
from kgrec.media.keys import media_key

#: endings of file names, in lower case, by modality
SUFFIXES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "image": _IMAGE_SUFFIXES,
        "audio": frozenset({".mp3", ".flac", ".wav", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma"}),
        "video": frozenset({".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".ogv", ".wmv"}),
    }
)
_NOUNS = {"image": "posters", "audio": "audio files", "video": "videos"}


class MediaFile(ABC):
    """One file that may be a picture or a clip."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """Where it is, for a person: ``<folder or archive>/<path in it>``."""

    @abstractmethod
    def read(self, limit: int) -> bytes:
        """Its bytes, at most ``limit + 1`` of them. :raises DamagedMember: if it cannot be unpacked"""


class DamagedMember(Exception):
    """A member of an otherwise readable archive cannot be unpacked; the message says why."""


class MediaFiles:
    """All files of one modality in a folder, by media key. A context manager: archives stay open while it is.

    :param folder: holds ``*.zip`` archives, files, or both; subfolders are searched
    :param modality: image, audio or video: which endings count, see :data:`SUFFIXES`
    :param overrides: another folder of files that hide those of ``folder``
    :raises DataError: if ``folder`` does not exist or an archive is not a complete zip file
    :raises ConfigError: if ``overrides`` does not exist
    """

    def __init__(self, folder: Path, modality: str = "image", overrides: Path | None = None) -> None:
        if not folder.is_dir():
            raise DataError(f"no such folder of {_NOUNS[modality]}; run the fetch stage first", path=folder)
        if overrides is not None and not overrides.is_dir():
            raise ConfigError(f"media.overrides: {overrides} is not a folder; create it or set it to null")
        self._suffixes = SUFFIXES[modality]
        self.by_key: dict[str, MediaFile] = {}
        #: names of files that hid behind another file of the same key in the same layer
        self.ambiguous: list[str] = []
        self._archives = ExitStack()
        try:
            for archive in sorted(folder.rglob("*.zip")):
                self._add_layer(self._members(archive))
            self._add_layer(self._plain(folder))
            if overrides is not None:
                self._add_layer(self._plain(overrides))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MediaFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archives."""
        self._archives.close()

    def _add_layer(self, files: Iterable[tuple[str, MediaFile]]) -> None:
        layer: dict[str, MediaFile] = {}
        for stem, file in files:
            key = media_key(unquote(stem))
            if key in layer:
                self.ambiguous.append(file.name)
            else:
                layer[key] = file
        self.by_key.update(layer)

    def _plain(self, folder: Path) -> Iterator[tuple[str, MediaFile]]:
        found = []
        for root, _, names in os.walk(folder):
            inside = Path(root).relative_to(folder).as_posix()
            found += [name if inside == "." else f"{inside}/{name}" for name in names]
        for path in sorted(found, key=lambda path: path.split("/")):
            stem = self._stem(path)
            if stem and (folder / path).is_file():
                yield stem, _PlainFile(folder, path)

    def _members(self, archive: Path) -> Iterator[tuple[str, MediaFile]]:
        try:
            opened = self._archives.enter_context(zipfile.ZipFile(archive))
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"is not a complete zip archive ({error}); fetch it again", path=archive) from None
        for member in sorted(opened.infolist(), key=lambda info: info.filename):
            stem = "" if member.is_dir() else self._stem(member.filename)
            if stem:
                yield stem, _Member(archive.name, opened, member)

    def _stem(self, path: str) -> str:
        """The part of the file's name that is a key; empty if it is no file of this modality."""
        *folders, name = path.split("/")
        stem, suffix = os.path.splitext(name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in [*folders, name])
        return stem if suffix.lower() in self._suffixes and not hidden else ""


@dataclass(frozen=True, slots=True)
class _PlainFile(MediaFile):
    folder: Path
    path: str

    @property
    def name(self) -> str:
        return os.fsencode(f"{self.folder.name}/{self.path}").decode("utf-8", "replace")

    def read(self, limit: int) -> bytes:
        with (self.folder / self.path).open("rb") as stream:
            return stream.read(limit + 1)


@dataclass(frozen=True, slots=True)
class _Member(MediaFile):
    archive_name: str
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @property
    def name(self) -> str:
        return f"{self.archive_name}/{self.member.filename}"

    def read(self, limit: int) -> bytes:
        try:
            with self.archive.open(self.member) as stream:
                return stream.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise DamagedMember(str(error)) from None
