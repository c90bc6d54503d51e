"""Linking decides which entity of the knowledge graph an item is: one entity per item and one item per entity.

The candidates come from link files (``link_files``). They are accepted greedily in this order: higher score, earlier
file (by path), earlier line. A candidate whose item or entity is already taken loses; winner and loser go to
``audit.json`` with their titles. The same link stated twice is no conflict.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import read_parquet, write_json, write_parquet
from kgrec.data.schemas import LINKS
from kgrec.errors import DataError
from kgrec.kg.link_files import Link, link_files, read_links
from kgrec.kg.titles import title_agreement
from kgrec.progress import get_logger

log = get_logger(__name__)

_EXAMPLES = 20


class LinkSettings(Settings):
    """How link files become one-to-one links."""

    formats: Literal["auto", "kb4rec", "recbole", "kgat", "table"] = "auto"
    """Layout of the link files; ``auto`` looks at each file's first line."""

    conflicts: Literal["first", "error"] = "first"
    """``first`` keeps the higher score, then the earlier file, then the earlier line; ``error`` refuses conflicts."""

    unknown_items: Literal["count", "error"] = "count"
    """A link whose item is not in the catalogue: counted (KB4Rec spans all of MovieLens-20M) or an error."""

    min_score: float = Field(0.0, ge=0, le=1)
    """Links below this score are dropped and counted."""

    min_item_coverage: float = Field(0.2, ge=0, le=1)
    """Least share of the catalogue that must get a link; below it the link file is taken for another id space's."""

    min_title_agreement: float = Field(0.3, ge=0, le=1)
    """Least share of links whose entity name looks like the item's title, where the link file names its entities."""


def link_items(items: Path, links: Path, out: Path, settings: LinkSettings) -> dict[str, Any]:
    """Write ``out/links.parquet`` (one row per linked item, sorted by item) and ``out/audit.json``.

    :param items: items.parquet of the interactions stage
    :param links: folder of link files, see ``link_files``
    :return: counts and coverage, as in audit.json without its lists
    :raises DataError: if no link file is there, a line is malformed, an item is unknown or in conflict and the settings
        forbid it, or so few items get a link that the file must be about another id space
    """
    items, links, out = Path(items), Path(links), Path(out)
    catalogue = read_parquet(items, columns=["item_id", "title"])
    titles = dict(zip(catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), strict=True))
    candidates: list[Link] = []
    unknown: list[Link] = []
    files = []
    weak = 0
    for path in link_files(links):
        rows = list(read_links(path, settings.formats))
        known = [row for row in rows if row.item_id in titles]
        strong = [row for row in known if row.score >= settings.min_score]
        missing = [row for row in rows if row.item_id not in titles]
        if missing and settings.unknown_items == "error":
            first = missing[0]
            raise DataError(
                f"links item {first.item_id!r}, which the catalogue does not have ({len(missing)} such lines); "
                "remove the line, or set link.unknown_items: count",
                path=path, line=first.line,
            )  # fmt: skip
        candidates += strong
        unknown += missing
        weak += len(known) - len(strong)
        files.append({"file": str(path.relative_to(links)), "links": len(rows), "unknown_items": len(missing)})
    accepted, conflicts = _one_to_one(candidates)
    if conflicts and settings.conflicts == "error":
        winner, loser, kind = conflicts[0]
        raise DataError(
            f"{kind}: {loser.item_id} -> {loser.entity_id} against {winner.item_id} -> {winner.entity_id} "
            f"({winner.file}, line {winner.line}); remove one, or set link.conflicts: first",
            path=loser.file, line=loser.line,
        )  # fmt: skip
    coverage = len(accepted) / max(len(titles), 1)
    if coverage < settings.min_item_coverage:
        example = candidates[0] if candidates else (unknown[0] if unknown else None)
        raise DataError(
            f"only {len(accepted)} of {len(titles)} items get a link ({coverage:.1%}, link.min_item_coverage is "
            f"{settings.min_item_coverage:.1%}); the link file seems to use another id space than the catalogue"
            + (f" (link file: {example.item_id!r}, catalogue: {next(iter(titles), '')!r})" if example else ""),
            path=links,
        )
    agreeing, compared = title_agreement((titles[row.item_id] or "", row.name) for row in accepted)
    if compared >= 20 and agreeing / compared < settings.min_title_agreement:
        raise DataError(
            f"only {agreeing} of {compared} links name an entity that looks like the item's title; "
            "the link file seems to number other items (link.min_title_agreement)",
            path=links,
        )
    counts = {
        "items": len(titles),
        "links": len(accepted),
        "coverage": round(coverage, 6),
        "links_read": len(candidates) + len(unknown) + weak,
        "below_min_score": weak,
        "unknown_items": len(unknown),
        "conflicts": len(conflicts),
        "methods": dict(sorted(Counter(row.method for row in accepted).items())),
        "titles_compared": compared,
        "titles_agreeing": agreeing,
    }

    def side(row: Link) -> dict[str, Any]:
        return {**row._asdict(), "title": titles[row.item_id]}

    audit = {
        "counts": counts,
        "rule": "higher score, then earlier file, then earlier line",
        "files": files,
        "conflicts": [{"kind": kind, "kept": side(kept), "dropped": side(lost)} for kept, lost, kind in conflicts],
        "unknown_items": [row._asdict() for row in unknown[:_EXAMPLES]],
    }
    table = pa.Table.from_pydict({name: [getattr(row, name) for row in accepted] for name in LINKS.names}, schema=LINKS)
    write_parquet(table, out / "links.parquet", sort_by=["item_id"])
    write_json(audit, out / "audit.json")
    log.info("linked items", links=len(accepted), items=len(titles), conflicts=len(conflicts))
    return counts


def _one_to_one(candidates: list[Link]) -> tuple[list[Link], list[tuple[Link, Link, str]]]:
    """Accepted links, and ``(winner, loser, kind)`` of each conflict. ``candidates`` come in file and line order."""
    by_item: dict[str, Link] = {}
    by_entity: dict[str, Link] = {}
    conflicts = []
    for row in sorted(candidates, key=lambda row: -row.score):
        holder = by_item.get(row.item_id)
        if holder and holder.entity_id == row.entity_id:
            continue
        if holder:
            conflicts.append((holder, row, "item with two entities"))
        elif row.entity_id in by_entity:
            conflicts.append((by_entity[row.entity_id], row, "entity claimed by two items"))
        else:
            by_item[row.item_id] = by_entity[row.entity_id] = row
    return list(by_item.values()), conflicts
