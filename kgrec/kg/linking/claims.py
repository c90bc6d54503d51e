"""A claim is what a link file says of an item of the catalogue; the files' claims are made one to one first.

They are accepted in this order: higher score, earlier file (by path), earlier line. A claim whose item or entity is
already taken loses. The same link stated twice is no conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kgrec.errors import DataError
from kgrec.kg.link_files import Link, link_files, read_links
from kgrec.kg.titles import title_agreement

_EXAMPLES = 20


class Conflict(NamedTuple):
    """Two claims that cannot both hold."""

    kept: Link
    lost: Link
    kind: str


@dataclass
class Claims:
    """What link files say of a catalogue."""

    #: one per item and per entity
    accepted: list[Link] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    #: rows of items the catalogue does not have
    unknown: list[Link] = field(default_factory=list)
    #: every row of an item the catalogue has
    known: list[Link] = field(default_factory=list)
    #: rows below the least score
    weak: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> list[Link]:
        """Every row read."""
        return [*self.known, *self.unknown]

    def report(self, titles: Mapping[str, str | None]) -> dict[str, Any]:
        """Files, conflicts with titles, and examples of unknown items."""

        def side(row: Link) -> dict[str, Any]:
            return {**row._asdict(), "title": titles[row.item_id]}

        return {
            "rule": "higher score, then earlier file, then earlier line",
            "files": self.files,
            "conflicts": [
                {"kind": one.kind, "kept": side(one.kept), "dropped": side(one.lost)} for one in self.conflicts
            ],
            "unknown_items": [row._asdict() for row in self.unknown[:_EXAMPLES]],
        }


def read_claims(folder: Path, items: Mapping[str, Any], formats: str, min_score: float) -> Claims:
    """Claims of the link files in ``folder``.

    :param items: by id; a row of another item is unknown
    :param formats: see ``read_links``
    :raises DataError: if there is no link file, or a line does not fit its format
    """
    claims, strong = Claims(), []
    for path in link_files(folder):
        rows = list(read_links(path, formats))
        known = [row for row in rows if row.item_id in items]
        missing = [row for row in rows if row.item_id not in items]
        claims.known += known
        claims.unknown += missing
        strong += [row for row in known if row.score >= min_score]
        claims.files.append({"file": str(path.relative_to(folder)), "links": len(rows), "unknown_items": len(missing)})
    claims.weak = len(claims.known) - len(strong)
    claims.accepted, claims.conflicts = _one_to_one(strong)
    return claims


def check_claims(
    claims: Claims, titles: Mapping[str, str | None], folder: Path, *, conflicts: str, unknown_items: str,
    min_item_coverage: float, min_title_agreement: float,
) -> tuple[int, int]:  # fmt: skip
    """Refuse claims that the settings forbid, or that seem to be about another id space.

    :return: how many of how many entity names of the link files look like the item's title
    :raises DataError: saying which row, or what the file seems to be about
    """
    if claims.unknown and unknown_items == "error":
        first = claims.unknown[0]
        raise DataError(
            f"links item {first.item_id!r}, which the catalogue does not have ({len(claims.unknown)} such lines); "
            "remove the line, or set link.unknown_items: count",
            path=folder / first.file, line=first.line,
        )  # fmt: skip
    if claims.conflicts and conflicts == "error":
        kept, lost, kind = claims.conflicts[0]
        raise DataError(
            f"{kind}: {lost.item_id} -> {lost.entity_id} against {kept.item_id} -> {kept.entity_id} "
            f"({kept.file}, line {kept.line}); remove one, or set link.conflicts: first",
            path=lost.file, line=lost.line,
        )  # fmt: skip
    coverage = len(claims.accepted) / max(len(titles), 1)
    if coverage < min_item_coverage:
        example = next(iter(claims.rows), None)
        raise DataError(
            f"only {len(claims.accepted)} of {len(titles)} items get a link ({coverage:.1%}, link.min_item_coverage is "
            f"{min_item_coverage:.1%}); the link file seems to use another id space than the catalogue"
            + (f" (link file: {example.item_id!r}, catalogue: {next(iter(titles), '')!r})" if example else ""),
            path=folder,
        )
    agreeing, compared = title_agreement((titles[row.item_id] or "", row.name) for row in claims.accepted)
    if compared >= 20 and agreeing / compared < min_title_agreement:
        raise DataError(
            f"only {agreeing} of {compared} links name an entity that looks like the item's title; "
            "the link file seems to number other items (link.min_title_agreement)",
            path=folder,
        )
    return agreeing, compared


def _one_to_one(rows: Sequence[Link]) -> tuple[list[Link], list[Conflict]]:
    """Accepted rows, and the conflicts. ``rows`` come in file and line order."""
    by_item: dict[str, Link] = {}
    by_entity: dict[str, Link] = {}
    conflicts = []
    for row in sorted(rows, key=lambda row: -row.score):
        holder = by_item.get(row.item_id)
        if holder and holder.entity_id == row.entity_id:
            continue
        if holder:
            conflicts.append(Conflict(holder, row, "item with two entities"))
        elif row.entity_id in by_entity:
            conflicts.append(Conflict(by_entity[row.entity_id], row, "entity claimed by two items"))
        else:
            by_item[row.item_id] = by_entity[row.entity_id] = row
    return list(by_item.values()), conflicts
