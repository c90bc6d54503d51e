import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kgrec.data.io import read_json, read_parquet
from kgrec.data.schemas import LINKS
from kgrec.errors import DataError
from kgrec.kg.links import LinkSettings, link_items


class Desk:
    """A catalogue of four films and a folder for link files."""

    def __init__(self, folder: Path, write_items: Callable[..., Path]) -> None:
        titles = {"1": "Toy Story", "2": "Jumanji", "3": "Heat", "4": "Sabrina"}
        self.items = write_items(folder / "items.parquet", [{"item_id": k, "title": v} for k, v in titles.items()])
        self.links, self.out = folder / "links", folder / "out"
        self.links.mkdir()

    def run(self, files: dict[str, str], **settings: Any) -> dict[str, Any]:
        for name, text in files.items():
            (self.links / name).write_text(text, newline="")
        return link_items(self.items, self.links, None, self.out, LinkSettings(**settings))

    def table(self) -> dict[str, str]:
        rows = read_parquet(self.out / "links.parquet", LINKS).to_pylist()
        assert [row["item_id"] for row in rows] == sorted(row["item_id"] for row in rows)
        return {row["item_id"]: row["entity_id"] for row in rows}

    def audit(self) -> dict[str, Any]:
        return read_json(self.out / "audit.json")


@pytest.fixture
def desk(tmp_path: Path, write_items: Callable[..., Path]) -> Desk:
    return Desk(tmp_path, write_items)


def test_crlf_links_and_unknown_items(desk: Desk) -> None:
    counts = desk.run({"ml2fb.txt": "1\tm.a\r\n2\tm.b\r\n99\tm.z\r\n"})
    assert desk.table() == {"1": "m.a", "2": "m.b"}
    assert (counts["links"], counts["unknown_items"], counts["coverage"]) == (2, 1, 0.5)
    assert desk.audit()["unknown_items"][0]["item_id"] == "99"


def test_the_earlier_line_wins_and_the_loser_is_audited(desk: Desk) -> None:
    counts = desk.run({"a.txt": "3\tm.x\n1\tm.x\n3\tm.y\n1\tm.c\n2\tm.c\n1\tm.c\n"})
    assert desk.table() == {"3": "m.x", "1": "m.c"}
    assert counts["conflicts"] == 3
    first, second, third = desk.audit()["conflicts"]
    assert first["kind"] == "entity claimed by two items"
    assert (first["kept"]["title"], first["dropped"]["title"]) == ("Heat", "Toy Story")
    assert second["kind"] == "item with two entities"
    assert (second["kept"]["entity_id"], second["dropped"]["entity_id"]) == ("m.x", "m.y")
    assert (third["kept"]["line"], third["dropped"]["line"]) == (4, 5)


def test_a_higher_score_beats_an_earlier_file(desk: Desk) -> None:
    header = "item_id,entity_id,score,method\n"
    files = {
        "a.csv": header + "1,m.a,0.6,title\n2,m.b,0.9,title\n",
        "b.csv": header + "1,m.c,0.8,imdb\n3,m.d,0.1,imdb\n",
    }
    counts = desk.run(files, min_score=0.2)
    assert desk.table() == {"1": "m.c", "2": "m.b"}
    assert counts["methods"] == {"imdb": 1, "title": 1}
    assert counts["below_min_score"] == 1


def test_two_files_that_agree_are_no_conflict(desk: Desk) -> None:
    counts = desk.run({"a.txt": "1\tm.a\n", "b.link": "item_id:token\tentity_id:token\n1\t/m/a\n2\tm.b\n"})
    assert counts["conflicts"] == 0
    assert desk.table() == {"1": "m.a", "2": "m.b"}


def test_a_link_to_an_unknown_item_can_be_an_error(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"a\.txt, line 2: links item '99'.*link\.unknown_items"):
        desk.run({"a.txt": "1\tm.a\n99\tm.b\n"}, unknown_items="error")
    assert not desk.out.exists()


def test_a_conflict_can_be_an_error(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"a\.txt, line 2: entity claimed by two items"):
        desk.run({"a.txt": "1\tm.a\n2\tm.a\n"}, conflicts="error")


def test_another_id_space_is_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match="another id space"):
        desk.run({"a.txt": "000102521X\tm.a\n0001047566\tm.b\n"})
    assert not desk.out.exists()


def test_the_same_numbers_for_other_films_are_refused(tmp_path: Path, write_items: Callable[..., Path]) -> None:
    items = write_items(tmp_path / "items.parquet", [{"item_id": str(i), "title": f"Alpha{i}"} for i in range(30)])
    (tmp_path / "links").mkdir()
    rows = "".join(f"{i}\t{i}\tBeta{i}\thttp://x.org/{i}\n" for i in range(30))
    (tmp_path / "links" / "i2kg_map.txt").write_text("eid\tpid\tname\tentity\n" + rows)
    with pytest.raises(DataError, match="only 0 of 30 links"):
        link_items(items, tmp_path / "links", None, tmp_path / "out", LinkSettings())


def test_a_rerun_gives_equal_bytes(desk: Desk) -> None:
    files = {"a.txt": "3\tm.x\n1\tm.x\n2\tm.c\n"}
    desk.run(files)
    before = [(desk.out / name).read_bytes() for name in ("links.parquet", "audit.json")]
    desk.run(files)
    assert [(desk.out / name).read_bytes() for name in ("links.parquet", "audit.json")] == before


def test_movielens_1m_exactly(real_data: Path, tmp_path: Path, write_items: Callable[..., Path]) -> None:
    with zipfile.ZipFile(real_data / "ml-1m" / "ml-1m.zip") as archive:
        movies = archive.read("ml-1m/movies.dat").decode("latin-1").splitlines()
        ratings = [line.split(b"::") for line in archive.read("ml-1m/ratings.dat").splitlines()]
    rows = [{"item_id": line.split("::")[0], "title": line.split("::")[1]} for line in movies]
    items = write_items(tmp_path / "items.parquet", rows)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "ml2fb.txt").symlink_to(real_data / "freebase" / "ml2fb.txt")
    counts = link_items(items, tmp_path / "links", None, tmp_path / "out", LinkSettings())
    assert (counts["links"], counts["items"], counts["conflicts"]) == (3_811, 3_883, 0)
    linked = {item.encode() for item in read_parquet(tmp_path / "out" / "links.parquet")["item_id"].to_pylist()}
    assert len(linked & {item for _, item, _, _ in ratings}) == 3_655
    kept = [(user, item) for user, item, rating, _ in ratings if int(rating) >= 3 and item in linked]
    assert (len(kept), len({i for _, i in kept}), len({u for u, _ in kept})) == (834_268, 3_588, 6_039)
