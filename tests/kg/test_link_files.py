from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.errors import DataError
from kgrec.kg.link_files import link_files, read_links


def pairs(path: Path) -> list[tuple[str, str]]:
    return [(link.item_id, link.entity_id) for link in read_links(path)]


@pytest.mark.parametrize(
    ("text", "method", "expected"),
    [
        ("1\tm.0dyb1\r\n2\tm.09w353\r\n", "kb4rec", [("1", "m.0dyb1"), ("2", "m.09w353")]),
        ("000102521X\t/m/03cm0hv\n", "kb4rec", [("000102521X", "m.03cm0hv")]),
        ("item_id:token\tentity_id:token\n3242\tm.04j3202\n", "recbole", [("3242", "m.04j3202")]),
        ("org_id remap_id freebase_id\n0553092626 0 m.045wq1q\n", "kgat", [("0553092626", "m.045wq1q")]),
        ("eid\tpid\tname\tentity\n7\t761\tThe_Phantom\thttp://dbpedia.org/resource/The_Phantom\n", "kgat",
         [("761", "http://dbpedia.org/resource/The_Phantom")]),
        ('item_id,entity_id\n1,m.a\n2,\n"3",/m/c\n', "table", [("1", "m.a"), ("3", "m.c")]),
    ],
)  # fmt: skip
def test_every_layout(tmp_path: Path, text: str, method: str, expected: list[tuple[str, str]]) -> None:
    path = tmp_path / "links.txt"
    path.write_text(text, newline="")
    assert pairs(path) == expected
    assert {link.method for link in read_links(path)} == {method}


def test_parquet_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "links.parquet"
    pq.write_table(pa.table({"item_id": [1, 2], "entity_id": ["/m/a", None], "score": [0.5, 1.0]}), path)
    [link] = read_links(path)
    assert (link.item_id, link.entity_id, link.score, link.line) == ("1", "m.a", 0.5, 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1\tm.a\n2\tm.b\textra\n", 2),
        ("1\tm.a\n2\ttt0114709\n", 2),
        ("item_id,entity_id,score\n1,m.a,0.5\n2,m.b,high\n", 3),
        ("item_id,entity_id,score\n1,m.a,1.5\n", 2),
        ("item_id,entity_id\n,m.a\n", 2),
        ("some words\n", 1),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "links.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        list(read_links(path))
    assert error.value.line == line
    assert "links.csv, line" in str(error.value)


def test_a_setting_that_contradicts_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.link"
    path.write_text("item_id:token\tentity_id:token\n1\tm.a\n")
    with pytest.raises(DataError, match="kb4rec"):
        read_links(path, "kb4rec")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("links go here")
    with pytest.raises(DataError, match="holds no link file"):
        link_files(tmp_path)


def test_published_files(real_data: Path) -> None:
    assert len(pairs(real_data / "freebase" / "ml2fb.txt")) == 25_982
    assert len(pairs(real_data / "freebase" / "ab2fb.txt")) == 109_671
    assert len(pairs(real_data / "amazon-book" / "item_list.txt")) == 24_915
    recbole = dict(pairs(real_data / "recbole" / "ml-1m.link"))
    kb4rec = dict(pairs(real_data / "freebase" / "ml2fb.txt"))
    assert len(recbole) == 3_655
    assert recbole.items() <= kb4rec.items()
