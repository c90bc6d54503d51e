from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kgrec.config import parse_settings
from kgrec.data import schemas
from kgrec.data.io import read_parquet
from kgrec.errors import ConfigError, DataError
from kgrec.media.collect import MediaSettings

Make = Callable[..., bytes]


def ledger(out: Path) -> dict[tuple[str, str], tuple[str, str]]:
    rows = read_parquet(out / "ledger.parquet", schemas.LEDGER).to_pylist()
    assert len({(r["key"], r["modality"]) for r in rows}) == len(rows)
    return {(r["key"], r["modality"]): (r["status"], r["reason"]) for r in rows}


def images(out: Path) -> list[dict[str, Any]]:
    shards = sorted((out / "images").iterdir())
    return [row for shard in shards for row in read_parquet(shard, schemas.IMAGES).to_pylist()]


def test_every_key_has_a_ledger_row_and_every_good_picture_its_bytes(world: Any, make_picture: Make) -> None:
    (world.posters / "1.jpg").write_bytes(make_picture(1))
    (world.posters / "2.jpg").write_bytes(b"<html>gone</html>")
    (world.posters / "3.jpg").write_bytes(make_picture(3, (300, 400))[:-2000])
    (world.posters / "99.jpg").write_bytes(make_picture(9))
    report = world.collect()
    rows = ledger(world.out)
    assert rows["item:1", "image"] == ("ok", "")
    assert rows["item:2", "image"] == ("rejected", "not an image: an HTML page")
    assert rows["item:3", "image"][0] == "rejected"
    assert rows["item:4", "image"] == ("missing", "no file")
    assert {key for key, modality in rows if modality == "image"} == {f"item:{i}" for i in "1234"}
    data = make_picture(1)
    digest = hashlib.sha256(data).hexdigest()
    row = {"key": "item:1", "sha256": digest, "bytes": data, "width": 60, "height": 90, "format": "JPEG"}
    phash = images(world.out)[0]["phash"]
    assert images(world.out) == [row | {"phash": phash}]
    assert report["image"]["ok"] == 1
    assert report["image"]["missing"] == 1
    assert sum(report["image"]["rejected"].values()) == 2
    assert report["image"]["files_of_no_item"] == {"count": 1, "first": ["posters/99.jpg"]}
    assert report["linked_items"]["image"] == {"ok": 1, "missing": 0, "rejected": 0}


def test_a_folder_and_its_zip_give_the_same_bytes(world: Any, make_picture: Make) -> None:
    for item in "123":
        (world.posters / f"{item}.jpg").write_bytes(make_picture(int(item)))
    world.collect()
    before = {p.name: p.read_bytes() for p in [*(world.out / "images").iterdir(), world.out / "texts.parquet"]}
    with zipfile.ZipFile(world.posters / "posters.zip", "w") as archive:
        for path in sorted(world.posters.glob("*.jpg")):
            archive.write(path, path.name)
            path.unlink()
    world.collect()
    assert before == {p.name: p.read_bytes() for p in [*(world.out / "images").iterdir(), world.out / "texts.parquet"]}


def test_two_runs_give_equal_bytes(world: Any, make_picture: Make) -> None:
    for item in "123":
        (world.posters / f"{item}.png").write_bytes(make_picture(int(item), kind="PNG"))

    def run() -> dict[str, bytes]:
        world.collect()
        return {str(p.relative_to(world.out)): p.read_bytes() for p in world.out.rglob("*.parquet")}

    first = run()
    shutil.rmtree(world.out)
    assert first == run()
    assert {name.split("/")[-1] for name in first} == {
        "images-00000.parquet", "audio-00000.parquet", "video-00000.parquet", "texts.parquet", "ledger.parquet",
        "tries.parquet", "shared.parquet",
    }  # fmt: skip


def test_shards_keep_the_order_of_keys(world: Any, make_picture: Make) -> None:
    world.tables([(str(i), f"T{i}") for i in range(30)])
    for i in range(30):
        (world.posters / f"{i}.bmp").write_bytes(make_picture(i, (240, 200), "BMP"))
    report = world.collect(shard_mb=1)
    assert report["image"]["shards"] == 5  # 30 x 144 kB, at most 6 to a shard
    keys = [row["key"] for row in images(world.out)]
    assert keys == sorted(f"item:{i}" for i in range(30))


def test_items_that_share_a_picture_are_reported_and_kept(world: Any, make_picture: Make) -> None:
    for item in "13":
        (world.posters / f"{item}.jpg").write_bytes(make_picture(7))
    report = world.collect()
    assert report["image"]["duplicates"] == {"groups": 1, "keys": [["item:1", "item:3"]]}
    assert [row["key"] for row in images(world.out)] == ["item:1", "item:3"]


