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


def test_the_relations_are_reported_on(house) -> None:
    report = house.report("kg")
    quality = house.path("kg", "quality")
    relations = read_parquet(quality / "relations.parquet")
    assert relations.num_rows == report["metrics"]["relations"]
    assert {"relations.csv", "quality.json", "hubs.parquet", "dropped.parquet"} <= {p.name for p in quality.iterdir()}
    assert (quality / "plots" / "relations.png").stat().st_size > 10_000
    assert read_parquet(quality / "dropped.parquet")["reason"].null_count == 0
