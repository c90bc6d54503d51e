"""Settings: typed, frozen, and strict about names, so that a misspelt key is an error and never a default."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from kgrec.errors import ConfigError


class Settings(BaseModel):
    """Base of every settings class. A settings class stands beside the function it sets."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


S = TypeVar("S", bound=Settings)


def parse_settings(cls: type[S], values: Mapping[str, Any], *, place: str = "params.yaml") -> S:
    """Validate ``values`` as ``cls``.

    :param place: what the error names as the origin of the values
    :raises ConfigError: with one line per problem; a misspelt key comes with the nearest right one
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            location = [str(part) for part in problem["loc"]]
            key = ".".join(location)
            if problem["type"] == "extra_forbidden":
                known = _fields_at(cls, location[:-1])
                near = get_close_matches(location[-1], known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
                lines.append(f"{place}: unknown key {key!r}; {hint}")
            else:
                lines.append(f"{place}: {key}: {problem['msg']} (got {problem['input']!r})")
        raise ConfigError("\n".join(lines)) from None


def _fields_at(cls: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the fields of the settings classes reached from ``cls`` along ``location``: through lists and mappings too,
    and through unions, where a tag (a value of a ``Literal`` field) may say which member is meant."""
    reached = [cls]
    for part in location:
        if inner := [
            model for one in reached if part in one.model_fields for model in _models(one.model_fields[part].annotation)
        ]:
            reached = inner
        elif any(part in one.model_fields for one in reached):
            return []
        else:  # an index, a key, or a tag
            reached = [
                one for one in reached if any(part in get_args(f.annotation) for f in one.model_fields.values())
            ] or reached
    return sorted({name for one in reached for name in one.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
