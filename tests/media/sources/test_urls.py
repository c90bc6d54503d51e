from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgrec.errors import DataError
from kgrec.media.sources import Nothing, Reply, Request, Subject, UrlsSettings, UrlsSource, UrlTable

CSV = (
    "item_id,poster_url,licence\n"
    "1,https://a.org/1.jpg,free\n"
    '2,"https://b.org/2,2.jpg",\n'
    "entity:m.1,http://c.org:8080/m.png,free\n"
)
WANT = {
    "item:1": [("https://a.org/1.jpg", "free")],
    "item:2": [("https://b.org/2,2.jpg", "not stated")],
    "entity:m.1": [("http://c.org:8080/m.png", "free")],
}


def rows(table: UrlTable, *keys: str) -> dict[str, list[tuple[str, str]]]:
    return {key: [(row["url"], row["licence"]) for row in table.lookup(key)] for key in keys}


def write(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    records = [
        {"item_id": "1", "poster_url": "https://a.org/1.jpg", "licence": "free"},
        {"item_id": "2", "poster_url": "https://b.org/2,2.jpg", "licence": None},
        {"item_id": "entity:m.1", "poster_url": "http://c.org:8080/m.png", "licence": "free"},
    ]
    write(tmp_path, CSV)
    write(tmp_path, "\ufeff" + CSV.replace("\n", "\r\n"), "bom.csv")
    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    tabs = "1\thttps://a.org/1.jpg\tfree\n2\thttps://b.org/2,2.jpg\t\nentity:m.1\thttp://c.org:8080/m.png\tfree\n"
    write(tmp_path, "Item_ID\tPoster_URL\tLicence\n" + tabs, "t.tsv")
    write(tmp_path, "\n".join(json.dumps(r) for r in records) + "\n\n", "t.jsonl")
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "t.parquet", row_group_size=2)
    for path in sorted(tmp_path.iterdir()):
        table = UrlTable(path)
        assert rows(table, *WANT) == WANT, path
        assert table.hosts == {"a.org", "b.org", "c.org:8080"}
        assert (len(table), table.rejects, table.modalities) == (3, [], {"image"})


def test_bad_rows_are_told_by_line_and_stay_the_reason_of_their_key(
    tmp_path: Path, drive_any: Callable[..., Any]
) -> None:
    table = UrlTable(
        write(
            tmp_path,
            "id,url,modality\n"
            "1,,image\n"
            "2,N/A,\n"
            "3,poster.jpg,\n"
            "4,https://a.org/4.jpg\n"
            ",https://a.org/5.jpg,image\n"
            "6,https://u:secret@a.org/6.jpg,\n"
            "7,https://a.org/7.jpg,smell\n"
            '8,"x"y,\n'
            "\n"
            "9,https://a.org/9.jpg,Image\n"
            "10,ftp://a.org/x,\n",
        )
    )
    assert table.rejects == [
        (2, "no address"), (3, "no address"), (4, "no web address: poster.jpg"), (5, "2 fields of 3"), (6, "no key"),
        (7, "no web address, or one with a user or password"), (8, "unknown modality: smell"),
        (9, "not a row: ',' expected after '\"'"), (12, "no web address: ftp://a.org/x"),
    ]  # fmt: skip
    assert table.hosts == {"a.org"}
    source = UrlsSource(UrlsSettings(kind="urls", table=table.path), table)

    def outcome(key: str) -> Any:
        return drive_any(source, Subject(key), ["image"], lambda request: b"x").outcomes[0]

    assert outcome("item:3") == Nothing("image", "refused", "bad row: no web address: poster.jpg", "t.csv, line 4")
    assert outcome("item:7") == Nothing("image", "refused", "bad row: unknown modality: smell", "t.csv, line 8")
    assert outcome("item:77") == Nothing("image", "missing", "not in the table")
    assert outcome("item:9").origin == "https://a.org/9.jpg"


