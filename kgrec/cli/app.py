"""The commands. Each reads its arguments, calls one function, shows what came back; heavy imports wait until then."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import kgrec
from kgrec.cli.audit import audit
from kgrec.cli.common import echo_json, log_to_stderr, section
from kgrec.cli.errors import Commands
from kgrec.cli.extract import extract
from kgrec.cli.features import app as features
from kgrec.cli.kg import app as kg
from kgrec.cli.link import link
from kgrec.cli.media import app as media

app = typer.Typer(
    cls=Commands,
    help="Recommendation over multimodal knowledge graphs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[Path, typer.Option("--model", "-m", help="model folder that publish wrote", show_default=False)]
Length = Annotated[int, typer.Option("-k", min=1, help="length of the list")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table")]
ParamsFile = Annotated[Path, typer.Option(help="YAML file with the section of this command")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kgrec {kgrec.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="show where an error comes from")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version")
    ] = False,
) -> None:
    """Recommendation over multimodal knowledge graphs."""


@app.command()
def recommend(
    model: Model,
    user: Annotated[list[str], typer.Option("--user", "-u", help="user id; may be given again", show_default=False)],
    k: Length = 10,
    seen: Annotated[bool, typer.Option("--seen", help="also list what the user already has")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend items to users: titles with scores, best first."""
    lists = kgrec.load(model).recommend(user, k, exclude_seen=not seen)
    if as_json:
        echo_json(
            [{"user_id": one, "items": [asdict(entry) for entry in row]} for one, row in zip(user, lists, strict=True)]
        )
        return
    from kgrec.cli.show import show_list

    for one, row in zip(user, lists, strict=True):
        show_list(f"user {one}", row)


@app.command()
def similar(
    model: Model,
    item: Annotated[str, typer.Option("--item", "-i", help="item id", show_default=False)],
    k: Length = 10,
    as_json: AsJson = False,
) -> None:
    """List the items most like one item."""
    published = kgrec.load(model)
    row = published.similar(item, k)
    if as_json:
        echo_json({"item_id": item, "title": published.title(item), "items": [asdict(entry) for entry in row]})
        return
    from kgrec.cli.show import show_list

    show_list(f"like {published.title(item)}", row)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="model folder that publish wrote", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say what is in a model folder, and check every file; exit code 1 if one is missing or damaged."""
    from kgrec.serving.inspect import inspect_model

    facts = inspect_model(folder)
    if as_json:
        echo_json(facts.as_dict())
    else:
        from kgrec.cli.show import show_model

        show_model(facts)
    if not facts.sound:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, and what to do about what is missing; exit code 1 if kgrec cannot work."""
    from kgrec.serving.doctor import diagnose

    findings = diagnose()
    if as_json:
        echo_json([asdict(one) for one in findings])
    else:
        from kgrec.cli.show import show_findings

        show_findings(findings)
    if any(one.status == "missing" for one in findings):
        raise typer.Exit(1)


@app.command()
def train(
    graph: Annotated[Path, typer.Option(help="folder of the graph stage", show_default=False)],
    split: Annotated[Path, typer.Option(help="folder of train, valid and test", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write, one folder per model in it", show_default=False)],
    state: Annotated[Path, typer.Option(help="where training keeps its state")] = Path(".kgrec/state/train"),
    params: ParamsFile = Path("params.yaml"),
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="go on from the state, or start over")] = True,
) -> None:
    """Train the models of the section `train`; a run that was stopped goes on where it was."""
    import shutil

    log_to_stderr()
    from kgrec.training.distributed import is_first_process
    from kgrec.training.run import TrainSettings, train_models

    settings = section(TrainSettings, params, "train")
    if not resume and is_first_process():
        shutil.rmtree(state, ignore_errors=True)
    summary = train_models(graph, split, out, settings, state)
    if is_first_process():
        echo_json(summary)


@app.command()
def evaluate(
    models: Annotated[Path, typer.Option(help="folder that train wrote", show_default=False)],
    graph: Annotated[Path, typer.Option(help="folder of the graph stage", show_default=False)],
    split: Annotated[Path, typer.Option(help="folder of train, valid and test", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write", show_default=False)],
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Evaluate trained models by full ranking, as the section `evaluate` says."""
    log_to_stderr()
    from kgrec.evaluation.run import EvaluateSettings, evaluate_models

    echo_json(evaluate_models(models, graph, split, out, section(EvaluateSettings, params, "evaluate")))


app.add_typer(kg, name="kg")
app.add_typer(media, name="media")
app.add_typer(features, name="features")
app.command()(extract)
app.command()(audit)
app.command()(link)
