from kgrec.data.io import read_json, read_parquet
from kgrec.data.schemas import ITEMS, LINKS


def test_links_are_one_to_one_and_most_items_have_one(house) -> None:
    report = house.report("link")
    links = read_parquet(house.path("link", "links.parquet"), LINKS).to_pydict()
    items = read_parquet(house.path("interactions", "items.parquet"), ITEMS)
    assert len(set(links["item_id"])) == len(set(links["entity_id"])) == len(links["item_id"])
    assert report["tables"]["links.parquet"]["rows"] == len(links["item_id"])
    assert 0.9 * len(items) < len(links["item_id"]) <= len(items)
    metrics = read_json(house.path("link", "metrics.json"))
    assert metrics["estimated_precision"] > 0.99
    assert not metrics["refused"]
    assert {path.name for path in house.path("link", "plots").iterdir()} == {"scores.csv", "scores.png"}


def test_evidence_links_what_the_link_file_forgot(house) -> None:
    """The demo's link file leaves items out; names, years and people in the dump tell most of them."""
    methods = read_parquet(house.path("link", "links.parquet"), LINKS)["method"].to_pylist()
    assert set(methods) == {"kb4rec", "evidence"}
    unlinked = read_parquet(house.path("link", "unlinked.parquet"))
    assert unlinked.num_rows == house.report("link")["metrics"]["items"] - len(methods)
    assert all(unlinked["reason"].to_pylist())
