"""The audit on small catalogues made for it, and on the published link files of MovieLens-1M."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgrec.config import parse_settings
from kgrec.data.io import read_parquet
from kgrec.data.readers.items import read_items
from kgrec.data.schemas import ITEMS
from kgrec.errors import DataError
from kgrec.kg.audit import ROWS, Audit, AuditSettings, audit_links, read_link_table, write_audit
from kgrec.kg.linking.works import TYPES_OF
from kgrec.kg.profiles import PROFILES, read_profiles

_FIRST = [
    "Silver",
    "Crimson",
    "Quiet",
    "Broken",
    "Hidden",
    "Golden",
    "Frozen",
    "Burning",
    "Lonely",
    "Secret",
    "Distant",
    "Hollow",
]
_LAST = [
    "Harbour",
    "Garden",
    "Winter",
    "Mirror",
    "Station",
    "Letter",
    "Voyage",
    "Orchard",
    "Bridge",
    "Empire",
    "Window",
    "Canyon",
]

Rows = Sequence[tuple[str, str]]


def table(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    empty: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in schema}
    return pa.Table.from_pylist([empty | dict(row) for row in rows], schema=schema)


def link_table(rows: Rows) -> pa.Table:
    return pa.table({"item_id": [item for item, _ in rows], "entity_id": [entity for _, entity in rows]})


class Films:
    """140 films, ids 1, 4, 7 … in both catalogues' titles; entity ``m.<at>`` is film ``at``."""

    def __init__(self) -> None:
        names = [f"{first} {last}" for first in _FIRST for last in _LAST][:140]
        years = [1950 + 37 * at % 60 for at in range(len(names))]
        self.ids = [str(3 * at + 1) for at in range(len(names))]
        self.items = [{"item_id": one, "title": n, "year": y} for one, n, y in zip(self.ids, names, years, strict=True)]
        self.entities = [
            {"entity_id": f"m.{at}", "name": n, "names": [n], "years": [y], "types": ["film.film", "common.topic"]}
            for at, (n, y) in enumerate(zip(names, years, strict=True))
        ]
        self.right = [(one, f"m.{at}") for at, one in enumerate(self.ids)]

    def audit(self, links: Rows, **settings: Any) -> Audit:
        items, profiles = table(ITEMS, self.items), table(PROFILES, self.entities)
        return audit_links(link_table(links), items, profiles, parse_settings(AuditSettings, settings))


@pytest.fixture
def films() -> Films:
    return Films()


def flagged(audit: Audit) -> dict[str, str]:
    return {row["item_id"]: row["reason"] for row in audit.rows.to_pylist() if row["flag"]}


def test_a_right_file_passes(films: Films) -> None:
    audit = films.audit(films.right)
    assert audit.rows.schema == ROWS
    assert audit.mismatch is None
    assert flagged(audit) == {}
    assert {key: audit.metrics[key] for key in ("rows", "checked", "linked_items", "coverage", "suspicious", "duplicates")} == {
        "rows": 140, "checked": 140, "linked_items": 140, "coverage": 1.0, "suspicious": 0, "duplicates": 0,
    }  # fmt: skip
    assert audit.metrics["estimated_precision"] == 1.0
    assert audit.metrics["precision_low"] == pytest.approx(1 - 1.92 / 140, abs=1e-3)
    assert audit.metrics["passing_by_chance"] < 0.02
    assert min(audit.rows["score"].to_pylist()) > 0.99


def kinds(films: Films) -> dict[str, Rows]:
    mixed = random.Random(3).sample(films.ids, len(films.ids))
    return {
        "shifted": [(str(int(item) + 3), entity) for item, entity in films.right],
        "permuted": list(zip(mixed, [entity for _, entity in films.right], strict=True)),
        "positions": [(str(at), entity) for at, (_, entity) in enumerate(films.right)],
    }


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "shifted",
            "140 linked entities are other items of the catalogue: the file seems to use the catalogue's ids +3",
        ),
        ("permuted", "the file seems to use a numbering of its own, in another order"),
        (
            "positions",
            "the file seems to use positions of the items in the catalogue as the file lists them, counted from 0",
        ),
    ],
)
def test_another_numbering_is_refused_and_described(films: Films, kind: str, words: str) -> None:
    links, right = kinds(films)[kind], set(films.right)
    audit = films.audit(links)
    assert audit.mismatch is not None
    assert words in audit.mismatch
    here = {item for item, _ in films.right}
    wrong = [item for item, entity in links if item in here and (item, entity) not in right]
    assert set(wrong) <= flagged(audit).keys()
    assert audit.metrics["precision_high"] < 0.1


