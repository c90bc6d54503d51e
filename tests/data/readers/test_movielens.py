"""The ``::`` reader: what it reads, and every way its rows can be wrong."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kgrec.config import parse_settings
from kgrec.data.readers import Reading, ReadSettings, read_ratings
from kgrec.errors import ConfigError, DataError

Movielens = Callable[..., Path]


def read(folder: Path, **settings: object):
    reading = Reading(parse_settings(ReadSettings, settings))
    return reading, *read_ratings(folder, reading)


def test_small_set(movielens: Movielens) -> None:
    reading, name, data = read(movielens())
    assert name == "movielens"
    rows = data.interactions.to_pylist()
    assert rows[1] == {
        "user_id": "1", "item_id": "20", "rating": 3.0, "timestamp": 978302109, "file": "ratings.dat", "line": 2,
    }  # fmt: skip
    assert len(rows) == 4
    items = {row["item_id"]: row for row in data.items.to_pylist()}
    assert (items["20"]["title"], items["20"]["year"], items["20"]["genre"]) == ("Misérables, Les", 1998, ["Drama"])
    assert items["10"]["genre"] == ["Animation", "Comedy"]
    assert items["10"]["director"] == []
    assert data.users.to_pylist()[0] == {"user_id": "1", "gender": "F", "age": "1", "occupation": "10"}
    assert reading.encodings["movies.dat"] == "latin-1"
    assert reading.rejects().num_rows == 0


def test_utf8_is_told_from_latin1(movielens: Movielens) -> None:
    reading, _, data = read(movielens(movies="10::Amélie (2001)::Comedy\n".encode()))
    assert reading.encodings["movies.dat"] == "utf-8"
    assert data.items["title"].to_pylist() == ["Amélie"]


def test_crlf_blank_lines_and_no_final_newline(movielens: Movielens) -> None:
    _, _, data = read(movielens(ratings="1::10::5::1\r\n\r\n2::10::4::2"))
    assert data.interactions["line"].to_pylist() == [1, 3]
    assert data.interactions["timestamp"].to_pylist() == [1, 2]


def test_published_zip_equals_unpacked_folder(movielens: Movielens, tmp_path: Path) -> None:
    folder = movielens()
    archive = tmp_path / "packed" / "ml-1m.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.iterdir():
            packed.write(path, f"ml-1m/{path.name}")
        packed.writestr("__MACOSX/ml-1m/._ratings.dat", b"junk")
    _, _, unpacked = read(folder)
    _, _, data = read(archive.parent)
    assert data.interactions.drop(["file"]).equals(unpacked.interactions.drop(["file"]))
    assert data.items.equals(unpacked.items)
    assert data.users.equals(unpacked.users)


BAD = {
    "2::10::5": "malformed row",
    "2::10::5::1::9": "malformed row",
    "garbage": "malformed row",
    "::10::5::1": "empty user id",
    "2::::5::1": "empty item id",
    "2::10::good::1": "rating is not a number",
    "2::10::::1": "rating is not a number",
    "2::10::nan::1": "rating",
    "2::10::6::1": "rating out of range 1 to 5",
    "2::10::0::1": "rating out of range 1 to 5",
    "2::10::5::yesterday": "timestamp is not a number",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_row_is_an_error_with_file_and_line(movielens: Movielens, line: str) -> None:
    folder = movielens(ratings=f"1::10::5::1\n{line}\n3::30::4::2\n")
    with pytest.raises(DataError, match=BAD[line]) as caught:
        read(folder)
    assert caught.value.line == 2
    assert "ratings.dat, line 2" in str(caught.value)
    assert line in str(caught.value)
    assert "on_bad_row: ledger" in str(caught.value)


@pytest.mark.parametrize("line", BAD)
def test_bad_row_goes_to_the_ledger(movielens: Movielens, line: str) -> None:
    folder = movielens(ratings=f"1::10::5::1\n{line}\n3::30::4::2\n")
    reading, _, data = read(folder, on_bad_row="ledger", max_bad_share=0.5)
    (reject,) = reading.rejects().to_pylist()
    assert (reject["file"], reject["line"], reject["text"]) == ("ratings.dat", 2, line)
    assert BAD[line] in reject["reason"]
    assert data.interactions["line"].to_pylist() == [1, 3]


def test_ledger_stops_above_the_share(movielens: Movielens) -> None:
    good = "1::10::5::1\n" * 9
    assert read(movielens(ratings=good + "bad\n"), on_bad_row="ledger", max_bad_share=0.1)[0].rejects().num_rows == 1
    with pytest.raises(DataError, match=r"2 of 11 rows are malformed.*max_bad_share 0\.1.*line 10"):
        read(movielens(ratings=good + "bad\nworse\n"), on_bad_row="ledger", max_bad_share=0.1)


def test_share_names_the_file_at_fault(movielens: Movielens) -> None:
    folder = movielens(ratings="1::10::5::1\n" * 99 + "bad\n", users="u\n" * 3)
    with pytest.raises(DataError, match=r"users\.dat: 3 of 3 rows .* the first is line 1: malformed row, expected 5"):
        read(folder, on_bad_row="ledger")


def test_first_of_several_bad_rows_is_named(movielens: Movielens) -> None:
    with pytest.raises(DataError) as caught:
        read(movielens(ratings="1::10::5::1\n1::20::9::1\n1::30::9::1\n"))
    assert caught.value.line == 2


def test_rating_range_setting(movielens: Movielens) -> None:
    _, _, data = read(movielens(ratings="1::10::0::1\n1::20::10::1\n"), rating_range=[0, 10])
    assert data.interactions["rating"].to_pylist() == [0.0, 10.0]
    with pytest.raises(ConfigError, match=r"rating_range.*lowest, highest"):
        read(movielens(), rating_range=[5, 1])


def test_content_not_in_the_encoding(movielens: Movielens) -> None:
    with pytest.raises(DataError, match=r"movies\.dat, line 2: is not utf-8 \(byte 0xe9\).*encoding"):
        read(movielens(), encoding="utf-8")


def test_unknown_encoding_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"encoding: .*latin-7000|encoding: .*not an encoding"):
        parse_settings(ReadSettings, {"encoding": "latin-7000"})


def test_item_listed_twice(movielens: Movielens) -> None:
    with pytest.raises(DataError, match=r"movies\.dat, line 2: item_id is listed twice"):
        read(movielens(movies="10::A (1990)::Drama\n10::B (1991)::Drama\n"))


def test_missing_and_empty_files(movielens: Movielens, source: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"movies\.dat: missing"):
        read(source({"ratings.dat": "1::2::3::4\n"}, folder="alone"))
    with pytest.raises(DataError, match=r"ratings\.dat: holds no rows"):
        read(movielens(ratings=""))
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        read(tmp_path / "empty")


def test_unknown_format_names_the_choices(source: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"fits no known format.*readme\.md.*movielens-csv"):
        read(source({"readme.md": "x"}))


def test_blocks_do_not_change_the_result(movielens: Movielens, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{u}::{i}::{r}::{t}" for u, i, r, t in zip(*rng.integers(1, 6, (4, 300)).tolist(), strict=True)]
    lines[123] = "bad"
    folder = movielens(ratings="\r\n".join(lines) + "\r\n")
    settings = {"on_bad_row": "ledger"}
    whole, _, data = read(folder, **settings)
    monkeypatch.setattr("kgrec.data.readers.base._BLOCK", 37)
    blocks, _, again = read(folder, **settings)
    assert again.interactions.combine_chunks().equals(data.interactions.combine_chunks())
    assert again.items.equals(data.items)
    assert blocks.rejects().equals(whole.rejects())
    assert whole.rejects()["line"].to_pylist() == [124]


def test_real_ml_1m_is_read_whole_and_fast(real_data: Path) -> None:
    start = time.perf_counter()
    _, name, data = read(real_data / "ml-1m")
    assert time.perf_counter() - start < 10
    assert name == "movielens"
    assert (data.interactions.num_rows, data.items.num_rows, data.users.num_rows) == (1_000_209, 3_883, 6_040)
    assert data.items["year"].null_count == 0
    stars = np.bincount(data.interactions["rating"].to_numpy().astype(int))
    assert stars.tolist() == [0, 56_174, 107_557, 261_197, 348_971, 226_310]