def test_no_pictures_at_all_is_an_empty_table(world: Any) -> None:
    report = world.collect()
    assert images(world.out) == []
    assert report["image"]["ok"] == 0
    assert report["image"]["missing"] == 4


def test_an_override_takes_the_place_of_a_fetched_poster(world: Any, make_picture: Make) -> None:
    (world.posters / "1.jpg").write_bytes(b"broken")
    overrides = world.root / "overrides"
    overrides.mkdir()
    (overrides / "1.jpg").write_bytes(make_picture(1))
    world.collect(overrides=overrides)
    assert ledger(world.out)["item:1", "image"] == ("ok", "")


def texts(out: Path) -> dict[str, str]:
    table = read_parquet(out / "texts.parquet", schemas.TEXTS)
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
    return dict(zip(table["key"].to_pylist(), table["text"].to_pylist(), strict=True))


def test_item_text_is_title_and_plot_and_entity_text_the_bare_name(world: Any) -> None:
    (world.texts / "plots.csv").write_text("item_id,plot\n1,The first film.\n4,No title here.\n77,Unknown\n")
    report = world.collect()
    assert texts(world.out) == {
        "item:1": "Alpha. The first film.", "item:2": "Beta", "item:3": "Gamma", "item:4": "No title here.",
        "entity:m.p": "A. Person",
    }  # fmt: skip
    rows = ledger(world.out)
    assert rows["entity:m.x", "text"] == ("missing", "no name")
    assert ("entity:m.1", "text") not in rows  # it is item 1
    assert report["text"]["files"]["plots.csv"]["of_no_item_or_entity"] == 1
    assert report["text"]["entities"] == {"ok": 1, "missing": 1}


def test_an_item_with_neither_title_nor_plot_is_missing(world: Any) -> None:
    world.collect()
    assert ledger(world.out)["item:4", "text"] == ("missing", "no title or plot")
    assert "item:4" not in texts(world.out)


def test_the_order_of_text_files_is_a_setting(world: Any) -> None:
    (world.texts / "long_extrainfos.csv").write_text("id,text\n1,long\n")
    (world.texts / "omdb.csv").write_text("id,text\n1,short\n2,only here\n")
    world.collect()
    assert texts(world.out)["item:1"] == "Alpha. long"
    world.collect(texts={"order": ["*omdb*"], "separator": " | "})
    assert texts(world.out)["item:1"] == "Alpha | short"
    world.collect(texts={"compose": "plot"})
    assert texts(world.out)["item:2"] == "only here"
    assert "item:3" not in texts(world.out)


def test_the_description_of_the_linked_entity_is_the_last_choice(world: Any) -> None:
    world.tables([("1", "Alpha"), ("2", "Beta")], [("m.1", "Alpha", "From the graph."), ("m.p", "P", "A person.")])
    world.collect()
    assert texts(world.out) == {"item:1": "Alpha. From the graph.", "item:2": "Beta", "entity:m.p": "P"}
    (world.texts / "plots.csv").write_text("id,text\n1,From a file.\n")
    world.collect()
    assert texts(world.out)["item:1"] == "Alpha. From a file."


def test_missing_inputs_are_errors_and_leave_nothing(world: Any) -> None:
    world.texts.rmdir()
    with pytest.raises(DataError, match="no such folder of texts"):
        world.collect()
    assert not list(world.out.rglob("*.parquet"))


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_pixels'"):
        parse_settings(MediaSettings, {"max_pixel": 5})
    with pytest.raises(ConfigError, match=r"texts\.ordr"):
        parse_settings(MediaSettings, {"texts": {"ordr": []}})


@pytest.mark.slow
def test_the_three_placeholders_among_the_real_posters(world: Any, real_data: Path) -> None:
    folder = real_data / "ml-1m" / "posters"
    ids = sorted(path.stem for path in folder.glob("*.jpg"))
    world.tables([(item, f"Film {item}") for item in ids])
    world.posters = folder
    report = world.collect()
    refused = {key for (key, m), (status, _) in ledger(world.out).items() if m == "image" and status == "rejected"}
    assert refused == {"item:571", "item:769", "item:1421"}
    assert report["image"]["ok"] == len(ids) - 3 == 3253
    assert report["image"]["duplicates"]["groups"] == 9
    assert ["item:2019", "item:47"] in report["image"]["duplicates"]["keys"]
