from pathlib import Path

import pyarrow as pa

from kgrec.data.io import read_json, write_parquet
from pipeline.report import stage_report, table_report, write_report


def test_rows_and_nulls_are_counted_over_shards_and_kinds_of_column(tmp_path: Path) -> None:
    table = pa.table(
        {
            "name": pa.array(["a", None, "c"]),
            "list": pa.array([["x", None], [], None], pa.list_(pa.string())),
            "vector": pa.array([[1, 2], None, None], pa.list_(pa.float16(), 2)),
            "number": pa.array([None, None, None], pa.int64()),
        }
    )
    write_parquet(table, tmp_path / "0.parquet", row_group_size=2)
    write_parquet(table.slice(0, 1), tmp_path / "1.parquet")
    report = table_report([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert report["rows"] == 4
    assert {name: column["nulls"] for name, column in report["columns"].items()} == {
        "name": 1, "list": 1, "vector": 2, "number": 4,
    }  # fmt: skip
    assert report["columns"]["vector"]["type"] == "fixed_size_list<element: halffloat>[2]"


def test_empty_table_still_has_its_schema(tmp_path: Path) -> None:
    write_parquet(pa.table({"id": pa.array([], pa.string())}), tmp_path / "t.parquet")
    assert table_report([tmp_path / "t.parquet"]) == {"rows": 0, "columns": {"id": {"type": "string", "nulls": 0}}}


def test_stage_report_takes_files_and_folders_of_shards(tmp_path: Path) -> None:
    table = pa.table({"key": ["a", "b"]})
    write_parquet(table, tmp_path / "images" / "images-00000.parquet")
    write_parquet(table, tmp_path / "images" / "images-00001.parquet")
    write_parquet(table, tmp_path / "texts.parquet")
    write_parquet(table, tmp_path / "scratch.parquet")
    write_parquet(table, tmp_path / "plots" / "ignored.parquet")
    report = stage_report("media", tmp_path, {"images": 4})
    assert {name: one["rows"] for name, one in report["tables"].items()} == {"images": 4, "texts.parquet": 2}
    write_report("media", tmp_path, {"images": 4})
    assert read_json(tmp_path / "report.json") == report


def test_stage_report_takes_folders_of_tables(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for number in range(2):
        write_parquet(pa.table({"s": [1], "p": ["a"], "o": [2]}), store / "facts" / f"{number}.parquet")
    write_parquet(pa.table({"code": [1], "term": ["x"]}), store / "terms.parquet")
    write_parquet(pa.table({"line": [1, 2]}), store / "ledger.parquet")
    report = stage_report("extract", tmp_path, {})
    rows = {name: one["rows"] for name, one in report["tables"].items()}
    assert rows == {"store/facts": 2, "store/terms.parquet": 1, "store/ledger.parquet": 2}
    assert set(report["tables"]["store/facts"]["columns"]) == {"s", "p", "o"}
