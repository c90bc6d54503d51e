"""Searches by words, item and picture, with a tiny CLIP whose two towers share a space; and what a page shows of them."""

from __future__ import annotations

import io
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features.encoders import open_encoder
from kgrec.features.pages import MOST_BYTES, cards, write_page
from kgrec.features.search import search

TITLES = {
    "1": "Alien (1979)",
    "2": "Aliens (1986)",
    "3": "Heat",
    "4": "Heat",
    "5": "<b>Bold & bright</b>",
    "6": "No picture",
}
NAMES = {"m.1": "Ridley Scott"}


def picture(seed: int, size: tuple[int, int] = (60, 90)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize(size).save(out, "JPEG")
    return out.getvalue()


PICTURES = {f"item:{at}": picture(at) for at in range(1, 6)}
TEXTS = {f"item:{at}": f"{TITLES[str(at)]}. A plot, number {at}." for at in range(1, 7)} | {
    "entity:m.1": "Ridley Scott"
}


def encode(name: str, modality: str, contents: list[Any]) -> np.ndarray:
    encoder = open_encoder(name, modality, "cpu", 1)
    rows = [encoder.encode(encoder.collate([one], encoder.padded_length(one))).vectors[0] for one in contents]
    return np.stack([row.numpy() for row in rows])


def table(path: Path, keys: list[str], vectors: np.ndarray, name: str) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), vectors.shape[1])
    columns = [keys, [sha256(key.encode()).hexdigest() for key in keys], [f"{name}@0123456789ab"] * len(keys), column]
    write_parquet(pa.table(columns, schema=schemas.features(vectors.shape[1])), path, sort_by=["key"])


class World:
    """Features of items and one entity, their media and titles."""

    def __init__(self, folder: Path, media: Any) -> None:
        self.features, self.items, self.names = (
            folder / "features",
            folder / "items.parquet",
            folder / "entities.parquet",
        )
        self.media = media.folder
        media.write(PICTURES, TEXTS)
        ledger = [(key, "image", "ok", "", "", "", "") for key in sorted(PICTURES)]
        ledger.append(("item:6", "image", "rejected", "placeholder: near-uniform colour", "", "", ""))
        columns = [list(column) for column in zip(*ledger, strict=True)]
        write_parquet(pa.table(columns, schema=schemas.LEDGER), self.media / "ledger.parquet")
        empty = {field.name: [] if pa.types.is_list(field.type) else None for field in schemas.ITEMS}
        rows = [empty | {"item_id": one, "title": title} for one, title in TITLES.items()]
        write_parquet(pa.Table.from_pylist(rows, schema=schemas.ITEMS), self.items)
        rows = [dict.fromkeys(schemas.ENTITIES.names) | {"entity_id": e, "name": n} for e, n in NAMES.items()]
        write_parquet(pa.Table.from_pylist(rows, schema=schemas.ENTITIES), self.names)

    def write(self, modality: str, name: str, vectors: np.ndarray, keys: list[str]) -> None:
        table(self.features / "vectors" / f"{modality}.parquet", keys, vectors, name)

    def search(self, **question: Any) -> Any:
        return search(self.features, items=self.items, names=self.names, device="cpu", **question)


@pytest.fixture(scope="module")
def encoded(tiny: Any) -> dict[str, np.ndarray]:
    pictures, texts = list(PICTURES.values()), [TEXTS[key] for key in sorted(TEXTS)]
    return {"image": encode(tiny.open_clip, "image", pictures), "text": encode(tiny.open_clip, "text", texts)}


@pytest.fixture
def world(tmp_path: Path, media: Any, tiny: Any, encoded: dict[str, np.ndarray]) -> World:
    one = World(tmp_path, media)
    one.write("image", tiny.open_clip, encoded["image"], sorted(PICTURES))
    one.write("text", tiny.open_clip, encoded["text"], sorted(TEXTS))
    return one


def test_words_find_pictures_through_the_text_tower(world: World, tiny: Any, encoded: dict[str, np.ndarray]) -> None:
    found = world.search(query="a dark poster with a spaceship", k=3)
    words = encode(tiny.open_clip, "text", ["a dark poster with a spaceship"])[0]
    scores = encoded["image"] @ words
    order = np.argsort(-scores)[:3]
    assert (found.modality, found.note, found.compared) == ("image", "", 5)
    assert [hit.id for hit in found.hits] == [str(at + 1) for at in order]
    assert [hit.similarity for hit in found.hits] == pytest.approx(scores[order].tolist(), abs=2e-3)  # float16 rows
    assert [hit.title for hit in found.hits] == [TITLES[str(at + 1)] for at in order]
    assert found.mean == pytest.approx(scores.mean(), abs=2e-3)


@pytest.mark.parametrize("family", ["open_clip", "transformers"])
def test_a_picture_finds_itself(world: World, tiny: Any, tmp_path: Path, family: str) -> None:
    world.write(
        "image",
        getattr(tiny, family),
        encode(getattr(tiny, family), "image", list(PICTURES.values())),
        sorted(PICTURES),
    )
    (tmp_path / "poster.jpg").write_bytes(PICTURES["item:4"])
    found = world.search(image=tmp_path / "poster.jpg", k=2)
    assert found.hits[0].id == "4"
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-3)
    assert world.search(query="words", k=1).modality == "image"


