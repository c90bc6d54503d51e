from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kgrec.kg.quality_plots import SHOWN, plot_relations
from kgrec.kg.quality_tables import QUALITY, short_name


def row(number: int, **values: Any) -> dict[str, Any]:
    zero: dict[str, Any] = {field.name: 0.0 if field.type == "double" else None for field in QUALITY}
    return zero | {"relation": f"a.b.r{number}", "triples": 10_000 // (number + 1) + 1, "leaking": 0} | values


@pytest.mark.parametrize("count", [1, SHOWN + 5])
def test_the_picture_grows_with_the_relations_up_to_a_bound(tmp_path: Path, count: int) -> None:
    rows = [row(n, functionality=0.5, item_share=0.7, double_share=0.2 * (n % 2)) for n in range(count)]
    plot_relations(rows, tmp_path / "relations.png")
    with Image.open(tmp_path / "relations.png") as image:
        assert image.width == 1620
        assert image.height == pytest.approx(120 * (1.9 + 0.215 * min(count, SHOWN)), abs=2)


def test_a_suspect_is_drawn_in_another_colour(tmp_path: Path) -> None:
    def red(name: str, **values: Any) -> int:
        plot_relations([row(0, **values), row(1)], tmp_path / name)
        with Image.open(tmp_path / name) as image:
            colours = image.convert("RGB").getcolors(1 << 24)
            return sum(n for n, colour in colours if colour == (0xD5, 0x5E, 0x00))

    assert red("whole.png", leak="why", leaking=10_001) > red("none.png") + 1000


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_relations([row(n, leak="why" if n else None) for n in range(4)], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_short_names() -> None:
    assert short_name("film.film.genre") == "film.genre"
    assert short_name("film.film.starring..film.performance.actor") == "film.starring · performance.actor"
    assert short_name("http://dbpedia.org/ontology/director") == "director"
    assert short_name("wdt:P57") == "wdt:P57"
    assert len(short_name(".".join(["very_long_words"] * 9) + ".." + "y" * 80)) <= 62
