"""Every key of a small world is in the state it was put in, counted and one by one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.errors import DataError, EncoderUnavailable
from kgrec.features.cache import FeatureCache, cache_path
from kgrec.features.encode import FeaturesSettings
from kgrec.features.status import feature_status, item_status, item_tries

SETTINGS = FeaturesSettings(image="clip:a", text=None)
NOW = "b" * 64
LABEL = f"clip:a@{NOW[:12]}"


def picture(colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 6), (colour, 0, 0)).save(out, "PNG")
    return out.getvalue()


def table(path: Path, rows: Mapping[str, tuple[str, str]], width: int = 3) -> None:
    """key -> content hash, label"""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(width * len(rows), np.float16)), width)
    keys = sorted(rows)
    columns = [keys, [rows[key][0] for key in keys], [rows[key][1] for key in keys], vectors]
    write_parquet(pa.table(columns, schema=schemas.features(width)), path)


@pytest.fixture
def world(media: Any, tmp_path: Path) -> SimpleNamespace:
    """Pictures of items 1 to 4 and a text of item 1; a ledger that says why 5 to 7 have no picture."""
    pictures = {f"item:{at}": picture(at) for at in (1, 2, 3, 4)}
    media.write(pictures, {"item:1": "Grüße"})
    ledger = [(f"item:{at}", "image", "ok", "", f"{at}.jpg", "", "") for at in (1, 2, 3, 4)]
    ledger += [
        ("item:5", "image", "missing", "no file", "", "", ""), ("item:6", "image", "missing", "no file", "", "", ""),
        ("item:7", "image", "rejected", "truncated: 50 bytes not processed", "7.jpg", "", ""),
        ("item:1", "text", "ok", "", "plots", "", ""),
    ]  # fmt: skip
    columns = [list(column) for column in zip(*sorted(ledger), strict=True)]
    write_parquet(pa.table(columns, schema=schemas.LEDGER), media.folder / "ledger.parquet")
    hashes = {key: sha256(data).hexdigest() for key, data in pictures.items()}
    return SimpleNamespace(media=media.folder, features=tmp_path / "features", hashes=hashes, cache=tmp_path / "cache")


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What ``clip:a`` is now."""
    description = {
        "encoder": "clip:a", "weights": 64 * "2", "libraries": {"torch": "2.14"}, "device": "cpu", "batch_size": 8,
    }  # fmt: skip
    one = SimpleNamespace(fingerprint=NOW, description=description)
    monkeypatch.setattr("kgrec.features.encoders.open_encoder", lambda *args, **options: one)
    return one


def vectors(world: SimpleNamespace, rows: Mapping[str, tuple[str, str]]) -> None:
    table(world.features / "vectors" / "image.parquet", rows)


def one(world: SimpleNamespace, **options: Any) -> Any:
    settings = options.pop("settings", SETTINGS)
    return feature_status(world.media, world.features, settings, world.cache, **options)[0]


def test_every_state(world: SimpleNamespace, encoder: SimpleNamespace) -> None:
    h = world.hashes
    vectors(
        world,
        {
            "item:1": (h["item:1"], LABEL), "item:2": ("0" * 64, LABEL), "item:3": (h["item:3"], "clip:b@123456789012"),
            "item:7": ("1" * 64, LABEL), "item:9": ("2" * 64, LABEL),
        },
    )  # fmt: skip
    found = one(world)
    assert (found.modality, found.wanted, found.width, found.present) == ("image", LABEL, 3, 1)
    assert found.encoders == {LABEL: 4, "clip:b@123456789012": 1}
    assert found.stale == {"content changed": 1, "encoder was clip:b": 1}
    assert found.missing == {"no file": 2, "not encoded yet": 1, "rejected: truncated": 1}
    assert found.orphans == 2
    assert not found.settled

    states = {
        key: [(s.state, s.reason, s.encoder, s.source) for s in item_status(key, world.media, world.features, SETTINGS)]
        for key in ("item:1", "item:2", "item:3", "item:4", "item:5", "item:7", "item:9")
    }
    assert states == {
        "item:1": [("present", "", LABEL, "1.jpg"), ("missing", "no encoder", None, "plots")],
        "item:2": [("stale", "content changed", LABEL, "2.jpg")],
        "item:3": [("stale", "encoder was clip:b", "clip:b@123456789012", "3.jpg")],
        "item:4": [("missing", "not encoded yet", None, "4.jpg")],
        "item:5": [("missing", "no file", None, "")],
        "item:7": [
            ("missing", "rejected: truncated", LABEL, "7.jpg"), ("orphan", "its medium is gone", LABEL, "7.jpg"),
        ],
        "item:9": [("orphan", "its medium is gone", LABEL, "")],
    }  # fmt: skip


