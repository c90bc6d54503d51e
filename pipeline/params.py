"""The parameters of one run: a section per stage, each with the settings class that stands beside what it sets."""

from __future__ import annotations

from pathlib import Path

import yaml

from kgrec.config import Settings, parse_settings
from kgrec.data.fetch import FetchSettings
from kgrec.data.interactions import InteractionsSettings
from kgrec.data.split import SplitSettings
from kgrec.errors import ConfigError
from kgrec.evaluation.protocol import EvaluateSettings
from kgrec.features.encode import FeaturesSettings
from kgrec.graphs.build import GraphSettings
from kgrec.kg.build import KGSettings
from kgrec.kg.links import LinkSettings
from kgrec.kg.store import ExtractSettings
from kgrec.media.collect import MediaSettings
from kgrec.serving.publish import PublishSettings
from kgrec.serving.report import ReportSettings
from kgrec.training.run import TrainSettings
from pipeline.layout import PARAMS


class Params(Settings):
    """All sections; the name of a section is the word of its stage."""

    fetch: FetchSettings
    interactions: InteractionsSettings
    extract: ExtractSettings
    link: LinkSettings
    kg: KGSettings
    media: MediaSettings
    features: FeaturesSettings
    split: SplitSettings
    graph: GraphSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    publish: PublishSettings
    report: ReportSettings


def load_params(path: Path | str = PARAMS) -> Params:
    """Read and check a parameters file, all sections at once: a slip in the last is told before the first stage runs.

    :raises ConfigError: if the file is missing, is not YAML, lacks a section, or has a key or value that does not exist
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; write one with `python -m pipeline use demo`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: should hold one section per stage: {', '.join(Params.model_fields)}")
    params = {word: {} if section is None else section for word, section in values.items()}
    if lacking := [word for word in Params.model_fields if word not in params]:
        known = set(params) - set(Params.model_fields)
        hint = f"; it has {', '.join(sorted(known))} that no stage reads" if known else ""
        raise ConfigError(
            f"{path}: lacks the section(s) {', '.join(lacking)}{hint}; compare pipeline/recipes/demo.yaml"
        )
    values = parse_settings(Params, params, place=str(path))
    _check_between_sections(values, path)
    return values


def _check_between_sections(params: Params, path: Path) -> None:
    """What sections owe each other.

    :raises ConfigError: if a section names a model that is not trained
    """
    trained = ", ".join(params.train.models)
    for key, model in (("publish.model", params.publish.model), ("evaluate.baseline", params.evaluate.baseline)):
        if model is not None and model not in params.train.models:
            raise ConfigError(f"{path}: {key} is {model!r}, which train.models does not name; it has {trained}")
