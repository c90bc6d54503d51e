"""``kgrec audit``: are the links of a link file right, and is it about this catalogue?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.folders import stage_folder
from kgrec.errors import DataError

if TYPE_CHECKING:
    from kgrec.kg.audit import Audit


def audit(
    links: Annotated[
        Path | None,
        typer.Argument(
            help="link file: KB4Rec, RecBole .link, KGAT item_list.txt, CSV or Parquet; without it, what the link stage wrote",
            show_default=False,
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            help="item file, or a folder or zip archive with one: movies.dat, u.item, movies.csv, <name>.item, items.parquet, "
            "or a table with item_id and title",
            show_default=False,
        ),
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            help="what the entities are: an RDF dump, a store, or a table with entity_id and name", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder to write metrics, rows and plots to", show_default=False)
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="type the entities should have; may be given again; else what most have"),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="how many suspicious rows to show")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of tables")] = False,
) -> None:
    """Score the links of any link file by titles, years, types, ids and people; exit code 1 if it numbers other items."""
    from kgrec.data.readers.items import read_items
    from kgrec.kg.audit import AuditSettings, audit_links, read_link_table, write_audit
    from kgrec.kg.linking.evidence import EvidenceSettings
    from kgrec.kg.linking.works import TYPES_OF
    from kgrec.kg.profiles import read_profiles

    links = links or stage_folder("link") / "links.parquet"
    catalogue = read_items(items or stage_folder("interactions") / "items.parquet")
    table = read_link_table(links)
    wanted = tuple(types or ())
    around = wanted or tuple(one for kind in TYPES_OF.values() for one in kind)
    profiles = read_profiles(
        entities or stage_folder("extract") / "store", set(table["entity_id"].to_pylist()), catalogue, around
    )
    result = audit_links(table, catalogue, profiles, AuditSettings(evidence=EvidenceSettings(types=wanted)))
    if out:
        write_audit(result, out)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2, ensure_ascii=False))
    else:
        _show(result, show)
    if result.mismatch:
        raise DataError(result.mismatch, path=links)


def _as_json(result: Audit) -> dict[str, Any]:
    rows = result.rows.filter(result.rows["flag"]).to_pylist()
    repeats = result.rows.filter(result.rows["repeats"].is_valid()).select(["item_id", "entity_id", "repeats"])
    return {
        **result.metrics,
        "mismatch": result.mismatch,
        "evidence": result.ratios,
        "suspicious_rows": rows,
        "duplicate_rows": repeats.to_pylist(),
    }


def _show(result: Audit, most: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from kgrec.cli.show import console

    out, found = console(), result.metrics
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _summary(found):
        grid.add_row(Text(name, style="dim"), Text(value))
    out.print(grid)
    rows = result.rows.filter(result.rows["flag"]).sort_by([("probability", "ascending"), ("item_id", "ascending")])
    if not rows.num_rows or not most:
        return
    table = Table(title=Text("suspicious rows"), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("item", "title", "entity", "name", "right", "because"):
        table.add_column(name, justify="right" if name == "right" else "left", overflow="fold", no_wrap=name == "right")
    for row in rows.slice(0, most).to_pylist():
        table.add_row(
            Text(row["item_id"]), _called(row["title"], row["year"]), Text(row["entity_id"]),
            _called(row["name"], row["entity_year"]), f"{row['probability']:.0%}", Text(row["reason"]),
        )  # fmt: skip
    out.print()
    out.print(table)
    if rows.num_rows > most:
        out.print(Text(f"and {rows.num_rows - most:,} more; --out writes all of them", style="dim"))


def _summary(found: dict[str, Any]) -> list[tuple[str, str]]:
    precision = "unknown: no link has evidence; has the catalogue titles, and the table the linked entities?"
    if found["estimated_precision"] is not None:
        value, low, high = (found[key] for key in ("estimated_precision", "precision_low", "precision_high"))
        precision = f"{value:.2%}, 95 % interval {low:.2%} to {high:.2%}"
    left_out = [
        f"{found[key]:,} {words}"
        for key, words in (
            ("unknown_items", "of items not in the catalogue"), ("unknown_entities", "of unknown entities"),
            ("no_evidence", "without evidence"),
        )
        if found[key]
    ]  # fmt: skip
    return [
        ("links", f"{found['rows']:,}"),
        ("checked", f"{found['checked']:,}" + (f" (not: {', '.join(left_out)})" if left_out else "")),
        ("coverage", f"{found['linked_items']:,} of {found['items']:,} items ({found['coverage']:.1%})"),
        ("estimated precision", precision),
        ("suspicious", f"{found['suspicious']:,} ({found['suspicious_share']:.2%} of the catalogue's links)"),
        ("duplicates", f"{found['duplicates']:,}"),
    ]


def _called(name: str | None, year: int | None) -> Any:
    from rich.text import Text

    return Text(f"{name or '–'}{f' ({year})' if year else ''}")
