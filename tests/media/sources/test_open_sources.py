from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from kgrec.config import Settings, parse_settings
from kgrec.errors import ConfigError, DataError
from kgrec.media.sources import (
    FolderSource,
    ImdbSource,
    OmdbSource,
    Source,
    SourceSettings,
    TmdbSource,
    UrlsSource,
    WikimediaSource,
    open_sources,
)


class Section(Settings):
    """As a section of params.yaml holds sources."""

    sources: tuple[SourceSettings, ...] = ()


def parse(*sources: dict[str, Any]) -> tuple[SourceSettings, ...]:
    return parse_settings(Section, {"sources": list(sources)}).sources


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    for name in ("posters", "texts", "audio", "overrides"):
        (tmp_path / name).mkdir()
    (tmp_path / "posters" / "1.jpg").write_bytes(b"fetched")
    (tmp_path / "overrides" / "1.png").write_bytes(b"better")
    (tmp_path / "audio" / "1.mp3").write_bytes(b"sound")
    (tmp_path / "texts" / "urls.csv").write_text("id,url\n1,https://a.org/1.jpg\n")
    for variable in ("OMDB_API_KEY", "TMDB_API_KEY", "TMDB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    return {name: tmp_path / name for name in ("posters", "texts", "audio", "overrides")}


def closed(sources: list[Source]) -> list[Source]:
    for source in sources:
        source.close()
    return sources


def test_each_kind_in_the_order_of_the_settings(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMDB_API_KEY", "k")
    monkeypatch.setenv("TMDB_TOKEN", "k")
    kinds = ("tmdb", "folder", "omdb", "imdb", "wikimedia")
    sources = closed(
        open_sources(parse(*({"kind": k} for k in kinds), {"kind": "urls", "table": "urls.csv"}), **folders)
    )
    classes = [TmdbSource, FolderSource, OmdbSource, ImdbSource, WikimediaSource, UrlsSource]
    assert [type(source) for source in sources] == classes
    assert [source.name for source in sources] == [*kinds, "urls:urls"]
    assert [source.max_age_days for source in sources] == [180, None, None, None, None, None]
    assert all(source.hosts for source in sources if not isinstance(source, FolderSource))


def test_the_folder_serves_the_modalities_that_have_one(folders: dict[str, Path], tmp_path: Path) -> None:
    (source,) = open_sources(parse({"kind": "folder"}), **folders)
    assert isinstance(source, FolderSource)
    assert source.modalities == {"image", "audio"}
    assert source.files["image"].by_key["item:1"].read(99) == b"better"
    elsewhere = tmp_path / "bought"
    elsewhere.mkdir()
    (elsewhere / "1.jpg").write_bytes(b"bought")
    own = {"kind": "folder", "paths": {"image": str(elsewhere)}, "modalities": ["image"], "licence": "ours"}
    (other,) = open_sources(parse(own), **folders)
    assert isinstance(other, FolderSource)
    assert (other.modalities, other.licence) == ({"image"}, "ours")
    assert other.files["image"].by_key["item:1"].read(99) == b"bought"
    with pytest.raises(DataError, match="no such folder of videos"):
        open_sources(parse({"kind": "folder"}), video=tmp_path / "absent")


def test_sources_of_one_kind_have_names_of_their_own(folders: dict[str, Path], tmp_path: Path) -> None:
    table = {"kind": "urls", "table": str(folders["texts"] / "urls.csv")}
    settings = parse(
        {"kind": "wikimedia"}, {"kind": "wikimedia"}, {"kind": "wikimedia", "name": "de"}, table, table,
        table | {"name": "mine"}, {"kind": "wikimedia"},
    )  # fmt: skip
    names = [source.name for source in closed(open_sources(settings))]
    assert names == ["wikimedia", "wikimedia:2", "wikimedia:de", "urls:urls", "urls:urls:2", "urls:mine", "wikimedia:3"]
    with pytest.raises(ConfigError, match="two sources are called imdb:a"):
        open_sources(parse({"kind": "imdb", "name": "a"}, {"kind": "imdb", "name": "a"}))


def test_a_missing_key_is_an_error_before_anything_is_fetched(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="omdb needs a key: set the environment variable OMDB_API_KEY"):
        open_sources(parse({"kind": "omdb"}))
    with pytest.raises(ConfigError, match="TMDB_TOKEN or TMDB_API_KEY"):
        open_sources(parse({"kind": "tmdb"}))
    assert len(open_sources(parse({"kind": "omdb"}, {"kind": "tmdb"}), keys=False)) == 2


def test_an_error_closes_what_was_open(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folders["posters"] / "p.zip", "w") as archive:
        archive.writestr("2.jpg", b"x")
    closings = []
    monkeypatch.setattr(FolderSource, "close", lambda self: closings.append(self))
    with pytest.raises(ConfigError):
        open_sources(parse({"kind": "folder"}, {"kind": "omdb"}), **folders)
    assert len(closings) == 1


def test_a_table_is_looked_for_in_the_folders(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no table gone\.csv; looked for gone\.csv, .*posters/gone\.csv, .*texts/gone\.csv"
    ):
        open_sources(parse({"kind": "urls", "table": "gone.csv"}), posters=folders["posters"], texts=folders["texts"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "tmdb", "sise": "w500"}, r"unknown key 'sources\.0\.tmdb\.sise'"),
        ({"kind": "tmbd"}, r"sources\.0: .*tmbd"),
        ({}, r"sources\.0: .*kind"),
        ({"kind": "tmdb", "size": "large"}, r"sources\.0\.tmdb\.size"),
        ({"kind": "tmdb", "max_age_days": None}, r"sources\.0\.tmdb\.max_age_days"),
        ({"kind": "urls"}, r"sources\.0\.urls\.table"),
        ({"kind": "folder", "modalities": ["text"]}, r"sources\.0\.folder\.modalities"),
        ({"kind": "omdb", "modalities": []}, r"sources\.0\.omdb\.modalities"),
        ({"kind": "imdb", "name": "a b"}, r"sources\.0\.imdb\.name"),
    ],
)
def test_a_wrong_setting_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(source)


def test_every_setting_says_what_it_is() -> None:
    union = SourceSettings.__origin__  # type: ignore[attr-defined]
    for settings in union.__args__:
        assert settings.__doc__
        undescribed = [name for name, field in settings.model_fields.items() if not field.description]
        assert undescribed == [], settings.__name__


def test_the_page_about_sources_names_every_setting_and_its_example_is_right() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    assert {one.kind for one in parse(*example["media"]["sources"])} == {"folder", "urls", "wikimedia", "tmdb", "omdb"}
    shared = page.split("**all**")[1].split("\n\n")[0]
    union = SourceSettings.__origin__  # type: ignore[attr-defined]
    for settings in union.__args__:
        kind = settings.model_fields["kind"].annotation.__args__[0]
        text = shared + page.split(f"\n**{kind}**:")[1].split("\n\n")[0]
        assert [name for name in settings.model_fields if name != "kind" and f"`{name}`" not in text] == [], kind
