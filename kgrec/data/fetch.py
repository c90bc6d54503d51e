"""Fetching brings the raw files of a recipe into one folder per role, as published, and writes down where each is from.

Sources are addresses or local paths. A local folder of files becomes one zip archive. The recipe ``demo`` has no
sources: its files are generated.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from kgrec.config import Settings
from kgrec.data.demo import DemoSettings, generate
from kgrec.data.download import checksum_error, download, utc
from kgrec.data.io import EMPTY, atomic_folder, sha256_file, write_json
from kgrec.errors import DataError
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

_BLOCK = 1 << 20


class SourceSettings(Settings):
    """One published file, or a local folder of files."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    """Address of the file."""
    path: str | None = None
    """Local file or folder instead; a relative path starts from ``fetch.root``."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest the file must have (of the packed archive, if the source is a folder)."""
    name: str | None = Field(default=None, pattern=r"^[^/\\]+$")
    """File name to store it under; null takes it from the address or path."""
    licence: str = "not stated"
    """Licence or terms of use, in a few words."""
    redistribute: bool = False
    """Whether the terms let others have the file from us."""

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSettings:
        if (self.url is None) == (self.path is None):
            raise ValueError("give either url or path")
        if not self.file_name or self.file_name in (".", ".."):
            raise ValueError("the origin has no file name; give name")
        return self

    @property
    def file_name(self) -> str:
        """Name of the stored file; that of a folder still lacks ``.zip``."""
        if self.name is not None:
            return self.name
        return Path(unquote(urlsplit(self.url).path)).name if self.url else Path(self.path or "").name


class Sources(Settings):
    """The sources by role; every role may be empty."""

    ratings: list[SourceSettings] = Field(default_factory=list)
    """Ratings, items and users."""
    links: list[SourceSettings] = Field(default_factory=list)
    """Link files between items and knowledge graph entities."""
    kg: list[SourceSettings] = Field(default_factory=list)
    """Knowledge graph files."""
    posters: list[SourceSettings] = Field(default_factory=list)
    """Images named by item id."""
    texts: list[SourceSettings] = Field(default_factory=list)
    """Plots and metadata of items."""
    audio: list[SourceSettings] = Field(default_factory=list)
    """Audio clips named by item id."""
    video: list[SourceSettings] = Field(default_factory=list)
    """Videos named by item id."""
    features: list[SourceSettings] = Field(default_factory=list)
    """Vectors made elsewhere, with the ids of their rows."""

    @field_validator("*", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return [] if value is None else value


ROLES = tuple(Sources.model_fields)


class FetchSettings(Settings):
    """Where the raw files come from."""

    recipe: str
    """Name of the recipe; ``demo`` generates its files."""
    root: str | None = None
    """Folder that relative paths start from; null is the current folder. Recipes without paths do not use it."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the demo world; null leaves it to ``demo.seed``."""
    demo: DemoSettings = Field(default_factory=lambda: DemoSettings.model_validate({}))
    """Size and taste of the demo world."""
    sources: Sources = Field(default_factory=Sources)
    """The files of every other recipe."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds without an answer after which an attempt to download is given up."""

    @model_validator(mode="after")
    def _something_to_fetch(self) -> FetchSettings:
        named = [role for role in ROLES if getattr(self.sources, role)]
        if self.recipe == "demo" and named:
            raise ValueError(f"recipe demo generates its files; take out sources.{named[0]} or rename the recipe")
        if self.recipe != "demo" and "ratings" not in named:
            raise ValueError("sources.ratings is empty; name the file with the ratings")
        if self.seed is not None and "seed" in self.demo.model_fields_set and self.demo.seed != self.seed:
            raise ValueError("seed and demo.seed differ; leave one out")
        return self


def fetch(out: Path, settings: FetchSettings, cache: Path) -> dict[str, Any]:
    """Fill ``out/raw/<role>/`` for every role and write ``out/sources.json``.

    Per file, ``sources.json`` holds role, name, origin (the address, or the path as given), bytes, sha256, licence,
    redistribute and time (ISO 8601, UTC: of the download, or of the local file's last change; null if generated).

    :param cache: folder that keeps downloads between runs
    :raises DataError: if a source is missing, cannot be downloaded, or is not what its checksum says; nothing is
        written then
    """
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".raw.") as name:
        raw = Path(name)
        for role in ROLES:
            (raw / role).mkdir()
        if settings.recipe == "demo":
            sources, more = _generate(raw, settings)
        else:
            sources, more = _bring_all(raw, settings, cache), {}
        for role in ROLES:
            with atomic_folder(out / "raw" / role) as folder:
                for path in (raw / role).iterdir():
                    os.replace(path, folder / path.name)
                if not any(folder.iterdir()):
                    (folder / EMPTY).touch()
    sources.sort(key=lambda one: (ROLES.index(one["role"]), one["name"]))
    synthetic = settings.recipe == "demo"
    write_json({"recipe": settings.recipe, "synthetic": synthetic, "sources": sources}, out / "sources.json")
    log.info("fetched", recipe=settings.recipe, files=len(sources), bytes=sum(one["bytes"] for one in sources))
    return {
        "recipe": settings.recipe,
        "synthetic": synthetic,
        "roles": {
            role: {
                "files": sum(one["role"] == role for one in sources),
                "bytes": sum(one["bytes"] for one in sources if one["role"] == role),
            }
            for role in ROLES
        },
        **more,
    }


