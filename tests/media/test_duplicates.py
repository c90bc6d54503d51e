from __future__ import annotations

import io
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kgrec.data import schemas
from kgrec.media.duplicates import NEAR_BITS, _near, shared_pictures
from kgrec.media.images import Picture, check_picture, open_rgb, perceptual_hash

Row = tuple[str, str, int]


def groups(rows: list[Row], kind: str, max_distance: int = NEAR_BITS) -> list[list[str]]:
    table = shared_pictures(rows, max_distance)
    assert table.schema == schemas.SHARED
    found: dict[int, list[str]] = {}
    for row in table.to_pylist():
        if row["kind"] == kind:
            found.setdefault(row["group"], []).append(row["key"])
    assert [*found] == [*range(len(found))]
    return [*found.values()]


def test_exact_and_near_groups_and_their_distances() -> None:
    rows = [("c", "2", 0b1110), ("a", "1", 0), ("b", "1", 0), ("d", "3", (1 << 63) - 1), ("e", "4", 1 << 63)]
    assert shared_pictures(rows, 3).to_pylist() == [
        {"kind": "exact", "group": 0, "key": "a", "sha256": "1", "distance": 0},
        {"kind": "exact", "group": 0, "key": "b", "sha256": "1", "distance": 0},
        {"kind": "near", "group": 0, "key": "a", "sha256": "1", "distance": 0},
        {"kind": "near", "group": 0, "key": "b", "sha256": "1", "distance": 0},
        {"kind": "near", "group": 0, "key": "c", "sha256": "2", "distance": 3},
        {"kind": "near", "group": 0, "key": "e", "sha256": "4", "distance": 1},
    ]
    assert groups(rows, "near", 2) == [["a", "b", "e"]]
    assert groups(rows, "near", 0) == []  # the same file twice is no near group
    assert groups([*rows, ("f", "5", 0)], "near", 0) == [["a", "b", "f"]]


def test_groups_are_numbered_by_their_first_key_whatever_the_order_of_rows() -> None:
    rows = [("z", "1", 0), ("y", "2", 7 << 40), ("b", "1", 0), ("a", "2", 7 << 40), ("m", "3", 1), ("c", "4", 7 << 40)]
    table = shared_pictures(rows, 2)
    assert groups(rows, "exact", 2) == [["a", "y"], ["b", "z"]]
    assert groups(rows, "near", 2) == [["a", "c", "y"], ["b", "m", "z"]]
    assert all(shared_pictures(rows[i:] + rows[:i], 2).equals(table) for i in range(len(rows)))


def test_a_chain_of_near_pictures_is_one_group() -> None:
    rows = [(f"{i:02d}", str(i), (1 << i) - 1) for i in range(40)]
    assert groups(rows, "near", 1) == [[key for key, _, _ in rows]]
    assert shared_pictures(rows, 1)["distance"].to_pylist() == list(range(40))


def test_nothing_and_one() -> None:
    assert shared_pictures([]).num_rows == shared_pictures(iter([("a", "1", 5)])).num_rows == 0
    for distance in (-1, 17):
        with pytest.raises(ValueError, match="0 to 16 bits"):
            shared_pictures([], distance)


def by_comparing_all(hashes: NDArray[np.uint64], limit: int) -> NDArray[np.int32]:
    near = [(i, j) for i, j in combinations(range(len(hashes)), 2) if np.bitwise_count(hashes[i] ^ hashes[j]) <= limit]
    i, j = np.array(near, dtype=np.int64).reshape(-1, 2).T
    return connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(len(hashes),) * 2))[1]


@settings(max_examples=50, deadline=None)
@given(
    centres=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    flips=st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 63), max_size=12)), max_size=30),
    limit=st.integers(0, 16),
)
def test_the_same_groups_as_by_comparing_all(centres: list[int], flips: list[tuple[int, set[int]]], limit: int) -> None:
    values = {*centres} | {centres[which % len(centres)] ^ sum(1 << bit for bit in bits) for which, bits in flips}
    hashes = np.array(sorted(values), dtype=np.uint64)
    roots = _near(hashes, limit)
    labels = by_comparing_all(hashes, limit)
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in labels]
    assert roots.tolist() == firsts


def test_one_blank_shared_by_most_of_many_pictures_takes_no_longer() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 200_000, dtype=np.uint64)
    hashes[:150_000] = 12345
    _near(hashes[:2], NEAR_BITS)  # compiled
    start = time.perf_counter()
    table = shared_pictures(((f"{i:06d}", f"{i:064d}", int(h)) for i, h in enumerate(hashes)))
    assert time.perf_counter() - start < 20
    assert table.num_rows >= 150_000
    assert set(table["kind"].to_pylist()) == {"near"}


def copies(image: Image.Image) -> dict[str, Image.Image]:
    """The picture recompressed, scaled, brightened, and without 1 % at each edge."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    width, height = image.size
    x, y = width // 100, height // 100
    return {
        "recompressed": open_rgb(stream.getvalue()),
        "scaled": image.resize((width // 2, height // 2), Image.Resampling.BICUBIC),
        "brightened": ImageEnhance.Brightness(image).enhance(1.15),
        "cropped": image.crop((x, y, width - x, height - y)),
    }


@pytest.fixture(scope="module")
def posters(real_data: Path) -> list[tuple[str, Picture]]:
    limits: dict[str, Any] = {"max_bytes": 20_000_000, "max_pixels": 50_000_000, "uniform_below": 12.0}
    checked = [
        (path.stem, check_picture(path.read_bytes(), **limits))
        for path in sorted((real_data / "ml-1m" / "posters").glob("*.jpg"))
    ]
    assert {key for key, outcome in checked if not isinstance(outcome, Picture)} == {"571", "769", "1421"}
    return [(key, outcome) for key, outcome in checked if isinstance(outcome, Picture)]


def test_nine_exact_pairs_and_two_near_pairs_in_the_real_posters(posters: list[tuple[str, Picture]]) -> None:
    rows = [(key, picture.sha256, picture.phash) for key, picture in posters]
    exact = groups(rows, "exact")
    assert len(exact) == 9
    assert all(len(group) == 2 for group in exact)
    assert ["2019", "47"] in exact
    # House on Haunted Hill (1958) with the poster of 1999, both Operation Condors with one: no strangers
    assert groups(rows, "near") == [["2519", "2995"], ["2879", "2880"]]


def test_copies_of_real_posters_are_found(posters: list[tuple[str, Picture]]) -> None:
    least = {"recompressed": 1.0, "scaled": 1.0, "brightened": 0.98, "cropped": 0.96}
    apart: dict[str, list[int]] = {name: [] for name in least}
    for _, picture in posters[::16]:
        for name, copy in copies(open_rgb(picture.data)).items():
            apart[name].append((perceptual_hash(copy) ^ picture.phash).bit_count())
    found = {name: np.mean(np.array(bits) <= NEAR_BITS) for name, bits in apart.items()}
    assert all(found[name] >= share for name, share in least.items()), found
