from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kgrec.config import parse_settings
from kgrec.data import schemas
from kgrec.data.io import sha256_file
from kgrec.errors import ConfigError, DataError
from kgrec.features.imports import ImportSettings, import_features
from kgrec.features.tables import GROUP_ROWS, read_vectors

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Raw:
    """A folder of imported features; ``read`` imports one and gives keys, vectors and the report."""

    def __init__(self, root: Path) -> None:
        self.folder, self.out = root / "raw", root / "out"
        self.folder.mkdir()

    def put(self, name: str, content: Any) -> None:
        path = self.folder / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, np.ndarray):
            np.save(path, content)
        elif isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content)

    def read(self, file: str, **others: Any) -> tuple[list[str], np.ndarray[Any, Any], dict[str, Any]]:
        report = import_features(ImportSettings(file=file, **others), self.folder, "image", self.out)
        keys, vectors = read_vectors(self.out / "image.parquet")
        return keys.to_pylist(), vectors.numpy(), report


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def matrix(rows: int = 4, width: int = 3) -> np.ndarray[Any, Any]:
    return np.arange(1, rows * width + 1, dtype=np.float32).reshape(rows, width)


def test_mmrecs_files(raw: Raw) -> None:
    values = matrix()
    raw.put("image_feat.npy", values)
    raw.put("i_id_mapping.csv", "asin\titemID\nB003\t2\nA001\t0\nB002\t1\n000Z\t3\n")
    keys, vectors, report = raw.read("image_feat.npy", ids="i_id_mapping.csv")
    assert keys == ["item:000Z", "item:A001", "item:B002", "item:B003"]
    assert np.array_equal(vectors, values[[3, 0, 1, 2]].astype(np.float16))
    label = f"import:image_feat.npy@{sha256_file(raw.folder / 'image_feat.npy')[:12]}"
    assert report == {"encoder": label, "width": 3, "rows": 4, "keys": 4, "duplicates": 0, "set_aside": {}}
    table = pq.read_table(raw.out / "image.parquet")
    assert table.schema.equals(schemas.features(3))
    assert set(table["encoder"].to_pylist()) == {label}
    assert table["content_sha256"].to_pylist() == [
        hashlib.sha256(row.astype("<f2").tobytes()).hexdigest() for row in vectors
    ]
    assert sorted(path.name for path in raw.out.iterdir()) == ["image.parquet"]


def test_kgats_list_and_other_forms_of_ids_say_the_same(raw: Raw) -> None:
    raw.put("f.npy", matrix())
    raw.put("item_list.txt", "org_id remap_id freebase_id\nc 2 m.0\na 0 m.1\nb 1 m.2\nd 3 m.3\n")
    raw.put("named.csv", "number,what\n2,c\n0,a\n1,b\n3,d\n")
    raw.put("order.csv", "item_id,title\na,A\nb,\"B, or 'B'\"\nc,C\nd,D\n")
    raw.put("plain.txt", "a\nb\nc\nd\n")
    raw.put("headed.txt", "item_id\na\nb\nc\nd\n")
    raw.put("list.json", json.dumps(["a", "b", "c", "d"]))
    raw.put("object.json", json.dumps({"d": 3, "c": 2, "b": 1, "a": 0}))
    expected = (raw.read("f.npy", ids="item_list.txt"), (raw.out / "image.parquet").read_bytes())
    assert expected[0][0] == ["item:a", "item:b", "item:c", "item:d"]
    for name in ("order.csv", "plain.txt", "headed.txt", "list.json", "object.json"):
        raw.read("f.npy", ids=name)
        assert (raw.out / "image.parquet").read_bytes() == expected[1], name
    raw.read("f.npy", ids="named.csv", id_column="what", index_column="number")
    assert (raw.out / "image.parquet").read_bytes() == expected[1]


def test_without_ids_the_row_number_is_the_id(raw: Raw) -> None:
    raw.put("f.npy", matrix(12))
    keys, vectors, _ = raw.read("f.npy")
    assert keys == sorted(f"item:{row}" for row in range(12))
    assert np.array_equal(vectors[keys.index("item:10")], matrix(12)[10])
    keys, _, _ = raw.read("f.npy", key_prefix="entity", name="theirs")
    assert keys[0] == "entity:0"
    raw.put("ids.txt", "entity:m.1\nitem:x\n" + "\n".join(map(str, range(10))))
    keys, _, report = raw.read("f.npy", ids="ids.txt", name="theirs")
    assert keys[0] == "entity:m.1"
    assert report["encoder"].startswith("import:theirs@")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.uint16, ">f4"])