def _bring_all(raw: Path, settings: FetchSettings, cache: Path) -> list[dict[str, Any]]:
    """Bring every source into its role's folder. :returns: what ``sources.json`` says of them"""
    return [
        {"role": role, **_bring(source, f"fetch.sources.{role}[{number}]", raw / role, settings, cache)}
        for role in ROLES
        for number, source in enumerate(getattr(settings.sources, role))
    ]


def _bring(source: SourceSettings, place: str, folder: Path, settings: FetchSettings, cache: Path) -> dict[str, Any]:
    """Bring one source into ``folder``."""
    name = source.file_name
    if source.url is not None:
        content = download(source.url, cache, source.sha256, settings.timeout)
        path, time = content.path, content.time
    else:
        path = Path(settings.root or ".") / (source.path or "")
        if not path.exists():
            raise DataError(f"no such file or folder; mend {place}.path or fetch.root ({settings.root})", path=path)
        if path.is_dir():
            name = name if name.endswith(".zip") else f"{name}.zip"
        time = _changed(path)
    target = folder / name
    if target.exists():
        raise DataError(f"{place}: a second file named {name} in one role; give it another name", path=path)
    digest = _pack(path, target) if path.is_dir() else _copy(path, target)
    if source.sha256 is not None and digest != source.sha256:
        raise checksum_error(path, source.sha256, digest)
    return {
        "name": name, "origin": source.url or source.path, "bytes": target.stat().st_size, "sha256": digest,
        "licence": source.licence, "redistribute": source.redistribute, "time": time,
    }  # fmt: skip


def _generate(raw: Path, settings: FetchSettings) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Generate the demo world. :returns: what ``sources.json`` says of its files, and what the generator says of it"""
    seed = settings.demo.seed if settings.seed is None else settings.seed
    counts = generate(raw, settings.demo.model_copy(update={"seed": seed}))
    sources = [
        {
            "role": role, "name": path.name, "origin": f"generated with seed {seed}", "bytes": path.stat().st_size,
            "sha256": sha256_file(path), "licence": "Apache-2.0", "redistribute": True, "time": None,
        }
        for role in ROLES
        for path in _files(raw / role)
    ]  # fmt: skip
    return sources, {"demo": counts}


def _files(folder: Path) -> list[Path]:
    """Files below ``folder`` by relative name, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.is_file())
    seen = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(seen, key=lambda path: path.relative_to(folder).as_posix())


def _changed(path: Path) -> str:
    times = [one.stat().st_mtime for one in _files(path)] if path.is_dir() else [path.stat().st_mtime]
    if not times:
        raise DataError("holds no files", path=path)
    return utc(max(times))


def _copy(path: Path, target: Path) -> str:
    """Copy a file. :returns: its SHA-256"""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with open(path, "rb") as old, open(target, "wb") as new, item_progress(f"copy {path.name}", size, "B") as bar:
        while block := old.read(_BLOCK):
            digest.update(block)
            new.write(block)
            bar.advance(len(block))
    return digest.hexdigest()


def _pack(folder: Path, target: Path) -> str:
    """Pack a folder into an uncompressed zip whose bytes depend on names and contents alone. :returns: its SHA-256"""
    files = _files(folder)
    with zipfile.ZipFile(target, "w") as archive, item_progress(f"pack {folder.name}", len(files), "files") as bar:
        for path in files:
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            member.external_attr, member.file_size, member.create_system = 0o644 << 16, path.stat().st_size, 3
            with open(path, "rb") as old, archive.open(member, "w") as new:
                while block := old.read(_BLOCK):
                    new.write(block)
            bar.advance()
    return sha256_file(target)
