from kgrec.data.io import read_parquet
from kgrec.serving.evaluation_file import read_evaluation


def test_all_models_are_ranked_for_all_test_users(house) -> None:
    house.report("evaluate")
    results = read_evaluation(house.path("evaluate"))
    assert {"multi_kg4rec", "kgat", "ease", "popularity"} <= set(results.models)
    for model in results.models:
        assert 0 < results.numbers(model)["Recall@20"] <= 1
    test_users = set(read_parquet(house.path("split", "test.parquet"))["user_id"].to_pylist())
    scored = read_parquet(house.path("evaluate", "users.parquet"))
    assert set(scored["user_id"].to_pylist()) == test_users
