"""How a knowledge graph looks in a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kgrec.cli.show import console
from kgrec.kg.describe import Entity, Facts, GraphFacts

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 14
#: characters of a relation's name in a line
_LINE = 42
_RELATIONS, _TYPES = 20, 12
#: columns of a terminal from which on bars, types of facts, and examples are shown
_WITH_BARS, _WITH_TYPES, _WITH_EXAMPLES = 100, 100, 130


def show_import(source: Path, out: Path, counts: Mapping[str, Any]) -> None:
    """What an import read and wrote."""
    named = {0: "none", counts["entities"]: "all"}.get(counts["entities_named"], f"{counts['entities_named']:,}")
    repeats = f" of {counts['triples_read']:,} read; {counts['repeats']:,} were repeats" if counts["repeats"] else ""
    _report(
        f"imported {counts['format']}", f"{source} → {out}",
        {
            "triples": f"{counts['triples']:,}{repeats}",
            "relations": f"{counts['relations']:,}",
            "entities": f"{counts['entities']:,}, {named} named",
            "without id": f"{counts['entities_without_id']:,} called kgat:<number>" if counts.get("entities_without_id") else None,
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


def show_graph(facts: GraphFacts, links: Path | None, everything: bool) -> None:
    """What a graph holds: totals, relations, types, degrees, hubs; ``everything`` leaves no relation or type out."""
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

    out.print()
    bar, example = out.width >= _WITH_BARS, out.width >= _WITH_EXAMPLES
    columns = ["relation", "triples:r", *([""] if bar else []), "heads:r", "tails:r", "items:r"]
    table = _table(*columns, *(["such as"] if example else []))
    for row in facts.relations if everything else facts.relations[:_RELATIONS]:
        cells = [f"{row['heads']:,}", f"{row['tails']:,}", _share(row["items"], items) if items else "–"]
        if bar:
            cells.insert(0, _bar(row["triples"], facts.relations[0]["triples"]))  # type: ignore[arg-type]
        if example:
            such = f"{row['example_head']} → {row['example_tail']}"
            cells.append(Text(such, style="dim", overflow="ellipsis", no_wrap=True))  # type: ignore[arg-type]
        table.add_row(_relation(row["relation"]), f"{row['triples']:,}", *cells)
    out.print(table)
    _rest(0 if everything else len(facts.relations) - _RELATIONS, "relations")

    if totals["typed"]:
        out.print()
        out.print(_types(facts, everything))
        _rest(0 if everything else len(facts.types) - _TYPES, "types")

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


def _types(facts: GraphFacts, everything: bool) -> Table:
    table = _table("type", "entities:r", "", "named:r", "median degree:r")
    for row in facts.types if everything else facts.types[:_TYPES]:
        table.add_row(
            Text(row["type"]) if row["type"] else Text("no type", style="dim"), f"{row['entities']:,}",
            _bar(row["entities"], facts.types[0]["entities"]), _share(row["named"], row["entities"]), f"{row['degree_median']:,}",
        )  # fmt: skip
    return table


def show_entities(wanted: str, entities: Sequence[Entity], most: int) -> None:
    """Several entities somebody may mean, of which ``most`` were asked for."""
    out = console()
    which = "these" if len(entities) < most else f"many, such as the {most} best connected"
    out.print(Text(f"{wanted!r} may be one of {which}; ask by id for the facts of one", style="bold"))
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
    head = Text().append(_name(entity, style="bold"))
    for style, word in (
        ("cyan", entity.type),
        ("dim", entity.entity_id),
        ("green", _items(entity)),
        ("dim", f"{entity.degree:,} triples"),
    ):
        if word:
            head.append("  ").append(word, style=style)
    out.print(head)
    if entity.description:
        out.print(Padding(Text(entity.description), (0, 0, 0, 2)))
    out.print()
    if not facts:
        out.print(Text("no facts", style="dim"))
        return
    columns = [
        [Text("→" if group.outgoing else "←", style="dim") for group in facts],
        [_relation(group.relation) for group in facts],
        [_column(group, lambda one: one.name or one.entity_id) for group in facts],
        [_column(group, lambda one: one.type or "", "dim") for group in facts],
        [_column(group, lambda one: one.entity_id if one.name else "", "dim") for group in facts],
    ]
    widths = [max(line.cell_len for cell in column for line in cell.split("\n")) for column in columns]
    widths[4] = min(widths[4], out.width // 3)
    room = out.width - widths[0] - widths[1] - widths[4] - 8
    if out.width < _WITH_TYPES or room < 30:
        del columns[3], widths[3]
        room += 2
    else:
        widths[3] = min(widths[3], room // 3)
        room -= widths[3]
    table = Table(box=None, show_header=False, pad_edge=False)
    for at, width in enumerate(widths):
        table.add_column(no_wrap=True, overflow="ellipsis", width=max(min(width, room), 12) if at == 2 else width)
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    out.print(table)


def _column(group: Facts, part: Callable[[Entity], str], style: str = "") -> Text:
    """A line for each of the others, and in the column of names one for those that are not shown."""
    lines = [Text(part(other).replace("\n", " "), style=style) for other in group.others]
    if group.total > len(group.others) and not style:
        lines.append(Text(f"… and {group.total - len(group.others):,} more", style="dim italic"))
    return Text("\n").join(lines)


def _report(title: str, place: str, rows: Mapping[str, str | None]) -> None:
    out = console()
    out.print(Text(title, style="bold").append(f"  {place}", style="not bold dim"), soft_wrap=True)
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        if value is not None:
            grid.add_row(Text(name, style="dim"), Text(value))
    out.print(grid)


def _table(*columns: str) -> Table:
    """A table without lines; ``:r`` behind a heading aligns right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.endswith(":r")
        table.add_column(name.removesuffix(":r"), justify="right" if right else "left", no_wrap=right or not name,
                         overflow="fold")  # fmt: skip
    return table


def _relation(name: str) -> Text:
    """A relation's name, what it is about standing out; a long one, or one across a mediator, on several lines."""
    text, line = Text(), 0
    for at, part in enumerate(name.split("..")):
        line = 0
        words = re.findall(r"[^./#]*[./#]+|[^./#]+$", part)
        text.append("\n.." if at else "", style="dim")
        for word in words:
            if line and line + len(word) > _LINE:
                text.append("\n  ")
                line = 0
            text.append(word, style="" if word is words[-1] else "dim")
            line += len(word)
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
