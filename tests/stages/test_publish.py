import kgrec
from kgrec.data.io import read_json


def test_published_model_recommends_and_knows_its_lineage(house) -> None:
    house.report("publish")
    folder = house.path("publish", "model")
    model = kgrec.load(folder)
    assert [len(one) for one in model.recommend(list(model.users[:2]), 5)] == [5, 5]
    assert "SYNTHETIC" in (folder / "README.md").read_text(encoding="utf-8").upper()
    lineage = read_json(folder / "lineage.json")
    assert any(name.startswith("graph/") for name in lineage["inputs"])
    assert not any(name.endswith("report.json") for name in lineage["inputs"])
