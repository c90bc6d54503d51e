"""``kgrec media``: what has a picture and a text and why others have none, and fetching what is missing."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.common import echo_json, log_to_stderr, section
from kgrec.cli.errors import Commands
from kgrec.cli.folders import stage_folder
from kgrec.errors import ConfigError

if TYPE_CHECKING:
    from kgrec.media.collect import MediaFolders
    from kgrec.media.subjects import Catalogue
    from kgrec.media.web.client import Only
    from kgrec.media.web.run import FetchReport

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Fetch posters, plots and clips, and see what has none and why."
)

Responses = Annotated[Path, typer.Option(help="folder of the answers that were fetched")]
Params = Annotated[Path, typer.Option(help="YAML file with the section `media`")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table")]
_RESPONSES, _PARAMS = Path(".kgrec/cache/media"), Path("params.yaml")


@app.command()
def status(
    item: Annotated[
        str | None,
        typer.Argument(help="item id, or a key like entity:m.0abc: why it has what it has", show_default=False),
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="folder the media stage wrote; else the one here", show_default=False)
    ] = None,
    responses: Responses = _RESPONSES,
    as_json: AsJson = False,
) -> None:
    """Say how many have a picture and a text, and why others have none; or all that is known of one item."""
    from kgrec.media.status import explain, summarise

    folder = media or stage_folder("media")
    if item is not None:
        told = explain(item, folder, responses)
        echo_json(told) if as_json else _show_item(told)
        return
    counts = summarise(folder, responses)
    echo_json(counts) if as_json else _show_counts(counts)


@app.command()
def fetch(responses: Responses = _RESPONSES, params: Params = _PARAMS, as_json: AsJson = False) -> None:
    """Fetch what was never asked for, what failed, and what is too old. `dvc repro -f -s media` packs it."""
    _fetch("due", responses, params, as_json)


@app.command()
def retry(
    only: Annotated[str, typer.Option(help="failed, missing (also what was refused), or all")] = "failed",
    responses: Responses = _RESPONSES,
    params: Params = _PARAMS,
    as_json: AsJson = False,
) -> None:
    """Ask again for what failed (--only failed), for what was not there (--only missing), or for everything."""
    if only not in ("failed", "missing", "all"):
        raise ConfigError(f"--only {only}: choose failed, missing or all")
    _fetch(only, responses, params, as_json)  # type: ignore[arg-type]


@app.command()
def prune(
    as_of: Annotated[
        str | None, typer.Option(help="day by which terms are judged, YYYY-MM-DD; else today", show_default=False)
    ] = None,
    responses: Responses = _RESPONSES,
    as_json: AsJson = False,
) -> None:
    """Throw away what a source's terms let nobody keep any longer, and files that no address has any more."""
    from datetime import date

    from kgrec.media.web.store import ResponseStore

    try:
        day = date.fromisoformat(as_of) if as_of else date.today()
    except ValueError:
        raise ConfigError(f"--as-of {as_of}: is no day; write it as {date.today()}") from None
    with ResponseStore(responses) as store:
        gone = store.prune(day)
    if as_json:
        echo_json(gone)
    else:
        typer.echo(f"{gone['expired']:,} expired; {gone['files']:,} files deleted, {gone['bytes'] / 1e6:,.1f} MB")


def _fetch(only: Only, responses: Path, params: Path, as_json: bool) -> None:
    log_to_stderr()
    from kgrec.media.collect import MediaSettings, fetch_media

    catalogue, folders = _here()
    settings = section(MediaSettings, params, "media")
    with TemporaryDirectory(prefix="kgrec.media.") as work:
        report = fetch_media(catalogue, folders, Path(work), responses, settings, only)
    if report is None:
        raise ConfigError(f"{params}: media.sources names no source on the web, so there is nothing to fetch")
    echo_json(report.to_dict()) if as_json else _show_report(report)