def test_any_number_type_and_order_of_memory(raw: Raw, kind: Any) -> None:
    raw.put("f.npy", np.asfortranarray(matrix().astype(kind)))
    assert np.array_equal(raw.read("f.npy")[1], matrix())


def test_archives_of_arrays(raw: Raw) -> None:
    for save, name in ((np.savez, "plain.npz"), (np.savez_compressed, "packed.npz")):
        stream = io.BytesIO()
        save(stream, visual=matrix(), other=matrix(5, 2))
        raw.put(name, stream.getvalue())
        assert np.array_equal(raw.read(name, array="visual")[1], matrix())
        with pytest.raises(ConfigError, match=r"array: .* holds other, visual; name one"):
            raw.read(name)
        with pytest.raises(ConfigError, match=r"array: .* has no 'x'; it has other, visual"):
            raw.read(name, array="x")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_safetensors(raw: Raw, kind: str) -> None:
    import torch
    from safetensors.torch import save

    raw.put("f.safetensors", save({"v": torch.from_numpy(matrix()).to(getattr(torch, kind))}))
    assert np.array_equal(raw.read("f.safetensors")[1], matrix())


@pytest.mark.parametrize("kind", ["fixed16", "fixed", "list", "large", "columns"])
def test_parquet(raw: Raw, kind: str) -> None:
    values = matrix(9000, 12) % 2048  # more than one batch
    flat = pa.array(values.reshape(-1) if kind != "fixed16" else values.reshape(-1).astype(np.float16))
    if kind in ("fixed", "fixed16"):
        columns = {"vector": pa.FixedSizeListArray.from_arrays(flat, 12)}
    elif kind == "columns":
        columns = {f"f{i}": pa.array(values[:, i]) for i in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 11)}
    else:
        array = pa.ListArray if kind == "list" else pa.LargeListArray
        columns = {"vector": array.from_arrays(np.arange(0, values.size + 1, 12), flat)}
    names = [f"i{row:05d}" for row in range(9000)][::-1]
    raw.put("f.parquet", pa.table({"item_id": names, "title": names} | columns))
    keys, vectors, _ = raw.read("f.parquet")
    assert keys == [f"item:{name}" for name in names[::-1]]
    expected = values[::-1].astype(np.float16)
    assert np.array_equal(vectors, expected)


def test_a_table_written_here_is_imported_as_it_is(raw: Raw) -> None:
    raw.put("f.npy", matrix())
    raw.read("f.npy")
    first = pq.read_table(raw.out / "image.parquet")
    raw.put("g.parquet", first)
    raw.read("g.parquet")
    second = pq.read_table(raw.out / "image.parquet")
    for name in ("key", "content_sha256", "vector"):
        assert first[name].equals(second[name])


def test_csv_keeps_ids_as_they_are_written(raw: Raw) -> None:
    raw.put("f.csv", "item_id,f0,f1,title\n007,1,2.5,x\n8,-3,4,y\n")
    keys, vectors, _ = raw.read("f.csv")
    assert keys == ["item:007", "item:8"]
    assert vectors.tolist() == [[1, 2.5], [-3, 4]]
    raw.put("g.csv", "0\t1\n1\t2.5\n-3\t4\n")
    raw.put("ids.txt", "007\n8\n")
    assert raw.read("g.csv", ids="ids.txt")[0] == keys


def test_rows_that_cannot_be_used_are_set_aside_with_their_numbers(raw: Raw) -> None:
    values = matrix(8).astype(np.float64)
    values[1] = 0
    values[2, 1] = np.nan
    values[3, 0] = -np.inf
    values[4, 2] = 1e6
    values[5] = 1e-9
    values[7] = values[6]
    raw.put("f.npy", values)
    keys, vectors, report = raw.read("f.npy")
    assert keys == ["item:0", "item:6", "item:7"]
    assert (report["rows"], report["keys"], report["duplicates"]) == (8, 3, 1)
    assert report["set_aside"] == {
        "not finite": {"count": 2, "first": [2, 3]},
        "zeros": {"count": 1, "first": [1]},
        "beyond float16 (65,504)": {"count": 1, "first": [4]},
        "too small for float16 (6e-8)": {"count": 1, "first": [5]},
    }
    assert np.isfinite(vectors).all()
    assert raw.read("f.npy", zero_rows="keep")[0] == ["item:0", "item:1", "item:6", "item:7"]