def test_landmarks_name_the_numberings(films: Films) -> None:
    from kgrec.kg.id_spaces import SPACES

    old, new = (list(space.landmarks.items()) for space in SPACES)
    # the catalogue is MovieLens-100K's, the file numbers as the later releases do; numbers below 1682 are used by both
    numbered = {one: (f"Film {one}", 1990) for one, _ in new if int(one) < 1682} | dict(old)
    films.items = [{"item_id": one, "title": title, "year": year} for one, (title, year) in numbered.items()]
    films.entities = [
        {"entity_id": f"m.{one}", "name": title, "names": [title], "years": [year]} for one, (title, year) in new
    ]
    audit = films.audit([(one, f"m.{one}") for one, _ in new])
    assert audit.mismatch is not None
    assert "ids are those of MovieLens-1M, 10M, 20M, 25M, 32M and latest (56 of 56 films known there)" in audit.mismatch
    assert "beyond MovieLens-1M, the catalogue's those of MovieLens-100K (40 of 40 films known there)" in audit.mismatch


def test_ids_of_another_kind_are_refused(films: Films) -> None:
    films.items = [item | {"imdb_id": f"tt{1000000 + at}"} for at, item in enumerate(films.items)]
    audit = films.audit([(f"tt{1000000 + at}", entity) for at, (_, entity) in enumerate(films.right)])
    assert audit.mismatch is not None
    assert audit.mismatch.startswith("0 of 140 links are of items in the catalogue")
    assert "ids are IMDb ids, the catalogue's whole numbers from 1 to 418 with gaps" in audit.mismatch
    assert audit.mismatch.endswith("they are the catalogue's IMDb ids")
    assert films.audit([("B000FA64PK", "m.1")]).mismatch is not None


def test_entities_of_another_knowledge_base_are_refused(films: Films) -> None:
    audit = films.audit([(item, f"Q{at + 1}") for at, (item, _) in enumerate(films.right)])
    assert audit.mismatch is not None
    assert "the links name Wikidata ids, the knowledge base has Freebase ids" in audit.mismatch
    assert audit.mismatch.endswith("the catalogue's whole numbers from 1 to 418 with gaps")
    assert set(audit.rows["status"].to_pylist()) == {"unknown entity"}


def test_no_links(films: Films) -> None:
    audit = films.audit([])
    assert audit.mismatch is not None
    assert (audit.metrics["rows"], audit.metrics["estimated_precision"]) == (0, None)


def test_single_wrong_rows_are_found_with_a_reason(films: Films) -> None:
    links = [*films.right[:-2], (films.ids[-2], "m.139"), (films.ids[-1], "m.138")]
    audit = films.audit(links)
    assert audit.mismatch is None
    reasons = flagged(audit)
    assert set(reasons) == {films.ids[-2], films.ids[-1]}
    title, year = films.items[-1]["title"], films.items[-1]["year"]
    assert f"the entity fits item {films.ids[-1]}, {title} ({year})" in reasons[films.ids[-2]]
    assert "titles differ" in reasons[films.ids[-2]]
    assert audit.metrics["precision_low"] < 138 / 140 < audit.metrics["precision_high"]


def test_the_remake_is_suspicious_where_the_film_itself_is_known(films: Films) -> None:
    first = films.entities[0]
    films.entities.append(first | {"entity_id": "m.remake", "years": [first["years"][0] + 30]})
    audit = films.audit([(films.ids[0], "m.remake"), *films.right[1:]])
    row = audit.rows.to_pylist()[0]
    assert row["other_entity"] == "m.0"
    assert row["flag"]
    assert "years differ" in row["reason"]
    # with nothing better around, the same row passes: titles agree, and a year may be wrong
    films.entities = films.entities[1:]
    assert not films.audit([(films.ids[0], "m.remake"), *films.right[1:]]).rows.to_pylist()[0]["flag"]


def test_what_has_only_the_title_is_no_better_candidate(films: Films) -> None:
    """A series without a year is called as a film whose year is off."""
    first = films.entities[0]
    films.entities[0] = first | {"years": [first["years"][0] + 12]}
    films.entities.append(first | {"entity_id": "m.series", "years": []})
    row = films.audit(films.right).rows.to_pylist()[0]
    assert (row["flag"], row["other_entity"], row["agreement_others"]) == (False, None, 1.0)


def test_titles_suffice_where_nothing_else_is_known(films: Films) -> None:
    films.entities = [one | {"years": []} for one in films.entities]
    assert films.audit(films.right).mismatch is None
    audit = films.audit(kinds(films)["permuted"])
    assert audit.mismatch is not None
    assert set(flagged(audit)) >= {
        item for item, entity in kinds(films)["permuted"] if (item, entity) not in films.right
    }


