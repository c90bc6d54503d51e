"""The section on the knowledge graph says in words what the relation report found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.data.io import write_json, write_parquet
from kgrec.errors import DataError
from kgrec.kg.quality_tables import DROPPED, HUBS, ISOLATED, QUALITY
from kgrec.serving.report import ReportSettings, write_report
from kgrec.serving.report.graph import FIRST, graph_view

SAID = {
    "relations": FIRST + 2, "relations_stated_twice": 1, "triples": 4321, "triples_suspected": 77, "hubs": 1,
    "items_without_fact": 2, "items_without_company": 3, "items_over_hubs_only": 9,
}  # fmt: skip


@pytest.fixture(name="quality")
def _quality(tmp_path: Path) -> Path:
    shares = {field.name: 0.25 for field in QUALITY if field.type == "double"}
    rows = [
        {"relation": f"film.film.r{n}", "triples": 100 - n, "leaking": 0, "double": "film.film.<twin>", **shares}
        for n in range(FIRST)
    ]
    rows.append({"relation": "film.film.similar_to", "triples": 77, "leaking": 77, "leak": "likeness & more", **shares})
    rows.append(
        {"relation": "http://example.org/genre", "triples": 999, "leaking": 0, "example": "Alien → Horror", **shares}
    )
    hub = {"entity_id": "m.en", "degree": 90, "items": 80, "item_share": 0.92, "relation": "film.film.language"}
    alone = [{"item_id": "7", "name": "A Film, Alone", "kind": "no fact"}, {"entity_id": "m.x", "kind": "no fact"}]
    gone = {"relation": "http://www.w3.org/x", "facts": 5678, "pattern": "http://www.w3.org/*", "reason": "types"}
    for name, schema, table in (
        ("relations", QUALITY, rows), ("hubs", HUBS, [hub]), ("isolated", ISOLATED, alone), ("dropped", DROPPED, [gone]),
    ):  # fmt: skip
        write_parquet(pa.Table.from_pylist(table, schema=schema), tmp_path / "quality" / f"{name}.parquet")
    write_json(SAID, tmp_path / "quality" / "quality.json")
    return tmp_path / "quality"


def test_view(quality: Path) -> None:
    view = graph_view(quality)
    assert [row["name"] for row in view.relations[:2]] == ["genre", "film.r0"]
    assert [row["name"] for row in view.leaks] == ["film.similar_to"]
    assert ("items joined to none", "5") in view.facts
    assert (view.hubs[0]["name"], view.hubs[0]["by"], view.isolated) == ("m.en", "film.language", ["A Film, Alone"])
    assert view.dropped[0]["relation"] == "www.w3.org/x"


def test_page(world: Any, published: dict[str, Path], quality: Path, tmp_path: Path) -> None:
    def page(name: str, **kwargs: Any) -> str:
        out = tmp_path / name
        write_report(
            world.reports, world.media, world.split, world.models, world.evaluation, published["ease"], out,
            ReportSettings(users=0), **kwargs,
        )  # fmt: skip
        return out.read_text(encoding="utf-8")

    text = page("with.html", quality=quality)
    section = text[text.index('<section id="graph">') : text.index('<section id="pipeline">')]
    for words in (
        "film.similar_to", "likeness &amp; more", "77 of 77", "Alien → Horror", "92% of the items", "A Film, Alone",
        "www.w3.org/x: types", "5,678", "4,321", "film.&lt;twin&gt;: 25%", "2 more",
    ):  # fmt: skip
        assert words in section, words
    assert section.count("may leak</span>") == 1
    assert "http://" not in text
    assert '<a href="#graph">' in text
    assert 'id="graph"' not in page("without.html")


def test_a_report_of_another_form(quality: Path) -> None:
    write_json({"triples": 1}, quality / "quality.json")
    with pytest.raises(DataError, match=r"quality\.json: is not what kg writes"):
        graph_view(quality)
    (quality / "hubs.parquet").unlink()
    with pytest.raises(DataError, match=r"hubs\.parquet: no such file"):
        graph_view(quality)
