import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.link_ml1m import World as MovieLens
from kgrec.data.io import read_json, read_parquet
from kgrec.data.schemas import LINKS
from kgrec.errors import ConfigError, DataError
from kgrec.kg.linking.assignment import UNLINKED
from kgrec.kg.linking.candidates import CANDIDATES
from kgrec.kg.links import LinkSettings, link_items
from kgrec.kg.store import ExtractSettings, build_store


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


NS = "http://rdf.freebase.com/ns/"


def film(entity: str, name: str, year: int) -> list[str]:
    date = f'"{year}"^^<http://www.w3.org/2001/XMLSchema#gYear>'
    facts = {
        "type.object.type": f"<{NS}film.film>",
        "type.object.name": f'"{name}"@en',
        "film.film.initial_release_date": date,
    }
    return [f"<{NS}{entity}>\t<{NS}{predicate}>\t{term}\t." for predicate, term in facts.items()]


class Base(Desk):
    """A desk with a store of the four films, a twin of one, and another film."""

    def __init__(self, folder: Path, write_items: Callable[..., Path], write_dump: Callable[..., Path]) -> None:
        super().__init__(folder, write_items)
        rows = {"1": ("Toy Story", 1995), "2": ("Jumanji", 1995), "3": ("Heat", 1995), "4": ("Sabrina", 1995)}
        items = [{"item_id": item, "title": title, "year": year} for item, (title, year) in rows.items()]
        self.items = write_items(folder / "items.parquet", [*items, {"item_id": "5", "title": "Zardoz"}])
        films = [("m.a", "Toy Story"), ("m.b", "Jumanji"), ("m.c", "Heat"), ("m.d", "Sabrina"), ("m.e", "Sabrina")]
        lines = [line for entity, name in films for line in film(entity, name, 1995)] + film("m.f", "Alien", 1979)
        write_dump(folder / "dump.gz", lines)
        self.store = folder / "store"
        build_store([folder / "dump.gz"], self.store, ExtractSettings())

    def link(self, files: dict[str, str] | None = None, **settings: Any) -> dict[str, Any]:
        for name, text in (files or {}).items():
            (self.links / name).write_text(text, newline="")
        return link_items(self.items, self.links if files else None, self.store, self.out, LinkSettings(**settings))

    def reasons(self) -> dict[str, str]:
        rows = read_parquet(self.out / "unlinked.parquet").to_pylist()
        return {row["item_id"]: row["reason"] for row in rows}


@pytest.fixture
def based(tmp_path: Path, write_items: Callable[..., Path], write_dump: Callable[..., Path]) -> Base:
    return Base(tmp_path, write_items, write_dump)


def test_evidence_alone_links_refuses_ties_and_gives_reasons(based: Base) -> None:
    counts = based.link()
    assert based.table() == {"1": "m.a", "2": "m.b", "3": "m.c"}
    assert based.reasons() == {"4": "tie_of_entities", "5": "no_candidate"}
    assert (counts["methods"], counts["coverage"]) == ({"evidence": 3}, 0.6)
    assert counts["unlinked"] == {"no_candidate": 1, "tie_of_entities": 1}
    candidates = read_parquet(based.out / "candidates.parquet", CANDIDATES)
    [row] = [row for row in candidates.to_pylist() if row["item_id"] == "1"]
    assert (row["name"], row["years"], row["outcome"], row["keys"]) == ("Toy Story", [1995], "link", "title+word")
    assert (row["title"], row["year"], row["type"], row["ids"], row["claim"]) == (0.925, 1.0, 1.0, None, None)


def test_a_claim_settles_a_tie_and_a_wrong_one_is_refused(based: Base) -> None:
    counts = based.link({"a.txt": "1\tm.a\n2\tm.b\n3\tm.f\n4\tm.e\n"}, audit={"min_checked": 100})
    assert based.table() == {"1": "m.a", "2": "m.b", "3": "m.c", "4": "m.e"}
    assert counts["methods"] == {"evidence": 1, "kb4rec": 3}
    assert counts["claims_refused"] == 1
    [refused] = based.audit()["claims_refused"]
    assert (refused["title"], refused["name"], refused["outcome"]) == ("Heat", "Alien", "beaten")


def test_files_alone_are_taken_at_their_word(based: Base) -> None:
    counts = based.link({"a.txt": "1\tm.a\n3\tm.f\n5\tm.new\n"}, methods=("file",), audit={"min_checked": 100})
    assert based.table() == {"1": "m.a", "3": "m.f", "5": "m.new"}
    assert counts["methods"] == {"kb4rec": 3}
    assert read_parquet(based.out / "links.parquet")["score"].to_pylist() == [1, 1, 1]
    assert set(based.reasons().values()) == {"not_claimed"}
    candidates = read_parquet(based.out / "candidates.parquet").to_pylist()
    assert {row["entity_id"]: row["outcome"] for row in candidates if row["item_id"] == "3"} == {
        "m.f": "link", "m.c": "beaten",
    }  # fmt: skip


