from kgrec.data.io import read_parquet
from kgrec.data.schemas import features


def test_a_vector_per_picture_and_text(house) -> None:
    media = house.report("media")["tables"]
    report = house.report("features")
    image = read_parquet(house.path("features", "vectors") / "image.parquet", features(1280))
    text = read_parquet(house.path("features", "vectors") / "text.parquet", features(384))
    assert len(image) == media["images"]["rows"]
    assert len(text) == media["texts.parquet"]["rows"]
    assert report["tables"]["vectors/image.parquet"]["columns"]["vector"]["nulls"] == 0