@pytest.mark.parametrize("said", ["1", "item:1", "Alien (1979)", "alien (1979)", "alien"])
def test_like_an_item(world: World, said: str, encoded: dict[str, np.ndarray]) -> None:
    found = world.search(like=said)
    assert (found.question.key, found.question.said, found.modality) == ("item:1", "Alien (1979)", "image")
    scores = (encoded["image"] @ encoded["image"][0])[1:]
    assert [hit.id for hit in found.hits] == [str(at + 2) for at in np.argsort(-scores)]


def test_an_item_without_a_picture_is_compared_by_its_text(world: World) -> None:
    found = world.search(like="6")
    assert found.modality == "text"
    assert {hit.key for hit in found.hits} == {f"item:{at}" for at in range(1, 6)}
    with pytest.raises(DataError, match=r"item:6 has no image vector; `kgrec features status --item item:6` says why"):
        world.search(like="6", modality="image")


def test_entities_when_asked(world: World) -> None:
    assert all(hit.key.startswith("item:") for hit in world.search(like="1", modality="text").hits)
    found = world.search(like="1", modality="text", entities=True)
    assert [hit.title for hit in found.hits if hit.key == "entity:m.1"] == ["Ridley Scott"]
    assert world.search(like="entity:m.1").question.said == "Ridley Scott"


def test_words_find_texts_where_the_picture_encoder_reads_none(world: World, encoded: dict[str, np.ndarray]) -> None:
    world.write("image", "efficientnet-lite0", encoded["image"], sorted(PICTURES))
    found = world.search(query="A plot, number 3", k=2)
    assert found.modality == "text"
    assert (
        found.note == "text vectors are compared because image vectors are of efficientnet-lite0, which reads no text"
    )
    with pytest.raises(ConfigError, match=r"which reads no text; use --modality text, --like ITEM or --image FILE"):
        world.search(query="x", modality="image")


def test_a_two_tower_model_that_cannot_be_loaded_is_an_error_not_a_fallback(
    world: World, encoded: dict[str, np.ndarray]
) -> None:
    world.write("image", "open_clip:ViT-B-32@/nowhere.safetensors", encoded["image"], sorted(PICTURES))
    with pytest.raises(EncoderUnavailable, match="there is no file"):
        world.search(query="x")


def test_questions_that_have_no_answer(world: World, tmp_path: Path) -> None:
    for question in ({}, {"query": "x", "like": "1"}):
        with pytest.raises(ConfigError, match="one of them"):
            world.search(**question)
    with pytest.raises(ConfigError, match="no vectors of modality 'audio'; there are image, text"):
        world.search(query="x", modality="audio")
    with pytest.raises(DataError, match="2 items are called 'heat': 3, 4; ask by id"):
        world.search(like="heat")
    with pytest.raises(DataError, match=r"no item 'Alein', neither as id nor as title"):
        world.search(like="Alein")
    with pytest.raises(DataError, match=r"did you mean 'Aliens \(1986\)'"):
        world.search(like="Aleins (1986)")
    (tmp_path / "no.jpg").write_text("no")
    for name, message in (("no.jpg", "not a picture that can be opened"), ("none.jpg", "cannot be read")):
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            world.search(image=tmp_path / name)
    with pytest.raises(DataError, match="holds no vectors; run the features stage first"):
        search(tmp_path, query="x")


class _Page(HTMLParser):
    """What a browser would ask for, and how often which element is there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_page(world: World, tmp_path: Path) -> None:
    found = world.search(like="1", modality="text")
    shown, asked = cards(found, world.media)
    write_page(found, shown, asked, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    page = _Page(text)
    assert page.tags.count("li") == 5
    assert page.tags.count("img") == 1 + 4  # the item asked about; item 6 has none
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "url(" not in text
    assert "@import" not in text
    assert "script" not in page.tags
    assert "b" in page.tags  # of the placeholder; the title's own is escaped
    assert "&lt;b&gt;Bold &amp; bright&lt;/b&gt;" in text
    assert "<b>Bold" not in text
    assert "<span>placeholder</span>" in text
    assert "prefers-color-scheme: dark" in text
    assert "A plot, number 2." in text
    assert [f"{hit.similarity:.3f}" for hit in found.hits] == re.findall(r"<span>(-?\d\.\d{3})</span>", text)
    write_page(found, shown, asked, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text


def test_pictures_on_the_page_are_small(world: World, media: Any, tmp_path: Path) -> None:
    noise = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1000, 3), np.uint8)  # what JPEG compresses worst
    Image.fromarray(pixels).save(noise, "JPEG", quality=95)
    media.write(PICTURES | {"item:2": noise.getvalue()}, TEXTS)
    found = world.search(like="1")
    shown, asked = cards(found, world.media)
    write_page(found, shown, asked, tmp_path / "page.html")
    sources = _Page((tmp_path / "page.html").read_text()).sources
    assert len(sources) == 5
    assert max(map(len, sources)) <= 20_000
    assert MOST_BYTES * 4 / 3 <= 20_000
