from pathlib import Path

import pytest
import yaml

from kgrec.errors import ConfigError
from pipeline.layout import RECIPES
from pipeline.params import Params, load_params


@pytest.fixture
def demo() -> dict:
    return yaml.safe_load((RECIPES / "demo.yaml").read_text(encoding="utf-8"))


def write(folder: Path, values: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def test_sections_become_settings(tmp_path: Path, demo: dict) -> None:
    demo["split"]["seed"] = 7
    params = load_params(write(tmp_path, demo))
    assert params.split.seed == 7
    assert type(params.train).__name__ == "TrainSettings"


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [("train", "learning_rte", "learning_rate"), ("split", "ratio", "ratios"), ("kg", "hop", "hops")],
)
def test_misspelt_key_is_named_with_the_right_one(
    tmp_path: Path, demo: dict, section: str, key: str, near: str
) -> None:
    demo[section][key] = 1
    with pytest.raises(ConfigError, match=rf"params.yaml: unknown key '{section}.{key}'; did you mean '{near}'\?"):
        load_params(write(tmp_path, demo))


def test_misspelt_section_is_named(tmp_path: Path, demo: dict) -> None:
    demo["tarin"] = demo.pop("train")
    with pytest.raises(ConfigError, match=r"lacks the section\(s\) train; it has tarin that no stage reads"):
        load_params(write(tmp_path, demo))
    demo["train"] = demo["tarin"]
    with pytest.raises(ConfigError, match=r"unknown key 'tarin'; did you mean 'train'\?"):
        load_params(write(tmp_path, demo))


def test_wrong_value_names_its_key(tmp_path: Path, demo: dict) -> None:
    demo["graph"]["sequence_length"] = "many"
    with pytest.raises(ConfigError, match=r"params.yaml: graph.sequence_length: .*integer.*'many'"):
        load_params(write(tmp_path, demo))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- fetch", "should hold one section per stage"),
        ("", "should hold one section per stage"),
    ],
)
def test_what_is_no_parameters_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(write(tmp_path, text))


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="python -m pipeline use demo"):
        load_params(tmp_path / "params.yaml")


def test_empty_section_takes_defaults(tmp_path: Path, demo: dict) -> None:
    demo["report"] = None
    assert load_params(write(tmp_path, demo)).report == Params.model_fields["report"].annotation()  # type: ignore[misc]
