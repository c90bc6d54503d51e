"""Writing the report: gather what the stages left, draw it, and put all into one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kgrec.config import Settings


class ReportSettings(Settings):
    """What the page shows."""

    users: int = Field(default=6, ge=0, le=50)
    """people shown with history and recommendations, spread from the least to the most active"""
    k: int = Field(default=10, ge=1, le=50)
    """length of the lists shown"""
    poster_width: int = Field(default=120, ge=40, le=400)
    """width of posters in pixels"""
    title: str = "Recommendations from a multimodal knowledge graph"
    """heading of the page"""


def write_report(
    reports: Sequence[Path],
    media: Path,
    split: Path,
    training: Path,
    evaluation: Path,
    model: Path,
    out: Path,
    settings: ReportSettings,
) -> dict[str, Any]:
    """Write the page ``out``.

    :param reports: ``report.json`` of the stages, in the order of the pipeline
    :param media: folder of the media stage, for posters
    :param split: folder of ``train.parquet``, ``valid.parquet`` and ``test.parquet``
    :param training: folder with one folder per model, each with ``history.csv``
    :param evaluation: folder of ``metrics.json``
    :param model: the published model folder whose lists are shown
    :param out: the HTML file to write, ``12_report/report.html``
    :return: counts for the stage's report
    :raises DataError: if an input is missing or damaged
    :raises CheckpointError: if the model folder is
    """
    raise NotImplementedError
