import numpy as np

from kgrec.kg.filters import core, matches


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
