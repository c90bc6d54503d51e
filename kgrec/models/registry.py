"""The models by the name a recipe uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgrec.config import parse_settings
from kgrec.errors import ConfigError
from kgrec.graphs.data import GraphData
from kgrec.models.base import Recommender
from kgrec.models.bpr_mf import BPRMF
from kgrec.models.item_similarity import EASE, ItemKNN
from kgrec.models.kgat import KGAT
from kgrec.models.lightgcn import LightGCN
from kgrec.models.multi_kg4rec import MultiKG4Rec
from kgrec.models.popularity import Popularity

MODELS: dict[str, type[Recommender]] = {
    "multi_kg4rec": MultiKG4Rec,
    "kgat": KGAT,
    "lightgcn": LightGCN,
    "bpr_mf": BPRMF,
    "ease": EASE,
    "item_knn": ItemKNN,
    "popularity": Popularity,
}


def model_class(name: str) -> type[Recommender]:
    """The class of a model. :raises ConfigError: with the known names, if there is none of this name"""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; known: {', '.join(sorted(MODELS))}")
    return MODELS[name]


def build_model(
    name: str, data: GraphData, settings: Mapping[str, Any] | None = None, *, place: str = ""
) -> Recommender:
    """A fresh model for ``data``.

    :param settings: keys of the model's settings class
    :raises ConfigError: unknown model or key
    """
    cls = model_class(name)
    return cls(data, parse_settings(cls.Settings, settings or {}, place=place or f"settings of {name}"))
