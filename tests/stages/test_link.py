from kgrec.data.io import read_parquet
from kgrec.data.schemas import ITEMS, LINKS


def test_links_are_one_to_one_and_most_items_have_one(house) -> None:
    report = house.report("link")
    links = read_parquet(house.path("link", "links.parquet"), LINKS).to_pydict()
    items = read_parquet(house.path("interactions", "items.parquet"), ITEMS)
    assert len(set(links["item_id"])) == len(set(links["entity_id"])) == len(links["item_id"])
    assert report["tables"]["links.parquet"]["rows"] == len(links["item_id"])
    assert 0.8 * len(items) < len(links["item_id"]) < len(items)
    assert house.path("link", "audit.json").exists()
