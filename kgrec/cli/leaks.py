"""``kgrec kg leaks``: which relations of a graph leak what a recommender is to predict, and which are kept out, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.folders import stage_folder

if TYPE_CHECKING:
    from rich.table import Table


def leaks(
    graph: Annotated[
        Path | None, typer.Argument(help="folder of a graph; without it, what the kg stage wrote", show_default=False)
    ] = None,
    links: Annotated[
        Path | None, typer.Option(help="links.parquet, which says what the items are", show_default=False)
    ] = None,
    patterns: Annotated[
        bool, typer.Option("--patterns", help="list what is denied by default, with the reasons")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="exit code 1 if the graph holds a suspected leak")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of tables")] = False,
) -> None:
    """Name the relations of a graph that leak the target (ratings, likeness, audiences' awards), with the reason."""
    if patterns:
        _show_patterns(as_json)
        return
    from kgrec.kg.leaks import leaks_of_graph

    if graph is None:
        graph = stage_folder("kg")
        links = links or stage_folder("link") / "links.parquet"
    found = leaks_of_graph(graph, links).to_pylist()
    dropped = _dropped(graph)
    if as_json:
        typer.echo(json.dumps({"suspected": found, "dropped": dropped}, indent=2, ensure_ascii=False))
    else:
        _show(graph, found, dropped)
    if check and found:
        raise typer.Exit(1)


def _dropped(graph: Path) -> list[dict[str, Any]]:
    """What the build of the graph left out by name, where it wrote so."""
    from kgrec.data.io import read_parquet
    from kgrec.kg.quality_tables import DROPPED

    path = graph / "quality" / "dropped.parquet"
    rows = read_parquet(path, DROPPED).to_pylist() if path.exists() else []
    return sorted(rows, key=lambda row: (-row["facts"], row["relation"], row["pattern"]))


def _show(graph: Path, found: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from kgrec.cli.show import console

    out = console()
    if found:
        table = _table(f"suspected leaks in {graph}", "relation", "facts", "leaking", "pattern", "reason")
        for row in found:
            table.add_row(
                Text(row["relation"]), f"{row['triples']:,}", f"{row['leaking']:,}", Text(row["pattern"] or "–"),
                Text(row["reason"]),
            )  # fmt: skip
        out.print(table)
    else:
        out.print(Text(f"no relation of {graph} is suspected to leak"))
    if dropped:
        table = _table("left out when it was built", "relation", "facts", "pattern", "reason")
        for row in dropped:
            table.add_row(Text(row["relation"]), f"{row['facts']:,}", Text(row["pattern"] or "–"), Text(row["reason"]))
        out.print()
        out.print(table)


def _show_patterns(as_json: bool) -> None:
    from rich.text import Text

    from kgrec.cli.show import console
    from kgrec.kg.relations import BOOKKEEPING, LEAKS, VOTED_AWARDS

    groups = {"leaks": LEAKS, "voted awards, by name": VOTED_AWARDS, "bookkeeping": BOOKKEEPING}
    if as_json:
        typer.echo(json.dumps(groups, indent=2, ensure_ascii=False))
        return
    for place, (name, patterns) in enumerate(groups.items()):
        table = _table(name, "pattern", "who votes" if patterns is VOTED_AWARDS else "reason")
        for pattern, reason in patterns.items():
            table.add_row(Text(pattern), Text(reason))
        if place:
            console().print()
        console().print(table)


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns:
        number = name in ("facts", "leaking")
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table
