"""Item files read on their own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.data.io import write_parquet
from kgrec.data.readers.base import items_table
from kgrec.data.readers.items import read_items
from kgrec.data.schemas import ITEMS
from kgrec.errors import DataError

Source = Callable[..., Path]

UITEM = "7|Fée, La (1996)|01-Jan-1996||http://x|" + "|".join("1" if at == 8 else "0" for at in range(19)) + "\n"
FILES: dict[str, str | bytes] = {
    "movies.dat": "7::Fée, La (1996)::Drama\n".encode("latin-1"),
    "u.item": UITEM.encode("latin-1"),
    "movies.csv": 'movieId,title,genres\n7,"Fée, La (1996)",Drama\n',
    "films.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n7\tFée, La\t1996\tDrama\n",
    "catalogue.csv": 'item_id,title,year,genre\n7,"Fée, La",1996,Drama\n',
    "catalogue.tsv": "item_id\ttitle\tyear\tgenre\n7\tFée, La\t1996\tDrama\n",
}


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("packed", ["file", "folder", "zip", "gz"])
def test_every_format_says_the_same(source: Source, tmp_path: Path, name: str, packed: str) -> None:
    folder = source({name: FILES[name]}, folder="items")
    path = folder / name
    if packed == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.write(path, f"set/{name}")
    if packed == "gz":
        import gzip

        path.with_name(name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    where = {"file": path, "folder": folder, "zip": tmp_path / "all.zip", "gz": folder / f"{name}.gz"}[packed]
    items = read_items(where)
    assert items.schema == ITEMS
    (row,) = items.to_pylist()
    assert (row["item_id"], row["title"], row["year"], row["genre"]) == ("7", "Fée, La", 1996, ["Drama"])


def test_movies_csv_brings_the_imdb_ids_beside_it(source: Source) -> None:
    folder = source({"movies.csv": FILES["movies.csv"], "links.csv": "movieId,imdbId,tmdbId\n7,0116629,\n"})
    assert read_items(folder / "movies.csv")["imdb_id"].to_pylist() == ["tt0116629"]
    assert read_items(folder)["imdb_id"].to_pylist() == ["tt0116629"]


def test_items_parquet_is_taken_as_it_is(tmp_path: Path) -> None:
    table = items_table({"item_id": pa.array(["b", "a"]), "title": pa.array(["Heat (1995)", "Sabrina"])})
    write_parquet(table, tmp_path / "items.parquet")
    assert read_items(tmp_path / "items.parquet").equals(table)
    write_parquet(pa.concat_tables([table, table]), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: has an item twice"):
        read_items(tmp_path / "items.parquet")


def test_a_table_in_parquet_needs_no_other_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": [7, 8], "title": ["Heat (1995)", None]}), tmp_path / "films.parquet")
    rows = read_items(tmp_path / "films.parquet").to_pylist()
    assert [(row["item_id"], row["title"], row["year"]) for row in rows] == [("7", "Heat", 1995), ("8", None, None)]


def test_ids_alone(source: Source) -> None:
    folder = source({"item_list.txt": "org_id remap_id freebase_id\nB01 0 m.a\nB02 1 m.b\n"})
    assert read_items(folder / "item_list.txt")["item_id"].to_pylist() == ["B01", "B02"]


def test_no_item_file_or_two(source: Source, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder; give an item file: movies\.dat"):
        read_items(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds ratings\.dat; give one item file"):
        read_items(source({"ratings.dat": "1::1::1::1\n"}))
    with pytest.raises(DataError, match=r"holds movies\.dat, u\.item; give one item file"):
        read_items(source({"movies.dat": FILES["movies.dat"], "u.item": FILES["u.item"]}, folder="two"))
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="Parquet"):
        read_items(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"movies\.dat, line 1: malformed row"):
        read_items(source({"movies.dat": "1:Heat\n"}, folder="bad") / "movies.dat")


def test_movielens_1m_out_of_its_archive(real_data: Path) -> None:
    items = read_items(real_data / "ml-1m" / "ml-1m.zip")
    assert items.num_rows == 3883
    assert items["title"].null_count == items["year"].null_count == 0
