"""Sources of pictures, texts and clips behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from kgrec.errors import ConfigError
from kgrec.media.files import MediaFiles
from kgrec.media.sources.base import (
    Credential,
    Found,
    Modality,
    Nothing,
    Outcome,
    Reply,
    Request,
    Search,
    Source,
    Subject,
)
from kgrec.media.sources.folder import FileModality, FolderSettings, FolderSource
from kgrec.media.sources.imdb import ImdbSettings, ImdbSource
from kgrec.media.sources.omdb import OmdbSettings, OmdbSource
from kgrec.media.sources.tmdb import TmdbSettings, TmdbSource
from kgrec.media.sources.urls import UrlsSettings, UrlsSource, UrlTable
from kgrec.media.sources.wikimedia import WikimediaSettings, WikimediaSource

#: the settings of one source; ``kind`` says which
SourceSettings: TypeAlias = Annotated[
    FolderSettings | UrlsSettings | ImdbSettings | OmdbSettings | TmdbSettings | WikimediaSettings,
    Field(discriminator="kind"),
]

__all__ = [
    "Credential", "FolderSettings", "FolderSource", "Found", "ImdbSettings", "ImdbSource", "Modality", "Nothing",
    "OmdbSettings", "OmdbSource", "Outcome", "Reply", "Request", "Search", "Source", "SourceSettings", "Subject",
    "TmdbSettings", "TmdbSource", "UrlTable", "UrlsSettings", "UrlsSource", "WikimediaSettings", "WikimediaSource",
    "open_sources",
]  # fmt: skip


def open_sources(
    settings: Sequence[SourceSettings],
    *,
    posters: Path | None = None,
    texts: Path | None = None,
    audio: Path | None = None,
    video: Path | None = None,
    overrides: Path | None = None,
    keys: bool = True,
) -> list[Source]:
    """Open the sources in the order of ``settings``. Whoever opens them closes them (:meth:`Source.close`).

    :param posters: folder of pictures, for ``folder`` and for the tables of ``urls``; so ``audio`` and ``video``
    :param texts: folder of text files; only tables of ``urls`` are looked for in it
    :param overrides: folder of pictures that hide those of ``posters``
    :param keys: whether a source that needs a key must find it in the environment; not to replay what was fetched
    :raises ConfigError: for a missing key, two sources of one name, or a table that is nowhere
    :raises DataError: for a missing folder, or a damaged archive or table
    """
    folders: dict[FileModality, Path | None] = {"image": posters, "audio": audio, "video": video}
    sources: list[Source] = []
    with ExitStack() as opened:
        for one, name in zip(settings, _names(settings), strict=True):
            source = _open(one, name, folders, texts, overrides, keys)
            opened.callback(source.close)
            sources.append(source)
        opened.pop_all()
    return sources


def _open(
    settings: SourceSettings,
    name: str,
    folders: dict[FileModality, Path | None],
    texts: Path | None,
    overrides: Path | None,
    keys: bool,
) -> Source:
    if isinstance(settings, FolderSettings):
        return _open_folder(settings, name, folders, overrides)
    if isinstance(settings, UrlsSettings):
        path = _find_table(settings.table, [folders["image"], texts, folders["audio"], folders["video"]])
        return UrlsSource(settings, UrlTable(path, settings.modality, settings.licence), name)
    if isinstance(settings, OmdbSettings):
        return OmdbSource(settings, name, keys=keys)
    if isinstance(settings, TmdbSettings):
        return TmdbSource(settings, name, keys=keys)
    return ImdbSource(settings, name) if isinstance(settings, ImdbSettings) else WikimediaSource(settings, name)


def _open_folder(
    settings: FolderSettings, name: str, folders: dict[FileModality, Path | None], overrides: Path | None
) -> FolderSource:
    files: dict[Modality, MediaFiles] = {}
    with ExitStack() as opened:
        for modality in settings.modalities:
            path = settings.paths.get(modality, folders[modality])
            if path is not None:
                hiding = overrides if modality == "image" and modality not in settings.paths else None
                files[modality] = opened.enter_context(MediaFiles(path, modality, hiding))
        opened.pop_all()
    return FolderSource(files, name, settings.licence)


def _find_table(table: Path, folders: Sequence[Path | None]) -> Path:
    places = [table, *(folder / table for folder in folders if folder is not None)]
    for path in places:
        if path.is_file():
            return path
    raise ConfigError(f"media.sources: urls: no table {table}; looked for {', '.join(map(str, places))}")


def _names(settings: Sequence[SourceSettings]) -> list[str]:
    """One name for each source: ``<kind>:<name>`` if it has one of its own, else its kind (``urls`` with the table's
    name), counted from the second on."""
    names: list[str] = []
    for one in settings:
        own = one.name or (one.table.name.split(".")[0] if isinstance(one, UrlsSettings) else "")
        name = f"{one.kind}:{own}" if own else one.kind
        if one.name and name in names:
            raise ConfigError(f"media.sources: two sources are called {name}; give one of them another name")
        number, base = 2, name
        while name in names:
            name, number = f"{base}:{number}", number + 1
        names.append(name)
    return names