def test_a_file_without_a_usable_row_is_an_error_and_leaves_nothing(raw: Raw) -> None:
    raw.put("f.npy", np.zeros((5, 2)))
    with pytest.raises(DataError, match=r"f\.npy: no row of it can be used \(5 zeros\)"):
        raw.read("f.npy")
    assert list(raw.out.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("i.csv", "asin\titemID\na\t0\nb\t1\na\t2\nd\t3\n", r"i\.csv, line 4: id 'a' is there twice, first on line 2"),
        ("i.csv", "asin\titemID\na\t0\nb\t1\nc\t1\nd\t3\n", r"i\.csv, line 4: row 1 has two ids, 'b' and 'c'"),
        ("i.csv", "asin\titemID\na\t0\nb\t4\n", r"i\.csv, line 3: names row 4 of a matrix with 4 rows"),
        ("i.csv", "asin\titemID\na\t0\nb\t-1\n", r"i\.csv, line 3: row number '-1' is not a whole number"),
        ("i.csv", "asin\titemID\na\t0\nb\n", r"i\.csv, line 3: has 1 fields, its header 2"),
        ("i.csv", "asin\titemID\na\t0\nb\t1\nc\t2\n", r"i\.csv: has ids for 3 rows, the matrix has 4"),
        ("i.txt", "a\nb\nc\nd\ne\n", r"i\.txt, line 5: names row 4 of a matrix with 4 rows"),
        ("i.txt", "", r"i\.txt: has ids for 0 rows"),
        ("i.json", '["a", "b", "c", "a"]', r"i\.json: id 'a' is there twice"),
        ("i.json", '{"a": 0, "b": 1, "c": 2, "a": 3}', r"i\.json: id 'a' is there twice"),
        ("i.json", '[["a"], 1, 2, 3]', r"i\.json: is neither a list of ids nor"),
        ("i.json", "[", r"i\.json: is not valid JSON"),
    ],
)
def test_ids_that_do_not_fit_are_told_with_their_line(raw: Raw, name: str, text: str, said: str) -> None:
    raw.put("f.npy", matrix())
    raw.put(name, text)
    with pytest.raises(DataError, match=said):
        raw.read("f.npy", ids=name)
    assert not raw.out.exists() or list(raw.out.iterdir()) == []


def test_columns_that_cannot_be_told_must_be_named(raw: Raw) -> None:
    raw.put("f.npy", matrix(2))
    raw.put("i.csv", "what,number\na,0\nb,1\n")
    with pytest.raises(ConfigError, match=r"id_column: name the column of ids in .*; it has what, number"):
        raw.read("f.npy", ids="i.csv")
    with pytest.raises(ConfigError, match="no column 'that'"):
        raw.read("f.npy", ids="i.csv", id_column="that")
    raw.put("t.csv", "what,f0\na,0\nb,1\n")
    with pytest.raises(ConfigError, match=r"id_column: .* has no column key, item_id"):
        raw.read("t.csv")


def test_rows_of_a_table_with_one_key_are_an_error(raw: Raw) -> None:
    raw.put("f.csv", "id,f0\nx,1\ny,2\nx,3\n")
    with pytest.raises(DataError, match=r"rows 0 and 2 \(from 0\) both have the key 'item:x'"):
        raw.read("f.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("f.npy", np.ones(4), r"holds float64 of shape \(4,\), not rows of numbers"),
        ("f.npy", np.array([["a", "b"]]), "not rows of numbers"),
        ("f.npy", b"\x93NUMPY", "no array that can be read"),
        ("f.npz", b"PK", "no readable .npz"),
        ("f.safetensors", b"x", "no readable safetensors"),
        ("f.parquet", b"x", "cannot be read as a table"),
        ("f.parquet", pa.table({"id": ["a", "b"], "v": [[1.0], [1.0, 2.0]]}), r"row 1 \(from 0\) has 2 numbers, not 1"),
        ("f.parquet", pa.table({"id": ["a", "b"], "v": [[1.0], None]}), r"row 1 \(from 0\) has no v"),
        ("f.parquet", pa.table({"id": ["a", None], "v": [[1.0], [2.0]]}), r"row 1 \(from 0\) has no id"),
        ("f.parquet", pa.table({"id": ["a"], "v": [[1.0]], "w": [[2.0]]}), "several columns of lists"),
        ("f.parquet", pa.table({"id": ["a"], "f0": [1.0], "age": [2.0]}), r"drop the others \(age\)"),
        ("f.parquet", pa.table({"id": ["a"], "f0": [1.0], "f2": [2.0]}), "have a gap or a double"),
        (
            "f.parquet",
            pa.table({"id": pa.array([], pa.string()), "v": pa.array([], pa.list_(pa.float32()))}),
            "has no rows",
        ),
        ("f.pt", b"x", r"is none of \.npy"),
    ],
)
def test_a_file_of_another_form_is_told(raw: Raw, name: str, content: Any, said: str) -> None:
    raw.put(name, content)
    with pytest.raises(DataError, match=said):
        raw.read(name)


