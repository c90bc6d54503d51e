from kgrec.data.io import read_parquet
from kgrec.data.schemas import INTERACTIONS, ITEMS


def test_tables_and_report_agree(house) -> None:
    report = house.report("interactions")
    interactions = read_parquet(house.path("interactions", "interactions.parquet"), INTERACTIONS)
    items = read_parquet(house.path("interactions", "items.parquet"), ITEMS)
    assert report["tables"]["interactions.parquet"]["rows"] == len(interactions) > 500
    assert set(interactions["item_id"].to_pylist()) <= set(items["item_id"].to_pylist())
    assert min(interactions["rating"].to_pylist()) >= 3
