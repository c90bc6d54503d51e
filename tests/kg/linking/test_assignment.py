import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from kgrec.kg.linking.assignment import REASONS, AssignmentSettings, assign
from kgrec.kg.linking.evidence import as_score

Pairs = dict[tuple[str, str], float]


def outcomes(pairs: Pairs, **settings: float) -> dict[tuple[str, str], str]:
    table = pa.table(
        {
            "item_id": pa.array([item for item, _ in pairs], pa.string()),
            "entity_id": pa.array([entity for _, entity in pairs], pa.string()),
            "score": pa.array([as_score(evidence) for evidence in pairs.values()], pa.float64()),
            "evidence": pa.array(pairs.values(), pa.float64()),
        }
    )
    return dict(zip(pairs, assign(table, AssignmentSettings(**settings))["outcome"].to_pylist(), strict=True))


def links(pairs: Pairs, **settings: float) -> dict[str, str]:
    return {item: entity for (item, entity), outcome in outcomes(pairs, **settings).items() if outcome == "link"}


def test_the_best_wins_and_the_others_are_beaten() -> None:
    assert outcomes({("1", "a"): 5, ("1", "b"): 2, ("1", "c"): -9}) == {
        ("1", "a"): "link", ("1", "b"): "beaten", ("1", "c"): "beaten",
    }  # fmt: skip


def test_a_score_below_the_threshold_is_no_link() -> None:
    assert outcomes({("1", "a"): -0.01, ("2", "b"): 0.0}) == {("1", "a"): "below_min_score", ("2", "b"): "link"}
    assert links({("1", "a"): 1.0}, min_score=0.9) == {}
    assert links({("1", "a"): -50.0}, min_score=0) == {"1": "a"}


def test_ties_are_refused() -> None:
    assert set(outcomes({("1", "a"): 5, ("1", "b"): 4.1}).values()) == {"tie_of_entities"}
    assert set(outcomes({("1", "a"): 5, ("2", "a"): 4.1}).values()) == {"tie_of_items"}
    assert set(outcomes({("1", "a"): 5, ("1", "b"): 5}, margin=0).values()) == {"tie_of_entities"}
    assert links({("1", "a"): 5, ("1", "b"): 4}) == {"1": "a"}


def test_a_candidate_below_the_threshold_can_tie() -> None:
    assert outcomes({("1", "a"): 0.1, ("1", "b"): -0.1}) == {
        ("1", "a"): "tie_of_entities",
        ("1", "b"): "below_min_score",
    }


def test_what_another_item_takes_settles_a_tie() -> None:
    pairs = {("1", "a"): 5.0, ("1", "b"): 5.0, ("2", "a"): 9.0}
    assert outcomes(pairs) == {("1", "a"): "beaten", ("1", "b"): "link", ("2", "a"): "link"}


def test_an_entity_goes_to_the_item_it_fits_better() -> None:
    pairs = {("1", "a"): 5.0, ("2", "a"): 9.0}
    assert outcomes(pairs) == {("1", "a"): "entity_taken", ("2", "a"): "link"}


def test_no_pairs() -> None:
    assert outcomes({}) == {}


_pairs = st.dictionaries(
    st.tuples(st.sampled_from("12345"), st.sampled_from("abcde")), st.floats(-10, 10, allow_nan=False), max_size=25
)


@given(_pairs, st.floats(0.01, 3))
def test_links_are_one_to_one_and_beat_what_is_left(pairs: Pairs, margin: float) -> None:
    found = outcomes(pairs, margin=margin)
    assert set(found.values()) <= {"link", "beaten", *REASONS}
    linked = links(pairs, margin=margin)
    assert len(set(linked.values())) == len(linked)
    taken = set(linked.values())
    for (item, entity), evidence in pairs.items():
        if item in linked and entity not in taken:
            assert pairs[item, linked[item]] - evidence >= margin
        if item not in linked and entity in taken:
            [holder] = [one for one, other in linked.items() if other == entity]
            assert pairs[holder, entity] - evidence >= margin
        if item not in linked and entity not in taken and evidence >= 0:
            assert found[item, entity] in ("tie_of_entities", "tie_of_items")


@given(_pairs)
def test_without_ties_it_is_the_best_assignment_of_a_dominant_matrix(pairs: Pairs) -> None:
    # where every item's own entity beats all else by far, taking the clear ones is the optimum
    names = "12345"
    clear = {**pairs, **{(item, "abcde"[at]): 100.0 + 10 * at for at, item in enumerate(names)}}
    matrix = [[clear.get((item, entity), 0.0) for entity in "abcde"] for item in names]
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    assert links(clear) == {names[row]: "abcde"[column] for row, column in zip(rows, columns, strict=True)}


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_pairs_does_not_matter(order: int) -> None:
    pairs = {("1", "a"): 5.0, ("1", "b"): 5.0, ("2", "a"): 9.0, ("3", "c"): 1.0}
    assert links(dict(list(pairs.items())[::order])) == {"1": "b", "2": "a", "3": "c"}