def test_settled(world: SimpleNamespace, encoder: SimpleNamespace) -> None:
    vectors(world, {key: (content, LABEL) for key, content in world.hashes.items()})
    found = one(world)
    assert (found.present, found.stale, found.orphans, found.settled) == (4, {}, 0, True)
    assert found.missing == {"no file": 2, "rejected: truncated": 1}


def test_a_changed_encoder_is_told_with_what_changed(world: SimpleNamespace, encoder: SimpleNamespace) -> None:
    old = "a" * 64
    before = encoder.description | {"weights": 64 * "1", "libraries": {"torch": "2.13"}}
    with FeatureCache(cache_path(world.cache, "image", old, False), 3, before):
        pass
    vectors(world, {key: (content, f"clip:a@{old[:12]}") for key, content in world.hashes.items()})
    assert one(world).stale == {"encoder changed: torch 2.13 → 2.14, weights": 4}
    quick = one(world, quick=True)
    assert (quick.wanted, quick.present, quick.stale) == ("clip:a", 4, {})
    assert one(world, settings=FeaturesSettings(image=None, text=None)).stale == {"the settings name no encoder": 4}


def test_an_encoder_that_cannot_be_had_is_compared_by_name(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EncoderUnavailable("no weights here")

    monkeypatch.setattr("kgrec.features.encoders.open_encoder", refuse)
    vectors(world, {"item:1": (world.hashes["item:1"], "clip:a@000000000000")})
    found = one(world)
    assert (found.wanted, found.present) == ("clip:a", 1)
    assert found.notes == ["compared by name alone: no weights here"]


def test_nothing_encoded_yet(world: SimpleNamespace) -> None:
    found = feature_status(world.media, world.features, SETTINGS)
    assert [(f.modality, f.wanted, f.missing, f.width, f.cached) for f in found] == [
        ("image", "clip:a", {"not encoded yet": 4, "no file": 2, "rejected: truncated": 1}, None, None),
        ("text", None, {"no encoder": 1}, None, None),
    ]
    assert not found[0].settled


def test_texts_are_compared_by_the_hash_of_their_words(world: SimpleNamespace, encoder: SimpleNamespace) -> None:
    settings = FeaturesSettings(image=None, text="clip:a")
    path = world.features / "vectors" / "text.parquet"
    table(path, {"item:1": (sha256("Grüße".encode()).hexdigest(), LABEL)})
    text = feature_status(world.media, world.features, settings)[1]
    assert (text.modality, text.present, text.stale) == ("text", 1, {})


def test_the_cache_is_counted(world: SimpleNamespace, encoder: SimpleNamespace) -> None:
    vectors(world, {"item:1": (world.hashes["item:1"], LABEL)})
    with FeatureCache(cache_path(world.cache, "image", NOW, False), 3, encoder.description) as cache:
        cache.put(np.array([b"x" * 32, b"y" * 32], "S32"), np.ones((2, 3), np.float16))
    found = one(world)
    assert found.cached == 2
    assert found.cache_bytes is not None
    assert found.cache_bytes > 12


def test_an_imported_modality_is_present_as_it_was_imported(world: SimpleNamespace) -> None:
    table(world.features / "vectors" / "plots.parquet", {"item:1": ("0" * 64, "file:plots.npy@1")})
    left = feature_status(world.media, world.features, SETTINGS, quick=True)[-1]
    assert (left.modality, left.present, left.orphans) == ("plots", 0, 1)
    assert left.notes == ["the settings do not name this modality"]
    settings: Any = SimpleNamespace(imports={"plots": None}, tokens=(), encoders=dict)
    found = feature_status(world.media, world.features, settings)[-1]
    assert (found.modality, found.present, found.stale, found.orphans, found.settled) == ("plots", 1, {}, 0, True)


def test_tries(world: SimpleNamespace) -> None:
    assert item_tries("item:5", world.media) == []
    row = dict.fromkeys(schemas.TRIES.names) | {"key": "item:5", "source": "tmdb", "status": "missing", "http": 404}
    write_parquet(
        pa.Table.from_pylist([row, row | {"key": "item:6"}], schema=schemas.TRIES), world.media / "tries.parquet"
    )
    assert [(t["source"], t["http"]) for t in item_tries("item:5", world.media)] == [("tmdb", 404)]


def test_errors_name_the_file(world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; run the media stage first"):
        feature_status(tmp_path / "nowhere", world.features, SETTINGS)
    with pytest.raises(DataError, match="nothing is known of 'item:99'"):
        item_status("item:99", world.media, world.features, SETTINGS)
    (world.features / "vectors").mkdir(parents=True)
    (world.features / "vectors" / "image.parquet").write_text("no")
    with pytest.raises(DataError, match=r"image\.parquet: cannot be read"):
        feature_status(world.media, world.features, SETTINGS)
