"""How a knowledge graph looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kgrec.cli.show import console
from kgrec.kg.describe import Entity, Facts, GraphFacts

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 14
_TYPES = 12


def show_import(source: Path, out: Path, counts: Mapping[str, Any]) -> None:
    """What an import read and wrote."""
    repeats = f" of {counts['triples_read']:,} read; {counts['repeats']:,} were repeats" if counts["repeats"] else ""
    _report(
        f"imported {counts['format']}", f"{source} → {out}",
        {
            "triples": f"{counts['triples']:,}{repeats}",
            "relations": f"{counts['relations']:,}",
            "entities": f"{counts['entities']:,}, {counts['entities_named']:,} of them named",
            "items": f"{counts['links']:,} linked" if counts["links"] else None,
            "left out": f"{counts['literals_left_out']:,} literals" if counts.get("literals_left_out") else None,
        },
    )  # fmt: skip


def show_export(folder: Path, out: Path, counts: Mapping[str, Any]) -> None:
    """What an export wrote."""
    left = counts["links_left_out"]
    _report(
        f"exported {counts['format']}", f"{folder} → {out}",
        {
            "triples": f"{counts['triples']:,}",
            "relations": f"{counts['relations']:,}",
            "entities": f"{counts['entities']:,}",
            "items": f"{counts['items']:,}" if counts["items"] else None,
            "left out": f"{left:,} links; {counts['format']} has no place for items" if left else None,
            "files": ", ".join(counts["files"]),
        },
    )  # fmt: skip


def show_graph(facts: GraphFacts, links: Path | None, most: int) -> None:
    """What a graph holds: totals, relations, types, degrees, hubs."""
    out, totals = console(), facts.totals
    entities, items = totals["entities"], totals["items"]
    _report(
        "knowledge graph", facts.folder,
        {
            "triples": f"{totals['triples']:,}" + (f", {totals['self_loops']:,} self-loops" if totals["self_loops"] else ""),
            "relations": f"{totals['relations']:,}",
            "entities": f"{entities:,}" + (f", {totals['isolated']:,} without a triple" if totals["isolated"] else ""),
            "known": "  ".join(f"{name} {_share(totals[key], entities)}" for name, key in
                               (("name", "named"), ("description", "described"), ("type", "typed"))),
            "items": f"{items:,}, {_share(totals['items_linked'], items)} linked, "
                     f"{_share(totals['items_with_triples'], items)} with triples" if items else None,
            "links": str(links) if links else "none given, so only item:… nodes count as items",
        },
    )  # fmt: skip

    table = _table("relation", "triples:r", "", "heads:r", "tails:r", "items:r", "such as")
    for row in facts.relations[:most]:
        example = Text(f"{row['example_head']} → {row['example_tail']}", style="dim", overflow="ellipsis", no_wrap=True)
        table.add_row(
            _relation(row["relation"]), f"{row['triples']:,}", _bar(row["triples"], facts.relations[0]["triples"]),
            f"{row['heads']:,}", f"{row['tails']:,}", _share(row["items"], items) if items else "–", example,
        )  # fmt: skip
    out.print(table)
    _rest(len(facts.relations) - most, "relations")

    table = _table("type", "entities:r", "", "named:r", "median degree:r")
    for row in facts.types[:_TYPES]:
        table.add_row(
            Text(row["type"]) if row["type"] else Text("no type", style="dim"), f"{row['entities']:,}",
            _bar(row["entities"], facts.types[0]["entities"]), _share(row["named"], row["entities"]), f"{row['degree_median']:,}",
        )  # fmt: skip
    out.print()
    out.print(table)
    _rest(len(facts.types) - _TYPES, "types")

    table = _table("degree:r", "entities:r", "")
    largest = max((row["nodes"] for row in facts.histogram), default=0)
    for row in facts.histogram:
        span = f"{row['low']:,}" if row["low"] == row["high"] else f"{row['low']:,}–{row['high']:,}"
        table.add_row(span, f"{row['nodes']:,}", _bar(row["nodes"], largest))
    out.print()
    out.print(table)
    quantiles = ("median", "mean", "p90", "p99", "max")
    spread = "  ".join(f"{name} {_number(totals[f'degree_{name}'])}" for name in quantiles)
    out.print(Text(spread, style="dim"))

    table = _table("best connected", "degree:r", "type", "id")
    for one in facts.hubs:
        table.add_row(_name(one), f"{one.degree:,}", Text(one.type or ""), Text(one.entity_id, style="dim"))
    out.print()
    out.print(table)


def show_entities(wanted: str, entities: Sequence[Entity]) -> None:
    """Several entities somebody may mean."""
    out = console()
    out.print(Text(f"{wanted!r} may be one of {len(entities)}; ask by id for the facts of one", style="bold"))
    table = _table("name", "type", "degree:r", "item", "id")
    for one in entities:
        table.add_row(
            _name(one),
            Text(one.type or ""),
            f"{one.degree:,}",
            Text(", ".join(one.items)),
            Text(one.entity_id, style="dim"),
        )
    out.print(table)


def show_entity(entity: Entity, facts: Sequence[Facts]) -> None:
    """An entity and its facts: → as head, ← as tail."""
    out = console()
    head = _name(entity, style="bold")
    for style, word in (("cyan", entity.type), ("dim", entity.entity_id), ("green", _items(entity))):
        if word:
            head.append("  ").append(word, style=style)
    out.print(head)
    if entity.description:
        out.print(Padding(Text(entity.description), (0, 0, 0, 2)))
    out.print()
    if not facts:
        out.print(Text("no facts", style="dim"))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    table.add_column(no_wrap=True, style="dim")
    for group in facts:
        for at, other in enumerate(group.others):
            first = ("→" if group.outgoing else "←", _relation(group.relation)) if at == 0 else ("", "")
            named = other.entity_id if other.name else ""
            table.add_row(*first, _name(other), Text(other.type or ""), Text(named))
        if group.total > len(group.others):
            table.add_row("", "", Text(f"… and {group.total - len(group.others):,} more", style="dim italic"), "", "")
    out.print(table)


def _report(title: str, place: str, rows: Mapping[str, str | None]) -> None:
    out = console()
    out.print(Text(title, style="bold").append(f"  {place}", style="not bold dim"), soft_wrap=True)
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        if value is not None:
            grid.add_row(Text(name, style="dim"), Text(value))
    out.print(grid)
    out.print()


def _table(*columns: str) -> Table:
    """A table without lines; ``:r`` behind a heading aligns right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.endswith(":r")
        table.add_column(name.removesuffix(":r"), justify="right" if right else "left", no_wrap=right or not name,
                         overflow="fold")  # fmt: skip
    return table


