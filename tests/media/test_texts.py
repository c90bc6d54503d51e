from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kgrec.media.texts as texts_module
from kgrec.errors import DataError
from kgrec.media.texts import clean_text, read_text_source

DAT = (
    "1::Alpha::1995::G::d::g::di::w::a::A plot.::u\n"
    "2::Beta::1995::G::d::g::di::w::a::One :: two.::u\n"
    "3::Gamma::1995::G::d::g::di::w::a::::u\n"
)


def texts(path: Path) -> dict[str, tuple[str, str | None]]:
    source = read_text_source(path)
    assert source is not None
    return source.texts


def test_dat_with_separator_inside_a_plot(tmp_path: Path) -> None:
    path = tmp_path / "movies_extrainfos.dat.gz"
    path.write_bytes(gzip.compress((DAT + "4::too few\n").encode()))
    source = read_text_source(path)
    assert source is not None
    assert source.texts == {"item:1": ("A plot.", None), "item:2": ("One :: two.", None)}
    assert source.empty == 1
    assert source.rejects == [(4, "2 fields of 11")]


def test_another_dat_file_holds_no_texts(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("1::Alpha (1995)::Drama\n")
    assert read_text_source(tmp_path / "movies.dat") is None


def test_json_object_and_jsonl_and_tables_say_the_same(tmp_path: Path) -> None:
    rows = [{"movieId": 1, "Plot": "A  plot.\n"}, {"movieId": 2, "Plot": "N/A"}, {"movieId": 3, "Plot": "C, plot"}]
    want = {"item:1": ("A plot.", None), "item:3": ("C, plot", None)}
    (tmp_path / "a.json").write_text(json.dumps({str(r["movieId"]): r["Plot"] for r in rows}))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "c.csv").write_text('movieId,Plot\n1,A plot.\n2,N/A\n3,"C, plot"\n')
    (tmp_path / "d.tsv").write_text("movieId\tPlot\n1\tA plot.\n2\tN/A\n3\tC, plot\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    (tmp_path / "f.json").write_text(json.dumps(rows))
    for name in ("a.json", "b.jsonl", "c.csv", "d.tsv", "e.parquet", "f.json"):
        assert texts(tmp_path / name) == want, name


def test_keys_may_be_media_keys_and_rows_may_state_their_language(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "key,text,lang\nitem:1,Ein Film,de\nentity:m.1,A person,\n1,second text,en\n,no key,en\n"
    )
    source = read_text_source(tmp_path / "t.csv")
    assert source is not None
    assert source.texts == {"item:1": ("Ein Film", "de"), "entity:m.1": ("A person", None)}
    assert source.rejects == [(5, "no key")]


def test_bad_rows_are_rejected_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "x"}\n{"id": 2, "te\n[1]\n{"id": 3, "text": 5}\n')
    source = read_text_source(tmp_path / "a.jsonl")
    assert source is not None
    assert [line for line, _ in source.rejects] == [2, 3, 4]
    (tmp_path / "b.csv").write_text("id,text\n1,x\n2\n")
    source = read_text_source(tmp_path / "b.csv")
    assert source is not None
    assert source.rejects == [(3, "1 fields of 2")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("links.csv", b"movieId,tmdbId\n1,2\n"), ("a.jsonl", b'{"id": 1}\n'), ("x.pdf", b"%PDF"), ("e.csv", b"")],
)
def test_files_without_texts(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_text_source(tmp_path / name) is None


def test_damaged_files_are_errors_that_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,text\n1,café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv: is not UTF-8"):
        read_text_source(tmp_path / "a.csv")
    (tmp_path / "b.dat.gz").write_bytes(gzip.compress(DAT.encode() * 100)[:-20])
    with pytest.raises(DataError, match=r"b\.dat\.gz: is a damaged gzip file"):
        read_text_source(tmp_path / "b.dat.gz")
    (tmp_path / "c.json").write_text('{"1": "x",')
    with pytest.raises(DataError, match=r"c\.json, line 1: is not valid JSON"):
        read_text_source(tmp_path / "c.json")
    (tmp_path / "c.json").write_text('{"1": "x",\n"2": "y",\n"3" "z"}')
    with pytest.raises(DataError, match=r"c\.json, line 3: is not valid JSON \(Expecting ':' delimiter\)"):
        read_text_source(tmp_path / "c.json")
    (tmp_path / "g.json.gz").write_bytes(gzip.compress(b'{"1": "x"}')[:-4])
    with pytest.raises(DataError, match=r"g\.json\.gz: is a damaged gzip file"):
        read_text_source(tmp_path / "g.json.gz")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"d\.parquet"):
        read_text_source(tmp_path / "d.parquet")


def test_clean_text() -> None:
    assert clean_text("  a\tb\r\n c ") == "a b c"
    assert [clean_text(t) for t in (None, "", "N/A", "null", "NaN")] == [""] * 5
    assert clean_text("half \ud800 pair, N\0UL") == "half ? pair, N UL"


JSON_TEXTS = st.dictionaries(
    st.text(), st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=JSON_TEXTS | st.lists(JSON_TEXTS), block=st.integers(1, 9), indent=st.sampled_from([None, 0, 2]))
def test_a_json_document_read_in_blocks_says_what_it_says_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, block: int, indent: int | None
) -> None:
    monkeypatch.setattr(texts_module, "_BLOCK", block)
    with io.StringIO(json.dumps(value, indent=indent)) as stream:
        document = texts_module._Json(stream, tmp_path)
        mark = document.next()
        members = list(document.members("}" if mark == "{" else "]"))
    assert members == (list(value.items()) if isinstance(value, dict) else [(None, row) for row in value])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=JSON_TEXTS, block=st.integers(1, 9), part=st.floats(0, 1), junk=st.sampled_from(["", "}", ",", "x", '"']))
def test_a_json_document_is_refused_where_json_itself_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, block: int, part: float, junk: str
) -> None:
    monkeypatch.setattr(texts_module, "_BLOCK", block)
    whole = json.dumps(value | {"last": "text"}, indent=0)
    cut = int(len(whole) * part)
    content = whole[:cut] + junk + (whole[cut:] if junk else "")
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    try:
        json.loads(content)
    except json.JSONDecodeError:
        with pytest.raises(DataError, match=r"a\.json, line \d+: is not valid JSON"):
            read_text_source(tmp_path / "a.json")
    else:
        assert read_text_source(tmp_path / "a.json") is not None


@pytest.mark.parametrize("content", ["12", '"text"', '{"1": 2, "3": [4]}', "[]"])
def test_a_json_document_of_another_kind_holds_no_texts(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert read_text_source(tmp_path / "a.json") is None


def test_rows_go_to_the_taker_in_order_and_none_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,lang\n1,x,de\n1,y,\n,z,\nNA,w,\n")
    taken: list[tuple[int, str, str, str | None]] = []
    source = read_text_source(tmp_path / "a.csv", lambda *row: taken.append(row), "sub/a.csv")
    assert source is not None
    assert taken == [(2, "item:1", "x", "de"), (3, "item:1", "y", None), (5, "item:NA", "w", None)]
    assert source.texts == {}
    assert (source.name, source.rejected, source.rejects) == ("sub/a.csv", 1, [(4, "no key")])


def test_many_bad_rows_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "x"}\n' + "{\n" * 500)
    source = read_text_source(tmp_path / "a.jsonl")
    assert source is not None
    assert source.rejected == 500
    assert [line for line, _ in source.rejects] == list(range(2, 102))