def test_without_a_knowledge_base_nothing_is_refused(films: Films) -> None:
    films.entities = []
    audit = films.audit(kinds(films)["permuted"])
    assert (audit.mismatch, audit.metrics["estimated_precision"], flagged(audit)) == (None, None, {})


def test_a_title_in_another_language_passes_in_a_right_file_only(films: Films) -> None:
    films.entities[0] |= {"name": "Puerto de plata", "names": ["Puerto de plata"]}
    row = films.audit(films.right).rows.to_pylist()[0]
    assert (row["flag"], row["agreement_title"] < 0.5, row["probability"] > 0.5) == (False, True, True)
    mixed = dict(kinds(films)["permuted"]) | {films.ids[0]: "m.0"}
    rows = {row["item_id"]: row for row in films.audit(list(mixed.items())).rows.to_pylist()}
    assert rows[films.ids[0]]["flag"]


def test_ids_elsewhere_outweigh_titles(films: Films) -> None:
    films.items[0] |= {"imdb_id": "tt0000001"}
    films.entities[0] |= {"name": "Puerto", "names": ["Puerto"], "years": [1900], "imdb_id": ["tt0000001"]}
    films.items[1] |= {"imdb_id": "tt0000002"}
    films.entities[1] |= {"imdb_id": ["tt0000009"]}
    audit = films.audit(films.right)
    assert audit.rows["agreement_ids"].to_pylist()[:3] == [1.0, 0.0, None]
    first, second, third = (row["probability"] for row in audit.rows.to_pylist()[:3])
    assert first > 0.9
    assert second < third


def test_an_entity_of_another_type_is_suspicious_with_little_else(films: Films) -> None:
    films.entities[0] |= {"types": ["book.book", "common.topic"], "years": [films.entities[0]["years"][0] + 9]}
    audit = films.audit([*films.right[:-20], *zip(films.ids[-20:], [f"m.{139 - at}" for at in range(20)], strict=True)])
    row = audit.rows.to_pylist()[0]
    assert row["agreement_type"] == 0.0
    assert audit.rows["agreement_type"].to_pylist()[1] == 1.0
    assert row["probability"] < audit.rows["probability"].to_pylist()[1]
    wanted = films.audit(films.right, evidence={"types": ["book.book"]})
    assert wanted.rows["agreement_type"].to_pylist()[:2] == [1.0, 0.0]


def test_what_cannot_be_checked_is_counted_and_passes_in_a_right_file(films: Films) -> None:
    films.items[0] |= {"title": None, "year": None}
    films.entities[1] |= {"name": None, "names": [], "years": []}
    films.entities[2] = {"entity_id": "m.2"}
    links = [*films.right[:3], ("9999", "m.3"), *films.right[3:]]
    audit = films.audit(links)
    rows = audit.rows.to_pylist()
    assert [row["status"] for row in rows[:5]] == [
        "no evidence",
        "no evidence",
        "unknown entity",
        "unknown item",
        "checked",
    ]
    assert not any(row["flag"] for row in rows)
    assert [rows[0]["score"], rows[3]["probability"]] == [None, None]
    assert {key: audit.metrics[key] for key in ("checked", "no_evidence", "unknown_entities", "unknown_items")} == {
        "checked": 137, "no_evidence": 2, "unknown_entities": 1, "unknown_items": 1,
    }  # fmt: skip
    wrong = [(one, f"m.{(at + 50) % 140}") for at, one in enumerate(films.ids)]
    reasons = flagged(films.audit([(films.ids[0], "m.2"), *wrong[1:]]))
    assert len(reasons) == 140
    assert reasons[films.ids[0]] == "nothing to compare; in a file of which 0.0% is right"


def test_duplicates(films: Films) -> None:
    links = [*films.right, films.right[0], (films.ids[1], "m.5"), (films.ids[1], "m.5")]
    audit = films.audit(links)
    assert audit.metrics["duplicates"] == 3
    assert audit.metrics["linked_items"] == 140
    said = audit.rows["repeats"].to_pylist()
    assert said[:140] == [None] * 140
    assert said[140] == "the same link again"
    assert said[141] == f"item is also m.1, entity is also item {films.ids[5]}"


def test_a_few_links_are_enough(films: Films) -> None:
    few = films.right[:4]
    assert films.audit(few).mismatch is None
    turned = [(item, few[at - 1][1]) for at, (item, _) in enumerate(few)]
    assert films.audit(turned).mismatch is not None
    assert films.audit(turned[:2], min_checked=3).mismatch is None


