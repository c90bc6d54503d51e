from pathlib import Path

import pyarrow.csv as pcsv
import pytest

from kgrec.kg.filters import matches
from kgrec.kg.readers import read_recbole_kg
from kgrec.kg.relations import BOOKKEEPING, DENIED, INVERSES, LEAKS, VOTED_AWARDS, spell_out

#: in the sample of the real dump: all that is known from users' behaviour
LEAKING = {
    "media_common.netflix_genre.titles",
    "award.ranking.list",
    "award.ranked_item.appears_in_ranked_lists",
}


def test_a_relation_has_one_inverse() -> None:
    names = [name for pair in INVERSES for name in pair]
    assert len(names) == len(set(names))


def test_bookkeeping_and_leaks_are_denied_and_facts_are_not() -> None:
    for name in (
        "type.object.type",
        "common.topic.webpage",
        "media_common.netflix_genre.titles",
        "film.film.similar_to",
        "film.film.gross_revenue..measurement_unit.dated_money_value.currency",
        "~award.ranking.item..award.ranking.list",
        "wdt:P444",
    ):
        assert matches(name, DENIED), name
    for name in (
        "film.film.genre",
        "film.film.rating",  # what age it is for, not how much it pleased
        "film.film.starring..film.performance.actor",
        "award.award_winning_work.awards_won..award.award_honor.award",  # juries' too: told apart by name
        "metadata.genre",
        "starred_by_actor",
        "wdt:P57",
        "wdt:P4441",
    ):
        assert not matches(name, DENIED), name
    assert not any(matches(name, DENIED) for pair in INVERSES for name in pair)


def test_every_pattern_has_a_reason() -> None:
    for patterns in (BOOKKEEPING, LEAKS, VOTED_AWARDS):
        assert all(len(reason) > 5 for reason in patterns.values())
    assert not BOOKKEEPING.keys() & LEAKS.keys()
    assert all(pattern == pattern.lower() for pattern in VOTED_AWARDS)


def test_groups_are_spelt_out_with_their_reasons() -> None:
    assert spell_out(["default"]) == DENIED
    assert spell_out(["leaks", "x.*"]) == LEAKS | {"x.*": "named in kg.relations_deny"}
    said = spell_out({"bookkeeping": "this is not what counts", "x.*": "money", "*similar*": "mine"})
    assert said == BOOKKEEPING | {"x.*": "money", "*similar*": LEAKS["*similar*"]}


def test_known_inverses_hold_on_published_triples(real_data: Path) -> None:
    """In RecBole's file, which stores both directions, each known pair it has mirrors itself exactly."""
    facts: dict[str, set[tuple[str, str]]] = {}
    for head, relation, tail in read_recbole_kg(real_data / "recbole" / "films.kg"):
        facts.setdefault(relation, set()).add((head, tail))
    both = [(a, b) for a, b in INVERSES if a in facts and b in facts]
    assert len(both) >= 8
    for left, right in both:
        assert facts[left] == {(tail, head) for head, tail in facts[right]}, (left, right)


def test_what_of_the_real_dump_leaks(real_data: Path) -> None:
    """Of the hundreds of predicates of the sample exactly these leak, and of the legitimate ones none is denied."""
    names = predicates(real_data / "freebase" / "freebase-film-rdf.gz")
    assert len(names) > 300
    assert {name for name in names if matches(name, LEAKS)} == LEAKING
    denied = {name for name in names if matches(name, DENIED)}
    for domain in ("film.", "tv.", "people.", "music.", "location.", "organization.", "influence."):
        about = {name for name in names if name.startswith(domain)}
        assert about
        assert not about & denied
    assert {"film.film.genre", "film.film.directed_by", "film.film.rating", "award.award_honor.award"} <= names - denied


@pytest.mark.parametrize("name", ["amazon-book/relation_list.txt", "dbpedia-ml-1m/r_map.txt"])
def test_nothing_of_published_graphs_leaks(real_data: Path, name: str) -> None:
    lines = (real_data / name).read_text(encoding="utf-8").splitlines()[1:]
    relations = [word.removeprefix("http://rdf.freebase.com/ns/") for line in lines for word in line.split()]
    assert len(relations) > 20
    assert [relation for relation in relations if matches(relation, LEAKS)] == []


def predicates(dump: Path) -> set[str]:
    """Distinct predicates of a dump, spelt as the graph spells them."""
    table = pcsv.read_csv(
        dump,
        read_options=pcsv.ReadOptions(column_names=["s", "p", "o", "end"]),
        parse_options=pcsv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pcsv.ConvertOptions(include_columns=["p"]),
    )
    return {p.strip("<>").removeprefix("http://rdf.freebase.com/ns/") for p in table["p"].unique().to_pylist()}