def test_nothing_is_unpickled(raw: Raw) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (raw.folder / "sprung",))

    np.save(raw.folder / "f.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects, which are never read"):
        raw.read("f.npy")
    assert not (raw.folder / "sprung").exists()


def test_a_missing_number_is_not_finite(raw: Raw) -> None:
    raw.put("f.parquet", pa.table({"id": ["a", "b"], "f0": [1.0, None], "f1": [1, 2]}))
    assert raw.read("f.parquet")[2]["set_aside"] == {"not finite": {"count": 1, "first": [1]}}


def test_missing_files_and_misspelt_settings(raw: Raw) -> None:
    with pytest.raises(DataError, match=r"f\.npy: no such file"):
        raw.read("f.npy")
    raw.put("f.npy", matrix())
    with pytest.raises(DataError, match=r"i\.csv: no such file"):
        raw.read("f.npy", ids="i.csv")
    with pytest.raises(ConfigError, match="did you mean 'zero_rows'"):
        parse_settings(ImportSettings, {"file": "f.npy", "zero_row": "keep"})


def test_row_groups_are_whole(raw: Raw) -> None:
    rows = 2 * GROUP_ROWS + 100
    values = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    values[::7] = 0
    raw.put("f.npy", values)
    keys, vectors, report = raw.read("f.npy")
    kept = rows - len(values[::7])
    assert report["keys"] == len(keys) == kept
    metadata = pq.ParquetFile(raw.out / "image.parquet").metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sizes == [GROUP_ROWS, kept - GROUP_ROWS]
    numbers = np.array([int(key.removeprefix("item:")) for key in keys])
    assert np.array_equal(vectors, values[numbers].astype(np.float16))


NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)


@given(
    values=hnp.arrays(
        np.float16, st.tuples(st.integers(1, 8), st.integers(1, 5)),
        elements=st.floats(width=16, allow_nan=False, allow_infinity=False),
    ),
    names=st.lists(NAMES, min_size=8, max_size=8, unique=True),
    form=st.sampled_from([".npy", ".npz", ".parquet", ".safetensors"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, values: Any, names: list[str], form: str
) -> None:
    raw = Raw(tmp_path_factory.mktemp("import"))
    names = names[: len(values)]
    if form == ".parquet":
        raw.put("f.parquet", pa.table({"key": names, "vector": pa.array(list(values), pa.list_(pa.float16()))}))
    elif form == ".safetensors":
        from safetensors.numpy import save

        raw.put("f.safetensors", save({"v": values}))
    else:
        stream = io.BytesIO()
        (np.save if form == ".npy" else np.savez_compressed)(stream, values)
        (raw.folder / f"f{form}").write_bytes(stream.getvalue())
    raw.put("ids.json", json.dumps(names))
    keys, vectors, _ = raw.read(f"f{form}", zero_rows="keep", **({} if form == ".parquet" else {"ids": "ids.json"}))
    full = [name if name.startswith(("item:", "entity:")) else f"item:{name}" for name in names]
    assert keys == sorted(full)
    assert np.array_equal(vectors, values[[full.index(key) for key in keys]])


@pytest.mark.skipif(not (SHARED / "amazon-book").is_dir(), reason="needs the real Amazon-Book lists")
def test_the_real_item_list_of_kgat(raw: Raw) -> None:
    text = (SHARED / "amazon-book" / "item_list.txt").read_text()
    rows = len(text.splitlines()) - 1
    raw.put("item_list.txt", text)
    raw.put("f.npy", np.arange(1, rows + 1, dtype=np.float64)[:, None] / 16)
    keys, vectors, report = raw.read("f.npy", ids="item_list.txt")
    assert report["keys"] == rows
    assert vectors[keys.index("item:0393316041"), 0] == 2 / 16