def _relation(name: str) -> Text:
    """A relation's name, what it is about standing out: ``film.film.`` is dim before ``genre``."""
    text = Text()
    for at, part in enumerate(name.split("..")):
        left, dot, right = part.rpartition("." if "://" not in part else "/")
        text.append(("..", "")[at == 0], style="dim").append(left + dot, style="dim").append(right)
    return text


def _name(entity: Entity, style: str = "") -> Text:
    return Text(entity.name or entity.entity_id, style=style)


def _items(entity: Entity) -> str:
    return f"item {', '.join(entity.items)}" if entity.items else ""


def _bar(value: int, most: int) -> Text:
    """A bar of up to 14 columns, in eighths of one; anything above nothing shows."""
    eighths = max(round(8 * _BAR * value / most), 1) if value else 0
    return Text(("█" * (eighths // 8) + _BLOCKS[eighths % 8]).strip(), style="cyan")


def _share(part: int, whole: int) -> str:
    """A percentage that says 0 % and 100 % only of none and all."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < part < whole:
        return "<0.1 %" if share < 0.1 else (">99.9 %" if share > 99.9 else f"{share:.1f} %")
    return f"{share:.0f} %"


def _number(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) and not value.is_integer() else f"{value:,.0f}"


def _rest(count: int, what: str) -> None:
    if count > 0:
        console().print(Text(f"… and {count:,} more {what} (--all)", style="dim italic"))
