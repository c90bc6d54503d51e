from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import VOCAB
from kgrec.errors import DataError
from kgrec.graphs.vocab import Vocabulary, natural_sort, read_vocabulary

VOCABULARY = Vocabulary(
    users=["1", "2"],
    items=["7", "8", "9"],
    entities=pa.array(["m.x"]),
    relations=["interact", "r"],
    item_entities=["m.a", None, "m.c"],
    item_titles=["Seven", "Eight", None],
    entity_titles=pa.array(["X"]),
)


def test_natural_sort_compares_runs_of_digits_as_numbers():
    assert natural_sort(["10", "9", "m.b2", "m.b10", "1", "9"]).to_pylist() == ["1", "9", "10", "m.b2", "m.b10"]


def test_natural_sort_keeps_apart_ids_that_differ_in_leading_zeros():
    assert natural_sort(["1", "01", "001"]).to_pylist() == ["001", "01", "1"]


def by_the_book(text: str) -> tuple[list[tuple[int, int | str]], str]:
    """Parts of an id, numbers before letters, then its text."""
    parts = [part for part in re.split("([0-9]+)", text) if part]
    return [(0, int(part)) if part[0] in "0123456789" else (1, part) for part in parts], text


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.text(st.sampled_from("aé\x00\U0010ffff 0019") | st.characters(exclude_categories=["Cs"]), max_size=8))
)
def test_natural_sort_is_a_sort_by_parts(ids):
    assert natural_sort(ids).to_pylist() == sorted(set(ids), key=by_the_book)


@pytest.mark.parametrize("length", [254, 255, 256, 509, 510, 511])
def test_natural_sort_of_very_long_numbers(length):
    ids = ["9" * (length - 1), "1" + "0" * (length - 1), "1" * length, "2" + "0" * length]
    assert natural_sort(ids[::-1]).to_pylist() == ids


def test_natural_sort_reads_a_slice_of_a_column():
    column = pa.chunked_array([["z", "10"], ["9", "10"]])
    assert natural_sort(column).to_pylist() == ["9", "10", "z"]
    assert natural_sort(column.slice(1)).to_pylist() == ["9", "10"]
    assert natural_sort([]).to_pylist() == []


def test_round_trip(tmp_path):
    VOCABULARY.write(tmp_path / "vocab.parquet")
    assert read_vocabulary(tmp_path / "vocab.parquet") == VOCABULARY


def test_table_follows_the_schema(tmp_path):
    table = VOCABULARY.table()
    assert table.schema == VOCAB
    assert table.num_rows == 2 + 3 + 1 + 2
    row = table.to_pylist()[2]
    assert row == {"type": "item", "index": 0, "id": "7", "entity_id": "m.a", "title": "Seven"}


@pytest.mark.parametrize("chunked", [False, True])
def test_encode(chunked):
    ids = pa.array(["9", "7", "9"])
    found = VOCABULARY.encode_items(pa.chunked_array([ids.slice(0, 1), ids.slice(1)]) if chunked else ids)
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, 2]


def test_unknown_id_is_named():
    with pytest.raises(DataError, match="user 'nobody' is not in the vocabulary"):
        VOCABULARY.encode_users(pa.array(["1", "nobody"]))


def test_gap_in_the_indices_is_refused(tmp_path):
    path = tmp_path / "vocab.parquet"
    VOCABULARY.write(path)
    write_parquet(read_parquet(path).filter(pa.array([True, True, False] + [True] * 5)), path)
    with pytest.raises(DataError, match="item indices"):
        read_vocabulary(path)
