"""Tab-separated text is what pandas makes of it."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import DataError
from kgrec.kg.formats.text import numbered_lines, read_rows, text_file, write_rows

NAMES = ("a", "b", "c")
fields = st.text(
    st.one_of(st.sampled_from('\t\n\r" x\ufeff\x85\u2028'), st.characters(codec="utf-8", exclude_characters="\0"))
)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(fields, fields, fields), min_size=1, max_size=5))
def test_rows_come_back_here_and_in_pandas(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.tsv"
    write_rows(pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=NAMES), path)
    assert [tuple(row) for _, row in read_rows(path, NAMES)] == rows
    for engine in ("c", "python"):
        frame = pd.read_csv(
            path, sep="\t", header=None, dtype=str, keep_default_na=False, engine=engine, skip_blank_lines=False
        )
        assert [tuple(row) for row in frame.itertuples(index=False)] == rows


def test_null_is_an_empty_field(tmp_path: Path) -> None:
    write_rows(
        pa.table({"a": ["x", None], "b": [None, "y"]}, pa.schema([("a", pa.string()), ("b", pa.string())])),
        tmp_path / "x",
        "ab",
    )
    assert (tmp_path / "x").read_bytes() == b"a\tb\nx\t\n\ty\n"


def test_a_long_text(tmp_path: Path) -> None:
    text = "é\n" * 200_000
    write_rows(pa.table({"a": [text]}), tmp_path / "x")
    assert list(read_rows(tmp_path / "x", "a")) == [(1, [text])]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"1\t2\t3\n\n1\t2\n", 3, "has 2 tab-separated fields, expected 3: a, b, c"),
        (b"1\t2\t3\n1\t2\t3\t4\n", 2, "has 4 tab-separated fields"),
        (b'1\t"2\n\n"\t3\n1\t"2"x\t3\n', 4, "is not a tab-separated row"),
        (b'1\t2\t3\n1\t2\t"3\n1\t2\t3\n', 2, "is not a tab-separated row (unexpected end of data)"),
        (b"1\t2\t3\n1\t\xff\t3\n", 2, "is not UTF-8"),
        (b"1\t2\r2\t3\n", 1, "is not a tab-separated row"),
    ],
)
def test_the_line_at_fault(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_rows(tmp_path / "x", NAMES))
    assert error.value.line == line
    assert message in str(error.value)


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(name.replace("__", "/").replace("_txt", ".txt"), content)
    return path


def test_plain_gzipped_or_zipped(tmp_path: Path) -> None:
    text = "\ufeffeins\r\nzwei\n"
    (tmp_path / "x").write_text(text, newline="")
    (tmp_path / "x.gz").write_bytes(gzip.compress(text.encode()))
    archive(tmp_path / "x.zip", any=text)
    for name in ("x", "x.gz", "x.zip"):
        assert list(numbered_lines(tmp_path / name)) == [(1, "eins\r\n"), (2, "zwei\n")]


def test_the_member_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "kg_final.txt.zip", "w") as target:
        for name in ("__MACOSX/._kg_final.txt", "data/.hidden", "data/readme.txt", "data/kg_final.txt"):
            target.writestr(name, name)
    assert text_file(tmp_path / "kg_final.txt.zip").member == "data/kg_final.txt"
    with pytest.raises(DataError, match=r"holds 2 files, expected one called y\.txt"):
        text_file((tmp_path / "kg_final.txt.zip").rename(tmp_path / "y.txt.zip"))


def test_damaged_archives(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("x", "a\tb\tc\n" * 1000)
    whole = buffer.getvalue()
    (tmp_path / "x.zip").write_bytes(whole[:-30])
    with pytest.raises(DataError, match="truncated or not a zip archive"):
        list(numbered_lines(tmp_path / "x.zip"))
    broken = bytearray(whole)
    broken[45] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(bytes(broken))
    with pytest.raises(DataError, match="truncated or damaged"):
        list(numbered_lines(tmp_path / "x.zip"))
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(DataError, match="truncated or damaged"):
        list(numbered_lines(tmp_path / "x.gz"))
    with pytest.raises(DataError, match="no such file"):
        list(numbered_lines(tmp_path / "none"))
