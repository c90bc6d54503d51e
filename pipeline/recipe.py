"""A recipe is a parameters file kept under a name: which data, from where, and how it is treated.

Its ``fetch.sources`` name the published files by URL. A recipe may hold a block ``local`` beside its sections: the same
sources as paths inside a folder of one's own copies. The block never reaches params.yaml; when a folder is given,
``write_params`` puts it in the place of ``fetch.sources``.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from ruamel.yaml import YAML

from kgrec.data.io import atomic_file
from kgrec.errors import ConfigError
from pipeline.layout import PARAMS, RECIPES
from pipeline.params import load_params


def recipe_names() -> list[str]:
    """Names of the recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def write_params(name: str, data: Path | None = None, out: Path = PARAMS) -> None:
    """Write the parameters file of a recipe, comments included.

    :param data: folder of local copies, laid out as the recipe's block ``local`` says; without it the URLs stand
    :raises ConfigError: if there is no such recipe, it has no local form, or ``data`` lacks a file; nothing is written
    """
    path = RECIPES / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(recipe_names())}")
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    recipe = yaml.load(path.read_text(encoding="utf-8"))
    local = recipe.pop("local", None)
    if data is not None:
        if local is None:
            raise ConfigError(f"recipe {name!r} takes no --data: it has no block `local` ({path})")
        wanted = [source["path"] for sources in local.values() for source in sources or ()]
        if missing := [file for file in wanted if not (data / file).exists()]:
            raise ConfigError(f"{data}: lacks {', '.join(missing)}, which recipe {name!r} reads; copy them there")
        recipe["fetch"]["root"] = os.path.normpath(data)
        recipe["fetch"]["sources"] = local
    text = io.StringIO()
    yaml.dump(recipe, text)
    with atomic_file(out) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
        load_params(temporary)
