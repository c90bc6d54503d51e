from kgrec.data.io import read_parquet
from kgrec.data.schemas import INTERACTIONS


def test_parts_are_disjoint_and_about_8_1_1(house) -> None:
    report = house.report("split")
    parts = {}
    for name in ("train", "valid", "test"):
        table = read_parquet(house.path("split", f"{name}.parquet"), INTERACTIONS)
        parts[name] = set(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))
        assert report["tables"][f"{name}.parquet"]["rows"] == len(parts[name]) > 0
    assert not parts["train"] & parts["valid"]
    assert not (parts["train"] | parts["valid"]) & parts["test"]
    total = sum(map(len, parts.values()))
    assert 0.75 < len(parts["train"]) / total < 0.87