def test_bad_lines_of_jsonl(tmp_path: Path) -> None:
    lines = [
        '{"asin": "A", "url": "https://a.org/a"}',
        "{",
        "[]",
        "[" * 50_000,
        '{"asin": "B"}',
        '{"asin": "C", "url": 7}',
    ]
    table = UrlTable(write(tmp_path, "\n".join(lines), "t.jsonl"))
    assert table.rejects == [
        (2, "not valid JSON"), (3, "not an object"), (4, "not valid JSON"), (5, "no address"), (6, "no web address: 7"),
    ]  # fmt: skip
    assert rows(table, "item:A") == {"item:A": [("https://a.org/a", "not stated")]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"item_id,title\n1,x\n", r"a\.csv: has none of the columns url, poster, .*image_url"),
        ("a.csv", b"url\nhttps://a.org\n", r"a\.csv: has none of the columns key, item_id, .*asin"),
        ("a.csv", b"", "has none of the columns key"),
        ("a.jsonl", b"\n", "has none of the columns key"),
        (
            "a.csv",
            b'id,url\n1,https://a.org\n2,"https://b.org\n3,https://c.org\n',
            r"line 3: opens a quote that is never closed",
        ),
        ("a.csv", b"id,url\n1,\xff\n", "is not UTF-8"),
        ("a.csv.gz", gzip.compress(CSV.encode())[:-9], "is a damaged gzip file"),
        ("a.csv.gz", b"id,url\n", "is a damaged gzip file"),
        ("a.parquet", b"PAR1", "cannot be read as the Parquet table"),
        ("a.xlsx", b"", r"its name must end in \.csv, \.tsv, \.jsonl, \.parquet"),
        ("absent.csv", None, "no such table"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        UrlTable(tmp_path / name)


def test_numbers_are_keys_without_a_fraction(tmp_path: Path) -> None:
    table = pa.table(
        {"movieId": pa.array([1.0, None, 30.0]), "image": ["https://a.org/1", "https://a.org/2", "https://a.org/3"]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    read = UrlTable(tmp_path / "t.parquet")
    assert read.rejects == [(2, "no key")]
    assert [len(read.lookup(key)) for key in ("item:1", "item:30", "item:2")] == [1, 1, 0]


def test_every_key_is_found_in_any_order(tmp_path: Path) -> None:
    ids = [str(i * 37 % 1009) for i in range(1009)] + ["é", "Z", "a", "\U0001f600", "～"]
    path = write(tmp_path, "key,link\n" + "".join(f"{i},https://a.org/{n}\n" for n, i in enumerate(ids)))
    table = UrlTable(path)
    assert [table.lookup(f"item:{i}")[0]["url"] for i in ids] == [f"https://a.org/{n}" for n in range(len(ids))]
    assert table.lookup("item:") == table.lookup("") == table.lookup("zzz") == []


def test_rows_of_a_key_are_tried_in_order(tmp_path: Path, drive_any: Callable[..., Any]) -> None:
    path = write(
        tmp_path, "key,url\n1,nonsense\n1,https://a.org/b\n1,https://a.org/a\n1,https://a.org/b\n1,https://a.org/c\n"
    )
    source = UrlsSource(UrlsSettings(kind="urls", table=path, max_age_days=1), UrlTable(path))

    def answer(request: Request) -> Any:
        return b"picture" if request.url.endswith("a") else Reply("missing", "HTTP 404")

    driven = drive_any(source, Subject("item:1"), ["image"], answer)
    assert driven.urls == ["https://a.org/b", "https://a.org/a"]
    assert driven.asked[0].accept == ("image/",)
    assert driven.found("image").expires == "2026-02-01T10:00:00Z"
    last = {"a": Reply("failed", "HTTP 503")}
    driven = drive_any(
        source, Subject("item:1"), ["image"], lambda request: last.get(request.url[-1], Reply("missing", "HTTP 404"))
    )
    assert driven.urls == ["https://a.org/b", "https://a.org/a", "https://a.org/c"]
    assert driven.nothing("image") == ("failed", "HTTP 503")  # it may work another time


def test_modalities_of_rows_and_of_the_table(tmp_path: Path, drive_any: Callable[..., Any]) -> None:
    text = "key,url,modality,license\n1,https://a.org/t,AUDIO,CC0\n1,https://a.org/p,,\n1,https://a.org/d,text,\n"
    path = write(tmp_path, text)
    settings = UrlsSettings(kind="urls", table=path, modality="video", licence="mine")
    source = UrlsSource(settings, UrlTable(path, "video", "mine"))
    assert source.modalities == {"audio", "video", "text"}
    driven = drive_any(source, Subject("item:1"), ["audio", "text", "video", "image"], lambda request: b"words")
    assert [(r.url[-1], r.accept) for r in driven.asked] == [
        ("t", ("audio/",)), ("d", ("text/plain",)), ("p", ("video/",)),
    ]  # fmt: skip
    assert [driven.found(m).licence for m in ("audio", "video")] == ["CC0", "mine"]
    assert (driven.found("text").text, driven.found("audio").read(2)) == ("words", b"wor")
    assert driven.nothing("image") == ("missing", "not in the table")


def test_hosts_are_those_of_the_table_unless_named(tmp_path: Path) -> None:
    path = write(tmp_path, CSV)
    assert UrlsSource(UrlsSettings(kind="urls", table=path), UrlTable(path)).hosts == {"a.org", "b.org", "c.org:8080"}
    named = UrlsSettings(kind="urls", table=path, hosts=("*.org",))
    assert UrlsSource(named, UrlTable(path)).hosts == {"*.org"}


def test_an_empty_table_knows_nothing(tmp_path: Path) -> None:
    table = UrlTable(write(tmp_path, "key,url\n"))
    assert (len(table), table.lookup("item:1"), table.hosts, table.modalities) == (0, [], set(), frozenset())


def test_the_real_table_of_posters(real_data: Path) -> None:
    table = UrlTable(real_data / "ml-1m" / "poster_urls.csv")
    assert (len(table), table.rejects) == (3260, [])
    assert table.hosts == {"m.media-amazon.com", "ia.media-imdb.com", "dummyimage.com"}
    assert table.lookup("item:3071")[0]["url"].endswith("@._V1_UX182_CR0,0,182,268_AL_.jpg")
