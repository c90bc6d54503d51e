"""The page stands alone: one file, no script, nothing fetched, everything said in words as well."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kgrec.errors import CheckpointError, DataError
from kgrec.serving.evaluation_file import read_evaluation
from kgrec.serving.report import ReportSettings, write_report


class Page(HTMLParser):
    """Tags with attributes, the text a reader sees, and whether every element is closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(" ".join(data.split()))


def write(world: Any, model: Path, out: Path, **settings: Any) -> dict[str, Any]:
    return write_report(
        world.reports, world.media, world.split, world.models, world.evaluation, model, out, ReportSettings(**settings)
    )


@pytest.fixture(scope="module")
def made(
    world: Any, published: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    """The page of the run, and what its call returned."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    counts = write(world, published["bpr_mf"], out)
    return out.read_text(encoding="utf-8"), counts


def test_nothing_is_fetched(made: tuple[str, dict[str, Any]]) -> None:
    text, _ = made
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in ("src", "srcset", "href", "data", "action", "poster", "xlink:href"):
                assert (value or "").startswith(("data:image/jpeg;base64,", "#")), value
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_all_is_said_in_words(world: Any, made: tuple[str, dict[str, Any]]) -> None:
    page = Page(made[0])
    words = " ".join(page.words)
    results = read_evaluation(world.evaluation)
    for model in results.models:
        for name in ("Recall@10", "NDCG@10", "Recall@5"):
            assert f"{results.numbers(model)[name]:.4f}" in words
    assert "synthetic data" in words
    assert "split: random per user 0.8:0.1:0.1, seed 42" in words
    for stage in ("fetch", "interactions", "media", "split", "graph"):
        assert stage in page.words
    assert "rejected · malformed line" in words
    assert "EASE, ItemKNN, Popularity" in words
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    anchors = {attributes.get("id") for _, attributes in page.tags}
    assert {(attributes["href"] or "")[1:] for tag, attributes in page.tags if tag == "a"} <= anchors


def test_people_with_hits_and_title_cards(made: tuple[str, dict[str, Any]]) -> None:
    text, counts = made
    assert counts["users_shown"] == 6
    assert text.count('<figure class="hit">') == counts["hits_shown"] > 0
    assert counts["posters_shown"] + counts["posters_missing"] <= 30
    assert counts["posters_missing"] > 0
    assert 'class="no"' in text
    assert "Letters &amp; &lt;Dreams&gt;" in text  # titles are text, never markup
    assert "<Dreams>" not in text


def test_light_and_dark(made: tuple[str, dict[str, Any]]) -> None:
    assert "@media (prefers-color-scheme: dark)" in made[0]
    light, dark = re.findall(r":root \{\n\s*(?:color-scheme[^\n]*\n\s*)?(--paper[^}]*)\}", made[0])
    assert set(re.findall(r"--\w[\w-]*:", light)) - {"--shadow:"} == set(re.findall(r"--\w[\w-]*:", dark)) - {
        "--shadow:"
    }


def test_equal_runs_give_equal_pages(
    world: Any, published: dict[str, Path], made: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    write(world, published["bpr_mf"], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == made[0]


def test_a_model_without_vectors_and_no_people(world: Any, published: dict[str, Path], tmp_path: Path) -> None:
    counts = write(world, published["popularity"], tmp_path / "report.html", users=0, title="A <title>")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert counts["users_shown"] == 0
    assert "A &lt;title&gt;" in text
    Page(text)


def test_bad_input_writes_nothing(world: Any, published: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(CheckpointError, match="no such model folder"):
        write(world, tmp_path / "nowhere", out)
    (tmp_path / "metrics.json").write_text('{"models": {"ease": {"test": {"Recall@10": 0.1}}}}')
    with pytest.raises(DataError, match="no numbers of the published model 'bpr_mf'"):
        write(type(world)(**{**world.__dict__, "evaluation": tmp_path}), published["bpr_mf"], out)
    assert not out.exists()