def test_books_are_audited_by_title_author_and_isbn() -> None:
    films = Films()
    isbns = ["0553092626", "0618640150", "0141439513", "0316769177", "0743273567"]
    books = [{"item_id": one, "title": f"{_FIRST[at]} {_LAST[at]}", "writer": [f"Ann {_LAST[at]}son"]}
             for at, one in enumerate(isbns)]  # fmt: skip
    films.items, films.ids = books, isbns
    films.entities = [
        {
            "entity_id": f"m.{at}",
            "names": [f"{one['title']} (novel)"],
            "writer": one["writer"],
            "isbn": [one["item_id"]],
        }
        for at, one in enumerate(books)
    ]
    right = [(one, f"m.{at}") for at, one in enumerate(isbns)]
    audit = films.audit(right)
    assert audit.mismatch is None
    assert audit.rows["agreement_ids"].to_pylist() == audit.rows["agreement_creators"].to_pylist() == [1.0] * 5
    wrong = films.audit([(one, f"m.{(at + 1) % 5}") for at, one in enumerate(isbns)])
    assert wrong.mismatch is not None
    assert all("other creators" in reason for reason in flagged(wrong).values())


def test_what_is_written(films: Films, tmp_path: Path) -> None:
    audit = films.audit([*films.right[1:], (films.ids[0], "m.9")])
    for folder in ("one", "two"):
        write_audit(
            audit if folder == "one" else films.audit([*films.right[1:], (films.ids[0], "m.9")]), tmp_path / folder
        )
    files = ["audit.parquet", "metrics.json", "plots/scores.csv", "plots/scores.png"]
    assert sorted(str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*.*")) == files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert read_parquet(tmp_path / "one" / "audit.parquet", ROWS).equals(audit.rows)
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()) == {**audit.metrics, "refused": False}
    lines = (tmp_path / "one" / "plots" / "scores.csv").read_text().splitlines()
    assert lines[0] == "score_from,score_to,links,share_of_links,share_by_chance"
    assert sum(int(line.split(",")[2]) for line in lines[1:]) == 140
    for column in (3, 4):
        assert sum(float(line.split(",")[column]) for line in lines[1:]) == pytest.approx(1, abs=1e-4)


def test_link_files_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "ml2fb.txt"
    path.write_text("1\tm.a\r\n1\tm.b\r\n9\tm.a\r\n", newline="")
    assert read_link_table(path).select(["item_id", "entity_id"]).to_pylist() == [
        {"item_id": "1", "entity_id": "m.a"}, {"item_id": "1", "entity_id": "m.b"}, {"item_id": "9", "entity_id": "m.a"},
    ]  # fmt: skip
    with pytest.raises(DataError, match="no such file; give a link file: KB4Rec"):
        read_link_table(tmp_path / "none")
    (tmp_path / "empty.link").write_text("item_id:token\tentity_id:token\n")
    with pytest.raises(DataError, match="holds no links"):
        read_link_table(tmp_path / "empty.link")


