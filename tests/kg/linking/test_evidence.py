import math
from typing import Any

import pyarrow as pa
import pytest

from kgrec.data.schemas import ITEMS
from kgrec.errors import DataError
from kgrec.kg.linking.evidence import PARTS, SCORED, EvidenceSettings, score_pairs
from kgrec.kg.profiles import PROFILES


def table(schema: pa.Schema, *rows: dict[str, Any]) -> pa.Table:
    empty: dict[str, Any] = {one.name: [] if pa.types.is_list(one.type) else None for one in schema}
    return pa.Table.from_pylist([empty | row for row in rows], schema=schema)


def scored(item: dict[str, Any], entity: dict[str, Any], extra: dict[str, Any] | None = None, **settings: Any) -> Any:
    items, profiles = table(ITEMS, {"item_id": "1", **item}), table(PROFILES, {"entity_id": "m.a", **entity})
    for name, value in (extra or {}).items():
        items = items.append_column(name, pa.array([value]))
    pairs = pa.table({"item_id": items["item_id"], "entity_id": ["m.a"]})
    found = score_pairs(items, profiles, pairs, EvidenceSettings(**settings))
    assert found.schema == SCORED
    return found.to_pylist()[0]


def test_nothing_known_is_no_evidence() -> None:
    row = scored({}, {})
    assert [row[part] for part in PARTS] == [None] * len(PARTS)
    assert row["evidence"] == EvidenceSettings().prior


def test_the_score_is_the_logistic_of_the_sum_of_weights() -> None:
    row = scored(
        {"title": "Heat", "year": 1995, "director": ["Michael Mann"], "actor": ["Al Pacino", "Robert De Niro"]},
        {
            "names": ["Heat", "热"], "years": [1996], "director": ["Michael Mann"], "actor": ["Al Pacino", "Jon Voight"],
            "types": ["film.film"], "degree": 30,
        },
        types=("film.film",), prior=-4, title=(-8, 4), year=(-4, 2.5), creators=(-3, 4), cast=(-2.5, 3.5), type=(-4, 0.5),
        popularity=(-0.25, 0.25),
    )  # fmt: skip
    popularity = math.log(31) / math.log(1001)
    assert [row[part] for part in PARTS] == pytest.approx([0.85, 0.75, None, 1, math.sqrt(0.5), 1, popularity])
    evidence = (
        -4 + (-8 + 12 * 0.85) + (-4 + 6.5 * 0.75) + 4 + (-2.5 + 6 * math.sqrt(0.5)) + 0.5 + (-0.25 + 0.5 * popularity)
    )
    assert row["evidence"] == pytest.approx(evidence)
    assert row["score"] == pytest.approx(1 / (1 + math.exp(-evidence)))


@pytest.mark.parametrize(("years", "agreement"), [([1995], 1), ([1993], 0.5), ([1991], 0), ([1950, 1996], 0.75)])
def test_years(years: list[int], agreement: float) -> None:
    assert scored({"year": 1995}, {"years": years})["year"] == pytest.approx(agreement)


def test_an_edition_may_be_later_than_the_work() -> None:
    assert scored({"year": 2005}, {"years": [1965]}, editions=True)["year"] is None
    assert scored({"year": 1966}, {"years": [1965]}, editions=True)["year"] == 0.75
    assert scored({"year": 1925}, {"years": [1965]}, editions=True)["year"] == 0


def test_ids() -> None:
    film = {"imdb_id": "tt0114709"}
    assert scored(film, {"imdb_id": ["114709"]})["ids"] == 1
    assert scored(film, {"imdb_id": ["tt0000001"]})["ids"] == 0
    assert scored(film, {"tmdb_id": ["862"]})["ids"] is None
    assert scored({}, {"tmdb_id": ["862"]}, {"tmdb_id": "862"})["ids"] == 1
    # a work has many ISBNs: another one is no contradiction
    assert scored({}, {"isbn": ["9780306406157"]}, {"isbn": ["0306406152"]})["ids"] == 1
    assert scored({}, {"isbn": ["9780804429573"]}, {"isbn": ["0306406152"]})["ids"] is None


def test_a_catalogue_keyed_by_isbn() -> None:
    assert scored({"item_id": "0306406152"}, {"isbn": ["9780306406157"]})["ids"] == 1
    assert scored({"item_id": "0306406152"}, {"isbn": ["9780306406157"]}, item_ids="none")["ids"] is None


def test_a_pair_of_an_unknown_entity_is_an_error() -> None:
    pairs = pa.table({"item_id": ["1"], "entity_id": ["m.z"]})
    with pytest.raises(DataError, match=r"'m\.z', which the profiles lack"):
        score_pairs(table(ITEMS, {"item_id": "1"}), table(PROFILES, {"entity_id": "m.a"}), pairs, EvidenceSettings())
