from typing import Any

import duckdb
import numpy as np

from kgrec.kg.filters import core, drop_voted, dropped, filter_triples, matches, refused
from kgrec.kg.quality_tables import DROPPED
from kgrec.kg.relations import LEAKS, VOTED_AWARDS


def test_patterns_are_globs() -> None:
    assert matches("film.film.genre", ["film.*"])
    assert matches("film.film.budget..measurement_unit.dated_money_value.currency", ["*measurement_unit*"])
    assert not matches("Film.film.genre", ["film.*"])
    assert not matches("metadata.genre", [])


def test_core_repeats_until_nothing_changes() -> None:
    # 0 and 1 are items; dropping relation 1 makes entity 3 rare, whose triple was the second of entity 4
    heads, tails = np.array([0, 1, 0, 1, 3]), np.array([2, 2, 4, 3, 4])
    relations = np.array([0, 0, 0, 1, 0])
    items = np.array([True, True, False, False, False])
    keep = core(heads, relations, tails, items, min_entity=2, min_relation=2)
    assert keep.tolist() == [True, True, False, False, False]


def test_items_are_never_rare() -> None:
    one = np.array([0])
    keep = core(one, one, np.array([1]), np.array([True, True]), min_entity=5, min_relation=1)
    assert keep.tolist() == [True]


def test_core_of_nothing() -> None:
    none = np.array([], dtype=np.int64)
    assert core(none, none, none, np.array([], dtype=bool), 2, 2).tolist() == []


def test_what_is_refused_has_a_pattern_and_a_reason() -> None:
    table = refused(
        {"b.y": 2, "a.x": 3, "film.similar": 1, "c.z": 4}, ["a.*", "film.*", "b.*"], {"b.*": "money", "default": ""}
    )
    assert table.schema == DROPPED
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("b.y", 2, "b.*", "money"),
        ("c.z", 4, "", "fits no pattern of kg.relations_allow"),
        ("film.similar", 1, "*similar*", LEAKS["*similar*"]),
    ]


def test_the_filter_keeps_what_it_dropped() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE items AS SELECT 'm.1' AS node")
        connection.execute("CREATE TABLE mirrors(r1 VARCHAR, r2 VARCHAR)")
        connection.execute(
            "CREATE TABLE raw AS SELECT * FROM (VALUES ('m.1', 'x.genre', 'm.g', 'rdf'), ('m.1', 'x.similar', 'm.2', 'rdf'), "
            "('m.1', 'x.similar', 'm.3', 'rdf')) v(h, r, t, source)"
        )
        assert dropped(connection).num_rows == 0
        funnel = filter_triples(connection, ["*"], ["leaks"], 1, 1)
        assert (funnel["relations_not_wanted"], funnel["triples"]) == (2, 1)
        assert dropped(connection).to_pylist() == [
            {"relation": "x.similar", "facts": 2, "pattern": "*similar*", "reason": LEAKS["*similar*"]}
        ]


def gathered(connection: duckdb.DuckDBPyConnection) -> None:
    """Two nominations of film m.1: by a jury, for m.jury, and by viewers, for m.voters; a third without a name."""
    tables = {
        "items(node)": [("m.1",), ("m.2",)],
        "near(s, p, o, copies)": [
            ("m.1", "nominations", "m.n1", 1), ("m.1", "nominations", "m.n2", 1), ("m.1", "nominations", "m.n3", 1),
            ("m.1", "won", "m.voters", 1), ("m.1", "directed_by", "m.d", 1),
        ],
        "star(s, p, o, copies)": [
            ("m.1", "nominations", "m.n1", 1), ("m.n1", "award", "m.jury", 1), ("m.n1", "nominee", "m.a", 1),
            ("m.1", "nominations", "m.n2", 1), ("m.n2", "award", "m.voters", 1), ("m.n2", "nominee", "m.b", 1),
            ("m.1", "nominations", "m.n3", 1), ("m.n3", "award", "m.who", 1),
        ],
        "mediators(node)": [("m.n1",), ("m.n2",), ("m.n3",)],
        "labels(s, kind, o)": [
            ("m.jury", "name", '"Academy Award for Best Kiss"@en'), ("m.voters", "name", '"Premio MTV"@es'),
            ("m.voters", "name", '"1996 MTV Movie Awards"@en'), ("m.2", "name", '"People\\u2019s Choice"@en'),
            ("m.d", "description", '"won the audience award"@en'),
        ],
        "given(node, name, type)": [("m.peoples", "People’s Choice Award", "award")],
        "raw(h, r, t, source)": [("m.2", "kgat.award", "m.peoples", "kgat"), ("m.2", "kgat.actor", "m.a", "kgat")],
    }  # fmt: skip
    for head, rows in tables.items():
        values = ", ".join(sql(row) for row in rows)
        name, columns = head.rstrip(")").split("(")
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM (VALUES {values}) v({columns})")


def sql(row: tuple[Any, ...]) -> str:
    return "(" + ", ".join("'" + str(one).replace("'", "''") + "'" for one in row) + ")"


def test_voted_awards_go_with_their_nominations() -> None:
    with duckdb.connect() as connection:
        gathered(connection)
        assert drop_voted(connection, VOTED_AWARDS) == {"voted_awards": 2, "voted_facts": 5}
        left = {row[:3] for table in ("near", "star", "raw") for row in connection.execute(f"FROM {table}").fetchall()}
        assert left == {
            ("m.1", "nominations", "m.n1"), ("m.n1", "award", "m.jury"), ("m.n1", "nominee", "m.a"),
            ("m.1", "nominations", "m.n3"), ("m.n3", "award", "m.who"),
            ("m.1", "directed_by", "m.d"), ("m.2", "kgat.actor", "m.a"),
        }  # fmt: skip
        noted = {(row["relation"], row["facts"], row["pattern"]) for row in dropped(connection).to_pylist()}
        assert noted == {
            ("nominations", 1, "*mtv movie award*"), ("award", 1, "*mtv movie award*"), ("nominee", 1, "*mtv movie award*"),
            ("won", 1, "*mtv movie award*"), ("kgat.award", 1, "*people's choice*"),
        }  # fmt: skip
        assert "viewers of MTV" in dropped(connection)["reason"].to_pylist()[0]