def test_an_entity_the_store_lacks_can_be_claimed(based: Base) -> None:
    based.link({"a.txt": "1\tm.a\n2\tm.b\n5\tm.new\n"})
    assert based.table() == {"1": "m.a", "2": "m.b", "3": "m.c", "5": "m.new"}


def test_evidence_alone_does_not_open_the_link_files(based: Base) -> None:
    (based.links / "broken.txt").write_text("this is no link file")
    counts = link_items(based.items, based.links, based.store, based.out, LinkSettings(methods=("evidence",)))
    assert (counts["links"], counts["links_read"]) == (3, 0)


def test_a_store_about_other_things_is_refused(based: Base) -> None:
    with pytest.raises(DataError, match=r"has entities for only 0 of 5 items .*link\.kind: book right"):
        based.link(kind="book")
    assert not based.out.exists()


@pytest.mark.parametrize(
    ("links", "store", "methods", "message"),
    [
        (False, False, None, "nothing to link by"),
        (False, True, ("file", "evidence"), "file needs a folder with link files"),
        (True, True, ("file", "evidence"), "file needs a folder with link files"),
        (True, False, ("evidence",), "evidence needs a store"),
        (True, False, None, "nothing to link by"),
    ],
)
def test_a_method_without_its_input(based: Base, links: bool, store: bool, methods: Any, message: str) -> None:
    given = (based.links if links else None, based.store if store else None)
    with pytest.raises(ConfigError, match=message):
        link_items(based.items, *given, based.out, LinkSettings(methods=methods))


def test_a_store_without_names_is_as_good_as_none(desk: Desk, tmp_path: Path) -> None:
    build_store([], tmp_path / "empty", ExtractSettings())
    (desk.links / "a.txt").write_text("1\tm.a\n2\tm.b\n")
    counts = link_items(desk.items, desk.links, tmp_path / "empty", desk.out, LinkSettings())
    assert (counts["methods"], desk.audit()["methods"]) == ({"kb4rec": 2}, ["file"])
    with pytest.raises(ConfigError, match="a store in which entities have names"):
        link_items(desk.items, desk.links, tmp_path / "empty", desk.out, LinkSettings(methods=("evidence",)))


def test_an_empty_links_folder_is_as_good_as_none(based: Base) -> None:
    assert link_items(based.items, based.links, based.store, based.out, LinkSettings())["methods"] == {"evidence": 3}


def test_a_folder_that_is_not_there_is_an_error(based: Base, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        link_items(based.items, tmp_path / "nowhere", based.store, based.out, LinkSettings())
    with pytest.raises(DataError, match="is no store"):
        link_items(based.items, based.links, tmp_path / "nowhere", based.out, LinkSettings())


def test_a_store_is_linked_to_equal_bytes(based: Base) -> None:
    names = ("links.parquet", "candidates.parquet", "unlinked.parquet", "audit.json", "audit.parquet", "metrics.json")
    files = {"a.txt": "1\tm.a\n2\tm.b\n3\tm.f\n4\tm.e\n"}
    based.link(files, audit={"min_checked": 100})
    before = [(based.out / name).read_bytes() for name in names]
    based.link(files, audit={"min_checked": 100}, memory_gb=0.5)
    assert [(based.out / name).read_bytes() for name in names] == before
    assert read_parquet(based.out / "links.parquet").num_rows == 4


def test_a_catalogue_without_links_still_has_every_file(desk: Desk) -> None:
    desk.run({"a.txt": "1\tm.a\n"})
    rows = read_parquet(desk.out / "candidates.parquet", CANDIDATES).to_pylist()
    assert [(row["item_id"], row["outcome"], row["score"]) for row in rows] == [("1", "link", None)]
    assert read_parquet(desk.out / "unlinked.parquet", UNLINKED)["reason"].to_pylist() == ["not_claimed"] * 3


@pytest.mark.slow
def test_movielens_1m_by_evidence_alone(real_data: Path, tmp_path: Path) -> None:
    """The targets: against KB4Rec, precision .99 at recall .95 without IMDb ids, .995 at .97 with them."""
    world = MovieLens(real_data, tmp_path)
    without, with_ids = world.run("without IMDb ids"), world.run("with IMDb ids")
    assert without.findable == with_ids.findable == 3_801
    assert without.precision >= 0.99
    assert without.recall >= 0.95
    assert with_ids.precision >= 0.995
    assert with_ids.recall >= 0.97
    # the links on which evidence and KB4Rec disagree are in docs/linking.md; more of them would mean it is out of date
    assert len(without.disagreements) <= 4
    assert len(with_ids.disagreements) <= 3
