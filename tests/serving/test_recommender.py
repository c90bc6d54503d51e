"""A published model answers with NumPy alone, leaves out what was seen, and explains what it cannot answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kgrec
from kgrec.data.io import sha256_file
from kgrec.errors import CheckpointError, ConfigError, DataError
from kgrec.serving.recommender import top_k


def test_seen_items_are_left_out(world: Any, published: dict[str, Path]) -> None:
    rows = [r for p in ("train", "valid") for r in pq.read_table(world.split / f"{p}.parquet").to_pylist()]
    for folder in published.values():
        model = kgrec.load(folder)
        for user, entries in zip(model.users, model.recommend(model.users, k=30), strict=True):
            seen = {row["item_id"] for row in rows if row["user_id"] == user}
            listed = [one.item_id for one in entries]
            assert seen
            assert not seen & set(listed)
            assert len(listed) == len(set(listed)) == 30 - len(seen)


def test_seen_items_can_be_kept(published: dict[str, Path]) -> None:
    model = kgrec.load(published["popularity"])
    assert len(model.recommend("1", k=30, exclude_seen=False)[0]) == 30


def test_table_says_the_same(published: dict[str, Path]) -> None:
    model = kgrec.load(published["bpr_mf"])
    table = model.recommend_table(["3", "1"], k=4)
    assert table["user_id"].to_pylist() == ["3"] * 4 + ["1"] * 4
    assert table["rank"].to_pylist() == [1, 2, 3, 4] * 2
    lists = model.recommend(["3", "1"], k=4)
    assert table["item_id"].to_pylist() == [one.item_id for row in lists for one in row]
    assert table["title"].to_pylist() == [one.title for row in lists for one in row]
    assert model.recommend_table([], k=4).num_rows == 0


def test_blocks_do_not_change_the_answer(published: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = kgrec.load(published["ease"])
    whole = model.recommend(model.users, k=5)
    monkeypatch.setattr("kgrec.serving.recommender.BLOCK_BYTES", 1)
    assert model.recommend(model.users, k=5) == whole


def test_score_of_a_pair(published: dict[str, Path]) -> None:
    model = kgrec.load(published["bpr_mf"])
    vectors = {
        kind: dict(
            zip(*pq.read_table(published["bpr_mf"] / f"{kind}_vectors.parquet").to_pydict().values(), strict=True)
        )
        for kind in ("user", "item")
    }
    wanted = [np.dot(vectors["user"]["5"], vectors["item"][item]) for item in ("2", "9")]
    assert model.score("5", ["2", "9"]) == pytest.approx(wanted, rel=1e-5)


def test_similar_by_cosine(published: dict[str, Path]) -> None:
    model = kgrec.load(published["bpr_mf"])
    answer = model.similar("3", k=29)
    assert "3" not in {one.item_id for one in answer}
    assert len(answer) == 29
    assert answer == sorted(answer, key=lambda one: -one.score)
    assert all(-1.0001 <= one.score <= 1.0001 for one in answer)
    vectors = dict(zip(*pq.read_table(published["bpr_mf"] / "item_vectors.parquet").to_pydict().values(), strict=True))
    a, b = np.array(vectors["3"]), np.array(vectors[answer[0].item_id])
    assert answer[0].score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-4)


def test_similar_by_weight_and_not_at_all(published: dict[str, Path]) -> None:
    ease = kgrec.load(published["ease"])
    before = ease.recommend("1")
    assert len(ease.similar("3", k=5)) == 5
    assert ease.recommend("1") == before  # asking changed nothing
    with pytest.raises(CheckpointError, match="popularity model knows no similar items"):
        kgrec.load(published["popularity"]).similar("3")


def test_unknown_ids_name_near_ones(published: dict[str, Path]) -> None:
    model = kgrec.load(published["bpr_mf"])
    with pytest.raises(DataError, match=r"unknown user '399'; near ids: 39"):
        model.recommend(["1", "399"])
    with pytest.raises(DataError, match=r"unknown user 'zebra'; ids look like 1, 2, 3 \(40 in all\)"):
        model.recommend("zebra")
    with pytest.raises(DataError, match=r"unknown item 'harbour'; titles with this in them: 1 \(Silent Harbour\)"):
        model.similar("harbour")


def test_a_list_has_a_length(published: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        kgrec.load(published["ease"]).recommend("1", k=0)


@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=30), st.integers(1, 35))
def test_top_k_is_a_stable_sort(values: list[float], k: int) -> None:
    scores = np.array(values, np.float32)
    wanted = [i for i in sorted(range(len(values)), key=lambda i: (-values[i], i)) if values[i] > -np.inf][:k]
    assert top_k(scores, k).tolist() == wanted


def test_loading_needs_neither_torch_nor_dgl(published: dict[str, Path]) -> None:
    code = (
        "import sys, kgrec; kgrec.load(sys.argv[1]).recommend('1');"
        "assert not {'torch', 'dgl', 'scipy', 'numba'} & set(sys.modules)"
    )
    for folder in published.values():
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


@pytest.fixture
def copy(published: dict[str, Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(published["bpr_mf"], tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", ["item_vectors.parquet", "user_vectors.parquet", "vocab.parquet", "seen.parquet"])
def test_a_damaged_file_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: is not the file that was published .*publish it again"):
        kgrec.load(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / "seen.parquet").unlink()
    with pytest.raises(CheckpointError, match=r"seen\.parquet: is missing"):
        kgrec.load(copy)


@pytest.mark.parametrize(
    ("version", "message"),
    [(0, "is older.*publish it again"), (None, "is older"), (2, "is newer.*upgrade kgrec")],
)
def test_another_format_is_refused(copy: Path, version: int | None, message: str) -> None:
    edit_config(copy, format_version=version)
    with pytest.raises(CheckpointError, match=message):
        kgrec.load(copy)


def test_a_kind_unknown_here_is_refused(copy: Path) -> None:
    edit_config(copy, kind="oracle")
    with pytest.raises(CheckpointError, match="kind 'oracle' is none of vectors, item_similarity, popularity"):
        kgrec.load(copy)


def test_no_model_folder(world: Any, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model folder"):
        kgrec.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        kgrec.load(tmp_path)
    with pytest.raises(CheckpointError, match="a training checkpoint must be published first"):
        kgrec.load(world.models / "bpr_mf")
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        kgrec.load(copy)


def test_damage_that_the_checksum_was_made_to_fit(published: dict[str, Path], tmp_path: Path) -> None:
    """Garbage with a right checksum still becomes one clear error, for each of the two formats."""
    for name, file, message in (
        ("ease", "model.safetensors", "cannot be read as safetensors"),
        ("bpr_mf", "item_vectors.parquet", "cannot be read as the Parquet table"),
    ):
        folder = Path(shutil.copytree(published[name], tmp_path / name))
        (folder / file).write_bytes(b"\xff" * 64)
        files = json.loads((folder / "config.json").read_text())["files"]
        edit_config(folder, files={**files, file: {"sha256": sha256_file(folder / file), "bytes": 64}})
        with pytest.raises(CheckpointError, match=message):
            kgrec.load(folder)


def test_vectors_in_another_order_are_refused(copy: Path) -> None:
    path = copy / "item_vectors.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(len(table)))[::-1]), path)
    files = json.loads((copy / "config.json").read_text())["files"]
    entry = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    edit_config(copy, files={**files, path.name: entry})
    with pytest.raises(CheckpointError, match="ids are not those of vocab"):
        kgrec.load(copy)


def test_no_pickle_in_a_folder(published: dict[str, Path]) -> None:
    for folder in published.values():
        assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".parquet", ".safetensors"}


def test_unknown_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        kgrec.lod  # noqa: B018
