"""Writing the report: gather what the stages left, draw it, and put all into one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import atomic_file
from kgrec.errors import DataError
from kgrec.serving.evaluation_file import describe, label, longest, read_evaluation
from kgrec.serving.recommender import load
from kgrec.serving.report.graph import FIRST, graph_view
from kgrec.serving.report.people import choose_people, strip
from kgrec.serving.report.posters import thumbnails
from kgrec.serving.report.results import comparisons, group_charts, learning_curves, metric_table, model_order
from kgrec.serving.report.stages import stage_rows


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
    quality: Path | None = None,
) -> dict[str, Any]:
    """Write the page ``out``.

    :param reports: ``report.json`` of the stages, in the order of the pipeline
    :param media: folder of the media stage, for posters
    :param split: folder of ``train.parquet``, ``valid.parquet`` and ``test.parquet``
    :param training: folder with one folder per model, each with ``history.csv`` and ``config.json``
    :param evaluation: folder of ``metrics.json``, ``significance.json`` and ``plots/groups.csv``
    :param model: the published model folder whose lists are shown
    :param out: the HTML file to write, ``report.html`` in the stage's folder
    :param quality: the relation report of the kg stage; without it the page has no section on the graph
    :return: counts for the stage's report
    :raises DataError: if an input is missing or damaged
    :raises CheckpointError: if the model folder is
    """
    media, split, training, evaluation, out = map(Path, (media, split, training, evaluation, out))
    published = load(model)
    name = str(published.config["model"])
    results = read_evaluation(evaluation)
    if name not in results.models:
        raise DataError(f"has no numbers of the published model {name!r}; run evaluate again", path=evaluation)
    stages = stage_rows(reports)

    names = results.metrics()
    shown = longest(names)
    lead = shown[0]
    order = model_order(results, lead)
    colours = {one: place for place, one in enumerate([name, *(one for one in order if one != name)])}
    tests, test_chart = comparisons(evaluation, name, lead)
    curves, closed = learning_curves(training, [name, *(one for one in order if one != name)])

    people = choose_people(split, published, settings.users, settings.k)
    wanted = {item for person in people for item in (*person.history, *person.recommended)}
    images = thumbnails(media / "images", wanted, settings.poster_width)
    strips = [
        {
            "person": person,
            "history": strip(person.history, published, images, frozenset()),
            "recommended": strip(person.recommended, published, images, person.hits),
            "found": len(person.hits & set(person.recommended)),
        }
        for person in people
    ]
    page = _template().render(
        settings=settings, config=published.config, name=name, lead=lead, colours=colours,
        protocol=describe(results.protocol),
        rows=metric_table(results, order, shown), names=shown,
        all_rows=metric_table(results, order, names), all_names=names,
        tests=tests, test_chart=test_chart,
        groups=group_charts(evaluation, lead, lead.partition("@")[2], colours),
        curves=curves, closed=closed, stages=stages, people=strips, poster_width=settings.poster_width,
        graph=graph_view(quality) if quality is not None else None, first_relations=FIRST,
        facts=_facts(stages, published.config, results.numbers(name), lead),
    )  # fmt: skip
    with atomic_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return {
        "model": name,
        "models": len(order),
        "stages": len(stages),
        "users_shown": len(people),
        "posters_shown": len(images),
        "posters_missing": len(wanted) - len(images),
        "hits_shown": sum(one["found"] for one in strips),
    }


def _template() -> jinja2.Template:
    here = files("kgrec.serving.report")

    def read(name: str) -> str:
        return here.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["label"] = label
    environment.globals["style"] = Markup(environment.from_string(read("style.css.j2")).render())
    return environment.from_string(read("page.html.j2"))


def _facts(
    stages: Sequence[Any], config: dict[str, Any], numbers: dict[str, float], lead: str
) -> list[tuple[str, str]]:
    """The figures at the head of the page."""
    said = {row.stage: row.metrics for row in stages}
    facts = [("users", f"{config['users']:,}"), ("items", f"{config['items']:,}")]
    for stage, key, name in (("split", "interactions", "interactions"), ("graph", "triples", "facts in the graph")):
        if isinstance(said.get(stage, {}).get(key), int):
            facts.append((name, f"{said[stage][key]:,}"))
    return [*facts, (f"{lead} on test", f"{numbers[lead]:.4f}")]