def _here() -> tuple[Catalogue, MediaFolders]:
    """What a pipeline in the current directory has."""
    from kgrec.media.collect import MediaFolders
    from kgrec.media.subjects import Catalogue

    graph, raw = stage_folder("kg"), stage_folder("fetch") / "raw"
    keys = graph / "keys.parquet"
    tables = (stage_folder("interactions") / "items.parquet", stage_folder("link") / "links.parquet")
    folders = {name: raw / name for name in ("posters", "texts", "audio", "video") if (raw / name).is_dir()}
    return Catalogue(*tables, graph / "entities.parquet", keys if keys.exists() else None), MediaFolders(**folders)


def _table(*columns: str, right: tuple[str, ...] = ()) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in right)
    return table


def _show_counts(counts: dict[str, Any]) -> None:
    from rich.text import Text

    from kgrec.cli.show import console

    out = console()
    numbers = ("ok", "share", "missing", "rejected", "failed")
    table = _table("modality", "of", *numbers, right=numbers)
    for row in counts["coverage"]:
        table.add_row(
            row["modality"], row["of"], f"{row['ok']:,}", f"{row['ok'] / max(row['keys'], 1):.1%}",
            f"{row['missing']:,}", f"{row['rejected']:,}", f"{row['failed']:,}",
        )  # fmt: skip
    out.print(table)
    if counts["reasons"]:
        out.print(Text("\nwhy not", style="bold"))
        why = _table("modality", "reason", "keys", "for example", right=("keys",))
        for row in counts["reasons"]:
            why.add_row(row["modality"], Text(row["reason"]), f"{row['keys']:,}", Text(row["example"], style="dim"))
        out.print(why)
    stored = counts["answers"]
    if stored["addresses"]:
        outcomes = ", ".join(f"{number:,} {name}" for name, number in stored["addresses"].items())
        span = f"from {stored['oldest'][:10]} to {stored['newest'][:10]}" if stored["oldest"] else "no content"
        out.print(Text(f"\naddresses asked: {outcomes}; {stored['bytes'] / 1e6:,.1f} MB {span}", style="dim"))
    if counts["expired"]:
        out.print(
            Text(f"{counts['expired']:,} have passed their expiry date; set media.web.as_of to today", style="yellow")
        )


def _show_item(told: dict[str, Any]) -> None:
    from rich.text import Text

    from kgrec.cli.show import console

    out = console()
    out.print(Text(told["key"], style="bold"))
    table = _table("modality", "status", "reason", "from", "licence", "expires")
    for row in told["ledger"]:
        colour = {"ok": "green", "missing": "yellow"}.get(row["status"], "red")
        table.add_row(
            row["modality"], Text(row["status"], style=colour), Text(row["reason"]), Text(row["source"]),
            Text(row["licence"]), row["expires"][:10],
        )  # fmt: skip
    out.print(table)
    if told["shares"]:
        out.print(Text(f"shares its picture with {', '.join(told['shares'])}", style="yellow"))
    if told["tries"]:
        out.print(Text("\ntries", style="bold"))
        tries = _table("time", "source", "status", "http", "reason", "bytes", "address", right=("http", "bytes"))
        for row in told["tries"]:
            tries.add_row(
                row["time"], row["source"], row["status"], "" if row["http"] is None else str(row["http"]),
                Text(row["reason"]), f"{row['bytes']:,}", Text(row["url"], style="dim"),
            )  # fmt: skip
        out.print(tries)


def _show_report(report: FetchReport) -> None:
    from rich.text import Text

    from kgrec.cli.show import console

    out = console()
    names = ("ok", "unusable", "missing", "refused", "failed", "pending")
    table = _table("source", *names, right=names)
    for source, counts in report.found.items():
        table.add_row(source, *(f"{counts.get(name, 0):,}" for name in names))
    out.print(table)
    asked = ", ".join(f"{number:,} {name}" for name, number in report.by_status.items()) or "none"
    out.print(Text(f"requests: {asked}; {report.bytes / 1e6:,.1f} MB in {report.seconds:,.0f} s", style="dim"))