class Real:
    """MovieLens-1M, KB4Rec's links and the film part of the Freebase dump."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.items = read_items(data / "ml-1m" / "ml-1m.zip")
        links = read_link_table(data / "freebase" / "ml2fb.txt")
        self.links: Rows = list(zip(links["item_id"].to_pylist(), links["entity_id"].to_pylist(), strict=True))
        types = TYPES_OF["film"]
        dump = data / "freebase" / "freebase-film-rdf.gz"
        profiles = read_profiles(dump, {entity for _, entity in self.links}, self.items, types)
        # as hard as it gets: neither keys nor people, titles and years alone
        empty = pa.array([[]] * profiles.num_rows, pa.list_(pa.string()))
        for name in ("imdb_id", "director", "writer", "actor"):
            profiles = profiles.set_column(profiles.column_names.index(name), name, empty)
        self.profiles = profiles
        catalogue = set(self.items["item_id"].to_pylist())
        self.right = {item: entity for item, entity in self.links if item in catalogue}

    def audit(self, links: Rows) -> Audit:
        return audit_links(link_table(links), self.items, self.profiles)

    def wrong_rows(self, audit: Audit) -> list[dict[str, Any]]:
        rows = [row for row in audit.rows.to_pylist() if row["status"] != "unknown item"]
        return [row for row in rows if self.right.get(row["item_id"]) != row["entity_id"]]


@pytest.fixture(scope="module")
def real(real_data: Path) -> Real:
    return Real(real_data)


@pytest.mark.parametrize("name", ["freebase/ml2fb.txt", "recbole/ml-1m.link"])
def test_the_published_links_of_movielens_1m_pass(real: Real, name: str) -> None:
    links = read_link_table(real.data / name)
    audit = audit_links(links, real.items, real.profiles)
    assert audit.mismatch is None
    assert audit.metrics["coverage"] > 0.94
    assert audit.metrics["suspicious_share"] < 0.01
    assert audit.metrics["estimated_precision"] > 0.99
    assert audit.metrics["checked"] > 3600


NUMBERINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "shifted": lambda ids: [str(int(one) + 1) for one in ids],
    "shifted back": lambda ids: [str(int(one) - 1) for one in ids],
    "compacted": lambda ids: [str(at) for at, _ in enumerate(ids, start=1)],
    "permuted": lambda ids: random.Random(5).sample(ids, len(ids)),
    "alphabetical": lambda ids: [str(at) for _, at in sorted(zip(sorted(ids), range(1, len(ids) + 1), strict=True))],
}


@pytest.mark.parametrize("kind", NUMBERINGS)
def test_links_of_another_numbering_are_refused(real: Real, kind: str) -> None:
    items = sorted(real.right, key=int)
    numbers = NUMBERINGS[kind](items)
    audit = real.audit([(number, real.right[item]) for number, item in zip(numbers, items, strict=True)])
    assert audit.mismatch is not None
    wrong = real.wrong_rows(audit)
    assert len(wrong) > 2000
    assert sum(row["flag"] for row in wrong) >= 0.99 * len(wrong)


def test_movielens_20m_ids_on_a_catalogue_numbered_as_movielens_100k(real: Real) -> None:
    """The defect of RecBole's bundled links: the entities of one numbering under the numbers of the other."""
    from kgrec.kg.id_spaces import SPACES

    old, new = (space.landmarks for space in SPACES)
    number = {film: one for one, film in old.items()}
    free = [str(at) for at in range(1, 1683) if str(at) not in old]
    random.Random(0).shuffle(free)
    rows = real.items.to_pylist()
    known = [row | {"item_id": number[new[row["item_id"]]]} for row in rows if new.get(row["item_id"]) in number]
    others = [row for row in rows if row["item_id"] not in new]
    items = pa.Table.from_pylist(
        known + [row | {"item_id": one} for row, one in zip(others[: len(free)], free, strict=True)], schema=ITEMS
    )
    audit = audit_links(link_table(real.links), items, real.profiles)
    assert audit.mismatch is not None
    assert "the link file's item ids are those of MovieLens-1M, 10M, 20M, 25M, 32M and latest" in audit.mismatch
    assert "up to 131262, beyond MovieLens-1M, the catalogue's those of MovieLens-100K (40 of 40" in audit.mismatch
    here = [row for row in audit.rows.to_pylist() if row["status"] != "unknown item"]
    assert len(here) > 1500
    assert sum(row["flag"] for row in here) >= 0.99 * len(here)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_estimate_meets_the_truth(real: Real, share: float) -> None:
    draw = random.Random(int(1000 * share))
    spoilt = [item for item in real.right if draw.random() < share]
    mixed = dict(zip(spoilt, draw.sample([real.right[item] for item in spoilt], len(spoilt)), strict=True))
    audit = real.audit([(item, mixed.get(item, entity)) for item, entity in real.right.items()])
    wrong = real.wrong_rows(audit)
    truth = 1 - len(wrong) / len(real.right)
    assert audit.metrics["precision_low"] <= truth <= audit.metrics["precision_high"]
    assert audit.metrics["estimated_precision"] == pytest.approx(truth, abs=0.01)
    assert sum(row["flag"] for row in wrong) >= 0.9 * len(wrong)
    assert audit.metrics["suspicious"] - sum(row["flag"] for row in wrong) < 0.01 * len(real.right)


def test_errors_in_published_links_to_dbpedia_are_found(real: Real) -> None:
    """Names alone, no years: the map links Clerks to Clerks II, and seven more first films to a sequel."""
    folder = real.data / "dbpedia-ml-1m"
    lines = (folder / "e_map.txt").read_text(encoding="utf-8").splitlines()[1:]
    entities = [line.split("\t") for line in lines]
    profiles = table(
        PROFILES, [{"entity_id": uri, "names": [name.replace("_", " ")]} for _, name, uri in entities if name]
    )
    audit = audit_links(read_link_table(folder / "i2kg_map.txt"), real.items, profiles)
    assert audit.mismatch is None
    assert audit.metrics["suspicious_share"] < 0.01
    assert 0.985 < audit.metrics["estimated_precision"] < 0.995
    sequels = {"223", "1092", "1130", "1240", "2139", "3409", "3785", "3826"}
    assert sequels <= flagged(audit).keys()
