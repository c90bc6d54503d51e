"""A folder holds pictures and clips that somebody has already: files named by item or entity, plain or in zip archives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from kgrec.config import Settings
from kgrec.media.files import MediaFiles
from kgrec.media.sources.base import Found, Modality, Nothing, Search, Source, Subject

FileModality = Literal["image", "audio", "video"]


class FolderSettings(Settings):
    """Files that are there: ``<item_id>.<suffix>`` or ``entity:<entity_id>.<suffix>``, see :mod:`kgrec.media.files`."""

    kind: Literal["folder"]
    """``folder``"""
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    """Tells two sources of one kind apart: the source is called ``folder:<name>`` in tables. May be left out."""
    modalities: tuple[FileModality, ...] = Field(default=("image", "audio", "video"), min_length=1)
    """What to take from it, where there is a folder for it."""
    paths: dict[FileModality, Path] = Field(default_factory=dict)
    """Folders by modality, in place of those that are handed over (of the pipeline's ``fetch``)."""
    licence: str = "not stated"
    """Written into the tables beside what comes from here."""


class FolderSource(Source):
    """Files by key. ``files`` has them by modality; it owns their archives."""

    def __init__(self, files: Mapping[Modality, MediaFiles], name: str = "folder", licence: str = "not stated") -> None:
        self.files, self.name, self.licence = files, name, licence
        self.modalities = frozenset(files)

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """Look for files; asks nothing."""
        yield from ()
        found: list[Found | Nothing] = []
        for modality in sorted(modalities):
            file = self.files[modality].by_key.get(subject.key) if modality in self.files else None
            if file is None:
                found.append(Nothing(modality, "missing", "no file"))
            else:
                found.append(Found(modality, file.name, file.read, licence=self.licence))
        return found

    def close(self) -> None:
        """Close the archives."""
        for files in self.files.values():
            files.close()
