from kgrec.data.io import read_parquet
from kgrec.data.schemas import LINKS, TRIPLES


def test_triples_reach_the_linked_items(house) -> None:
    report = house.report("kg")
    triples = read_parquet(house.path("kg", "triples.parquet"), TRIPLES)
    links = read_parquet(house.path("link", "links.parquet"), LINKS)
    linked = set(links["entity_id"].to_pylist())
    assert len(linked & set(triples["head"].to_pylist())) > 0.9 * len(linked)
    relations = set(triples["relation"].to_pylist())
    assert report["tables"]["relations.parquet"]["rows"] == len(relations)
    assert {"metadata.director", "metadata.genre"} <= relations
