from pathlib import Path

from kgrec.kg.filters import matches
from kgrec.kg.readers import read_recbole_kg
from kgrec.kg.relations import DENIED, INVERSES


def test_a_relation_has_one_inverse() -> None:
    names = [name for pair in INVERSES for name in pair]
    assert len(names) == len(set(names))


def test_bookkeeping_is_denied_and_facts_are_not() -> None:
    for name in (
        "type.object.type",
        "common.topic.webpage",
        "media_common.netflix_genre.titles",
        "film.film.similar_to",
    ):
        assert matches(name, DENIED), name
    for name in ("film.film.genre", "film.film.starring..film.performance.actor", "metadata.genre", "starred_by_actor"):
        assert not matches(name, DENIED), name
    assert not any(matches(name, DENIED) for pair in INVERSES for name in pair)


def test_known_inverses_hold_on_published_triples(real_data: Path) -> None:
    """In RecBole's file, which stores both directions, each known pair it has mirrors itself exactly."""
    facts: dict[str, set[tuple[str, str]]] = {}
    for head, relation, tail in read_recbole_kg(real_data / "recbole" / "films.kg"):
        facts.setdefault(relation, set()).add((head, tail))
    both = [(a, b) for a, b in INVERSES if a in facts and b in facts]
    assert len(both) >= 8
    for left, right in both:
        assert facts[left] == {(tail, head) for head, tail in facts[right]}, (left, right)
