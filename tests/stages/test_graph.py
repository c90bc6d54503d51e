from kgrec.data.io import read_parquet
from kgrec.graphs.data import load_graph


def test_graph_holds_train_edges_only(house) -> None:
    house.report("graph")
    data = load_graph(house.path("graph"))
    train = read_parquet(house.path("split", "train.parquet"))
    assert len(data.train_users) == len(train)
    assert set(data.modalities) == {"image", "text"}
    assert int((data.rels == 0).sum()) == len(train)
