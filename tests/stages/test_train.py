import csv

import yaml


def test_every_model_of_the_recipe_is_there_with_curves(house) -> None:
    house.report("train")
    models = house.path("train", "models")
    wanted = yaml.safe_load(house.params.read_text(encoding="utf-8"))["train"]["models"]
    assert sorted(path.name for path in models.iterdir()) == sorted(wanted)
    assert {"multi_kg4rec", "kgat", "ease", "popularity"} <= set(wanted)
    for name in wanted:
        assert (models / name / "model.safetensors").stat().st_size > 0
    with open(models / "multi_kg4rec" / "history.csv", newline="", encoding="utf-8") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    curves = {path.parent.name for path in house.path("train", "live").rglob("*.tsv")}
    assert {"multi_kg4rec", "kgat"} <= curves
