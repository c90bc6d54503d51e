"""Settings are strict about names, and say the nearest right one."""

from __future__ import annotations

import pytest
from pydantic import Field

from kgrec.config import Settings, parse_settings
from kgrec.errors import ConfigError, KgrecError


class Inner(Settings):
    rate: float = Field(default=0.1, gt=0)
    """Units per second."""


class Outer(Settings):
    steps: int = 3
    """How many."""
    inner: Inner = Inner()
    """More."""


def test_defaults_and_values() -> None:
    assert parse_settings(Outer, {"inner": {"rate": 2}}).inner.rate == 2
    assert parse_settings(Outer, {}).steps == 3


def test_settings_are_frozen_and_documented() -> None:
    settings = Outer()
    with pytest.raises(ValueError, match="frozen"):
        settings.steps = 4
    assert Outer.model_fields["steps"].description == "How many."


def test_misspelt_key_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'stepps'; did you mean 'steps'\?"):
        parse_settings(Outer, {"stepps": 1}, place="run.yaml")
    with pytest.raises(ConfigError, match=r"unknown key 'inner\.rat'; did you mean 'rate'\?"):
        parse_settings(Outer, {"inner": {"rat": 1}})
    with pytest.raises(ConfigError, match=r"unknown key 'zzz'; known keys: inner, steps"):
        parse_settings(Outer, {"zzz": 1})


def test_every_problem_is_said_with_its_value() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(Outer, {"steps": "many", "inner": {"rate": 0}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("params.yaml: steps:")
    assert "'many'" in lines[0]
    assert lines[1].startswith("params.yaml: inner.rate:")
    assert isinstance(caught.value, KgrecError)


def test_misspelt_keys_are_named_inside_lists_and_unions() -> None:
    from kgrec.media.collect import MediaSettings

    with pytest.raises(ConfigError, match=r"unknown key 'sources\.0\.tmdb\.sise'; did you mean 'size'"):
        parse_settings(MediaSettings, {"sources": [{"kind": "tmdb", "sise": "w500"}]})
