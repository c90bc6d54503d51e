from pathlib import Path

import pytest

from kgrec.kg.linking.claims import read_claims

TITLES = {"1": "Toy Story", "2": "Jumanji", "3": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("1\tm.a\n9\tm.z\n2\tm.a\n")
    (tmp_path / "b.csv").write_text("item_id,entity_id,score\n1,m.b,0.9\n3,m.c,0.2\n")
    return tmp_path


def test_claims_of_several_files(folder: Path) -> None:
    claims = read_claims(folder, TITLES, "auto", 0.5)
    assert [(row.item_id, row.entity_id) for row in claims.accepted] == [("1", "m.a")]
    assert [(one.kept.item_id, one.lost.item_id, one.kind) for one in claims.conflicts] == [
        ("1", "2", "entity claimed by two items"),
        ("1", "1", "item with two entities"),
    ]
    assert (len(claims.rows), claims.weak, [row.item_id for row in claims.unknown]) == (5, 1, ["9"])


def test_a_report_names_titles(folder: Path) -> None:
    report = read_claims(folder, TITLES, "auto", 0).report(TITLES)
    assert report["files"][0] == {"file": "a.txt", "links": 3, "unknown_items": 1}
    assert report["conflicts"][0]["dropped"]["title"] == "Jumanji"
