"""Drift on made vectors: none for equal ones, all of it for shuffled ones, and in between the more noise the more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from kgrec.data import schemas
from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import DataError
from kgrec.features import drift as module
from kgrec.features.drift import BASELINE, DriftSettings, drift_warnings, measure_drift, pin_baseline

SETTINGS = DriftSettings(sample=120, neighbours=10)
ROWS, WIDTH = 600, 16


@pytest.fixture
def vectors() -> np.ndarray:
    """Some direction and some length for each key. shape: (ROWS, WIDTH)"""
    random = np.random.default_rng(5)
    return random.normal(size=(ROWS, WIDTH)) * random.lognormal(sigma=0.2, size=(ROWS, 1))


def write(
    folder: Path, vectors: np.ndarray, *, encoder: str = "clip@1", changed: int = 0, modality: str = "image", first: int = 0
) -> Path:  # fmt: skip
    """A feature table; the contents of the last ``changed`` keys are other ones than without."""
    rows = len(vectors)
    contents = [f"{row + (ROWS * (row >= rows - changed)):016x}" + 48 * "0" for row in range(first, first + rows)]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel(), pa.float16()), WIDTH)
    keys = [f"item:{row:04d}" for row in range(first, first + rows)]
    table = pa.table([keys, contents, [encoder] * rows, column], schema=schemas.features(WIDTH))
    write_parquet(table, folder / f"{modality}.parquet", row_group_size=97)
    return folder


def measure(tmp_path: Path, before: np.ndarray, after: Path, settings: DriftSettings = SETTINGS) -> dict[str, Any]:
    pin_baseline(write(tmp_path / "before", before), tmp_path / "pin.parquet", settings)
    return measure_drift(after, tmp_path / "pin.parquet", tmp_path / "out", settings)["image"]


def test_nothing_changed(tmp_path: Path, vectors: np.ndarray) -> None:
    drift = measure(tmp_path, vectors, write(tmp_path / "after", vectors))["drift"]
    assert drift == {
        "same_encoder": True, "count_before": ROWS, "keys_kept": 1.0, "content_kept": 1.0, "neighbours_kept": 1.0,
        "neighbours_kept_unchanged": 1.0, "neighbours_at_random": round(10 / (ROWS - 1), 6), "norm_ks": 0.0,
        "norm_shift": 0.0, "warnings": 0,
    }  # fmt: skip


def test_shuffled_vectors_keep_neighbours_by_chance_alone(tmp_path: Path, vectors: np.ndarray) -> None:
    after = write(tmp_path / "after", np.random.default_rng(1).permutation(vectors))
    settings = DriftSettings(sample=ROWS)
    measured = measure(tmp_path, vectors, after, settings)
    drift = measured["drift"]
    assert drift["norm_ks"] == 0.0  # the same lengths, at other keys
    # 600 x 10 draws of chance 1/60: the standard deviation of the share is 0.0017
    assert drift["neighbours_kept"] == pytest.approx(drift["neighbours_at_random"], abs=4 * 0.0017)
    assert drift_warnings({"image": measured}, settings) == [
        f"image: {100 * drift['neighbours_kept']:.1f} % of neighbours are kept where content is the same; the limit is 80 %"
    ]


def test_more_noise_keeps_fewer_neighbours(tmp_path: Path, vectors: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(size=vectors.shape)
    kept, lengths = [], []
    for size in (0.0, 0.05, 0.2, 0.6, 3.0):
        drift = measure(tmp_path, vectors, write(tmp_path / "after", vectors + size * noise))["drift"]
        kept.append(drift["neighbours_kept"])
        lengths.append((drift["norm_ks"], drift["norm_shift"]))
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 5
    assert kept[0] == 1.0
    assert kept[1] > 0.8
    assert kept[-1] < 0.15
    assert lengths == sorted(lengths)


def test_longer_vectors_are_told_and_keep_their_neighbours(tmp_path: Path, vectors: np.ndarray) -> None:
    with capture_logs() as logs:
        measured = measure(tmp_path, vectors, write(tmp_path / "after", 2 * vectors))
    drift = measured["drift"]
    assert drift["neighbours_kept"] == 1.0
    assert drift["norm_shift"] == pytest.approx(1.0, abs=1e-4)  # twice as long: moved by the mean
    assert drift["norm_ks"] > 0.7
    assert drift["warnings"] == 1
    said = [log["finding"] for log in logs if log["event"] == "features drifted"]
    assert said == ["image: 100.0 % of the mean is how far the lengths moved; the limit is 5 %"]


def test_a_new_encoder_is_told(tmp_path: Path, vectors: np.ndarray) -> None:
    measured = measure(tmp_path, vectors, write(tmp_path / "after", vectors, encoder="clip@2"))
    assert measured["drift"]["same_encoder"] is False
    assert drift_warnings({"image": measured}, SETTINGS) == [
        "image: another encoder than the baseline's, now clip@2"
    ]  # fmt: skip


def test_changed_contents_are_told_apart_from_a_moved_space(tmp_path: Path, vectors: np.ndarray) -> None:
    other = vectors.copy()
    other[-150:] = np.random.default_rng(9).normal(size=(150, WIDTH))
    drift = measure(tmp_path, vectors, write(tmp_path / "after", other, changed=150), DriftSettings(sample=ROWS))[
        "drift"
    ]
    assert drift["content_kept"] == 0.75
    assert drift["neighbours_kept_unchanged"] > drift["neighbours_kept"] + 0.1


def test_removed_keys_are_counted_and_do_not_count_as_lost_neighbours(tmp_path: Path, vectors: np.ndarray) -> None:
    drift = measure(tmp_path, vectors, write(tmp_path / "after", vectors[:480]), DriftSettings(sample=ROWS))["drift"]
    assert drift["keys_kept"] == 0.8
    assert drift["neighbours_kept"] == 1.0
    assert drift["warnings"] == 1  # a fifth of the keys is gone


def test_a_grown_catalogue_draws_the_old_sample_again(tmp_path: Path, vectors: np.ndarray) -> None:
    drift = measure(tmp_path, vectors[:540], write(tmp_path / "after", vectors))["drift"]
    assert drift["keys_kept"] == drift["content_kept"] == 1.0
    assert 0.8 < drift["neighbours_kept"] < 1.0  # a tenth is new and takes about a tenth of the places
    kept = read_parquet(tmp_path / "pin.parquet", BASELINE)["sample"][0].as_py()
    pin_baseline(tmp_path / "after", tmp_path / "again.parquet", SETTINGS)
    again = read_parquet(tmp_path / "again.parquet", BASELINE)["sample"][0].as_py()
    both = {row["key"] for row in kept} & {row["key"] for row in again}
    assert len(kept) == len(again) == 120
    assert len(both) > 95


def test_neighbours_by_hand(tmp_path: Path) -> None:
    angles = np.radians([0, 10, 25, 90, 100])
    vectors = np.zeros((5, WIDTH))
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    pin_baseline(write(tmp_path / "before", vectors), tmp_path / "pin.parquet", DriftSettings(neighbours=2))
    row = read_parquet(tmp_path / "pin.parquet", BASELINE).to_pylist()[0]
    keys = [f"item:{at:04d}" for at in range(5)]
    nearest = {one["key"]: [keys.index(key) for key in one["neighbours"]] for one in row["sample"]}
    assert nearest == {keys[0]: [1, 2], keys[1]: [0, 2], keys[2]: [1, 0], keys[3]: [4, 2], keys[4]: [3, 2]}
    # 1 and 4 change places: of 2 places 0 keeps {2}, 1 none, 2 keeps {0}, 3 keeps {2}, 4 none
    swapped = vectors[[0, 4, 2, 3, 1]]
    now = measure_drift(
        write(tmp_path / "after", swapped), tmp_path / "pin.parquet", tmp_path / "out", DriftSettings(neighbours=2)
    )["image"]  # fmt: skip
    found = {k: [int(n[-4:]) for n in v] for k, v in _neighbours(tmp_path / "after").items()}
    expected = np.mean([len(set(nearest[key]) & set(found[key])) / 2 for key in keys])
    assert now["drift"]["neighbours_kept"] == round(float(expected), 6) < 1
    cosine = lambda a, b: float(vectors[a] @ vectors[b])  # noqa: E731
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 1), (2, 0), (3, 4), (3, 2), (4, 3), (4, 2)]
    assert now["similarity"] == pytest.approx(np.mean([cosine(a, b) for a, b in pairs]), abs=1e-3)


def _neighbours(folder: Path) -> dict[str, list[str]]:
    pin_baseline(folder, folder / "pin", DriftSettings(neighbours=2))
    return {r["key"]: r["neighbours"] for r in read_parquet(folder / "pin", BASELINE).to_pylist()[0]["sample"]}


def test_measures_without_a_baseline(tmp_path: Path, vectors: np.ndarray) -> None:
    vectors[3] = 1e-4
    vectors[4] = vectors[5]
    measured = measure_drift(write(tmp_path / "v", vectors), tmp_path / "none.parquet", tmp_path / "out", SETTINGS)
    one = measured["image"]
    assert one["drift"] is None
    lengths = np.linalg.norm(vectors.astype(np.float16).astype(float), axis=1)
    assert one["norm"]["mean"] == pytest.approx(lengths.mean(), abs=1e-6)
    assert one["norm"]["p95"] == pytest.approx(np.quantile(lengths, 0.95), abs=1e-6)
    assert one["near_zero"] == round(1 / ROWS, 6)
    assert one["duplicates"] == round(2 / ROWS, 6)
    assert one["collapsed"] == round(1 / ROWS, 6)  # two contents, one vector
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == measured


def test_equal_vectors_give_equal_bytes(tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    after = write(tmp_path / "after", vectors + 0.1)
    outputs = []
    for block in (64, 600):
        monkeypatch.setattr(module.vector_blocks, "__defaults__", (block,))
        measure(tmp_path, vectors, after)
        files = [tmp_path / "pin.parquet", *sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())]
        outputs.append({path.name: path.read_bytes() for path in files})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {"pin.parquet", "metrics.json", "norms.csv", "neighbours.csv", "drift.png"}


def test_modalities_come_and_go(tmp_path: Path, vectors: np.ndarray) -> None:
    write(tmp_path / "before", vectors, modality="text")
    after = write(tmp_path / "after", vectors[:0])
    write(tmp_path / "after", vectors, modality="audio")
    pin_baseline(write(tmp_path / "before", vectors), tmp_path / "pin.parquet", SETTINGS)
    measured = measure_drift(after, tmp_path / "pin.parquet", tmp_path / "out", SETTINGS)
    assert {name: (one["count"], one["drift"] and one["drift"]["keys_kept"]) for name, one in measured.items()} == {
        "audio": (ROWS, None), "image": (0, 0.0), "text": (0, 0.0),
    }  # fmt: skip
    assert drift_warnings(measured, SETTINGS) == [
        f"{name}: the baseline has 600 vectors, now there are none" for name in ("image", "text")
    ]


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder of feature tables"):
        measure_drift(tmp_path / "nowhere", None, tmp_path / "out", SETTINGS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no feature table to pin"):
        pin_baseline(tmp_path / "empty", tmp_path / "pin.parquet", SETTINGS)
    (tmp_path / "pin.parquet").write_text("no")
    with pytest.raises(DataError, match=r"pin\.parquet: cannot be read"):
        measure_drift(tmp_path / "empty", tmp_path / "pin.parquet", tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
