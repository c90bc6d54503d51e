from pathlib import Path

import pytest

from kgrec.errors import ConfigError
from pipeline.layout import RECIPES
from pipeline.params import load_params
from pipeline.recipe import recipe_names, write_params


def test_recipes_there_are() -> None:
    assert recipe_names() == ["amazon-books", "demo", "ml-1m"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str, tmp_path: Path) -> None:
    write_params(name, out=tmp_path / "params.yaml")
    params = load_params(tmp_path / "params.yaml")
    assert params.fetch.recipe == name
    assert params.fetch.root == f"pipeline/recipes/{name}.yaml"
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert "local:" not in text


def test_comments_survive(tmp_path: Path) -> None:
    write_params("demo", out=tmp_path / "params.yaml")
    comments = [line for line in (RECIPES / "demo.yaml").read_text(encoding="utf-8").splitlines() if "#" in line]
    assert len(comments) > 10
    written = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert all(line.split("#", 1)[1] in written for line in comments)


def test_data_folder_takes_the_place_of_urls(tmp_path: Path, real_data: Path) -> None:
    write_params("ml-1m", real_data, out=tmp_path / "params.yaml")
    fetch = load_params(tmp_path / "params.yaml").fetch
    assert Path(fetch.root) == real_data
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert "https://" not in text.split("interactions:")[0].split("sources:")[1]


def test_missing_copies_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks ml-1m/ml-1m.zip, .*which recipe 'ml-1m' reads"):
        write_params("ml-1m", tmp_path, out=tmp_path / "params.yaml")
    assert list(tmp_path.iterdir()) == []


def test_unknown_recipe_and_demo_with_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe 'ml-2m'; there are amazon-books, demo, ml-1m"):
        write_params("ml-2m", out=tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="takes no --data"):
        write_params("demo", tmp_path, out=tmp_path / "params.yaml")
