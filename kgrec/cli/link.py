"""``kgrec link``: find the entities of items, or explain why an item has its entity."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.folders import stage_folder
from kgrec.errors import ConfigError

if TYPE_CHECKING:
    from kgrec.kg.linking.explain import Explanation


def link(
    explain: Annotated[
        str | None, typer.Option(help="item, by id or title: show its candidates and why one won", show_default=False)
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="items.parquet; else the interactions stage's here", show_default=False)
    ] = None,
    links: Annotated[
        Path | None, typer.Option(help="folder of link files, if there are any", show_default=False)
    ] = None,
    store: Annotated[Path | None, typer.Option(help="folder the extract stage wrote", show_default=False)] = None,
    dump: Annotated[
        list[str] | None,
        typer.Option(help="RDF dump instead of a store, path or URL; may be given again", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder to write; with --explain the one to look into, else the link stage's", show_default=False
        ),
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="YAML file with a section `link`; else the defaults", show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="most candidates to show")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table")] = False,
) -> None:
    """Find the entity of each item by evidence and link files, or --explain one item's link."""
    from kgrec.cli.common import echo_json, log_to_stderr, section
    from kgrec.kg.links import LinkSettings, link_items

    items = items or stage_folder("interactions") / "items.parquet"
    if explain is not None:
        from kgrec.kg.linking.explain import explain_item

        found = explain_item(explain, out or stage_folder("link"), items)
        if as_json:
            echo_json(asdict(found))
        else:
            _show(found, k)
        return
    if out is None:
        raise ConfigError("give the folder to write with --out, or an item to explain with --explain")
    if store and dump:
        raise ConfigError("give a store or dumps, not both")
    log_to_stderr()
    settings = section(LinkSettings, params, "link") if params else LinkSettings()
    if not dump:
        echo_json(link_items(items, links, store, out, settings))
        return
    from kgrec.kg.store import ExtractSettings, build_store

    with TemporaryDirectory(prefix="kgrec.store.") as folder:
        build_store(dump, Path(folder) / "store", ExtractSettings(languages=settings.languages))
        echo_json(link_items(items, links, Path(folder) / "store", out, settings))


def _show(found: Explanation, k: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from kgrec.cli.show import console
    from kgrec.kg.linking.evidence import PARTS

    out, item = console(), found.item
    said = [str(item["year"])] if item["year"] else []
    said += [f"{role}: {', '.join(item[role][:4])}" for role in ("director", "writer", "actor") if item[role]]
    out.print(Text.assemble((item["title"] or "without a title", "bold"), f"  item {item['item_id']}"))
    out.print(Text("  ".join([*said, *([item["imdb_id"]] if item["imdb_id"] else [])]), style="dim"))
    out.print(Text(found.verdict, style="green" if found.entity_id else "yellow"))
    if not found.candidates:
        return
    shown = [part for part in (*PARTS, "claim") if any(part in row["weights"] for row in found.candidates[:k])]
    table = Table(box=None, pad_edge=False)
    table.add_column("entity", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("years", no_wrap=True)
    for name in ("score", "evidence", *shown):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for row in found.candidates[:k]:
        cells = [_cell(row, part) for part in shown]
        table.add_row(
            Text(row["entity_id"]), Text(row["name"] or "–"), Text(", ".join(map(str, row["years"] or ()))),
            "–" if row["score"] is None else f"{row['score']:.3f}",
            "–" if row["evidence"] is None else f"{row['evidence']:.1f}",
            *cells, Text(row["outcome"].replace("_", " ")),
            style="green" if row["outcome"] == "link" else "",
        )  # fmt: skip
    out.print()
    out.print(table)
    more = len(found.candidates) - k
    rest = f"{more} more candidates (-k shows them). " if more > 0 else ""
    prior = next((row["weights"]["prior"] for row in found.candidates if row["weights"]), None)
    if prior is not None:
        sums = f"A part: its agreement from 0 to 1, and what that adds; {prior:+g} and all of them make the evidence."
        out.print(Text(f"{rest}{sums}", style="dim"))


def _cell(row: dict[str, Any], part: str) -> str:
    """Agreement and weight of a part."""
    if part not in row["weights"]:
        return "–"
    weight = f"{row['weights'][part]:+.1f}"
    return weight if part == "claim" else f"{row[part]:.2f} {weight}"
