"""An audit says of each row of a link file how likely it is right, and of the whole file whether it is about this catalogue.

The evidence is that of linking (``kgrec.kg.linking.evidence``): titles, years, ids elsewhere, people, types. Here it is read
the other way round. The file claims its links; the audit estimates which share is right (``kgrec.kg.precision``), and with
that share how likely each row is. So a row without evidence, or with a title in another language, passes in a file that
is right elsewhere and is flagged in one that is wrong elsewhere. A row is also measured against its *lookalikes*: another
item that the entity fits, another entity that fits the item.

A file whose estimated precision is below ``min_precision``, interval included, is refused, with what can be told of the
numbering it uses (``kgrec.kg.id_spaces``). What an audit cannot see: two works of one title and year with nothing else
known, and links that were made by this very evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import write_json, write_parquet
from kgrec.data.schemas import LINKS
from kgrec.errors import DataError
from kgrec.kg.audit_evidence import OTHERS, PARTS, LinkEvidence, Mask
from kgrec.kg.audit_mismatch import find_mismatch
from kgrec.kg.audit_plots import plot_scores, score_counts
from kgrec.kg.link_files import FORMATS, read_links
from kgrec.kg.linking.evidence import EvidenceSettings
from kgrec.kg.precision import Expected, Floats, Shares, level, probability, share_kinds
from kgrec.progress import get_logger

log = get_logger(__name__)

#: one row per row of the link file, in its order. ``status``: checked, no evidence, unknown entity, unknown item (of the table
#: and the catalogue). ``score`` in [0, 1] is what the row's own evidence says at even odds, ``probability`` what it says in this
#: file and beside its lookalikes; agreements lie in [0, 1]. ``flag`` marks suspicious rows, ``reason`` says why.
#: ``repeats`` says what another row of the file already has. All but ids, status and flag may be null.
ROWS = pa.schema(
    [
        ("item_id", pa.string()), ("entity_id", pa.string()), ("title", pa.string()), ("year", pa.int16()),
        ("name", pa.string()), ("entity_year", pa.int16()), ("status", pa.string()), ("flag", pa.bool_()),
        ("reason", pa.string()), ("score", pa.float64()), ("probability", pa.float64()),
        *((f"agreement_{part}", pa.float64()) for part in (*PARTS, OTHERS)),
        ("other_item", pa.string()), ("other_entity", pa.string()), ("repeats", pa.string()),
    ]
)  # fmt: skip

_SAID = {
    "title": "titles differ", "year": "years differ", "ids": "other ids elsewhere", "creators": "other creators",
    "cast": "another cast", "type": "of another type",
}  # fmt: skip


class AuditSettings(Settings):
    """What makes a row suspicious and a file refused."""

    evidence: EvidenceSettings = EvidenceSettings()
    """How parts are compared (``year_tolerance``, ``types``, ``item_ids``); its weights are not used here."""

    expected: Expected = Expected()
    """How often right links agree, part by part."""

    unlisted: float = Field(0.1, ge=0, le=1)
    """Share of stray links beside which nothing fits better, because catalogue and knowledge base lack the right partner."""

    usual_types: float = Field(0.95, gt=0.5, le=1)
    """Without ``evidence.types``: a type that at least this share of the linked entities has is the wanted type."""

    suspicious_below: float = Field(0.5, ge=0, le=1)
    """A row that is right with a smaller probability is flagged."""

    min_precision: float = Field(0.8, ge=0, le=1)
    """A file is refused if its estimated precision, upper end of the 95 % interval, is smaller."""

    min_checked: int = Field(4, ge=1)
    """A file with fewer rows that have evidence is not refused for its precision."""

    min_overlap: float = Field(0.02, ge=0, le=1)
    """A file is refused if a smaller share of its items is in the catalogue and a smaller share of the catalogue in it."""

    random_pairs: int = Field(20_000, ge=1)
    """About how many pairs at random are compared to count how often wrong links agree."""

    seed: int = 42
    """Of the pairs at random."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    :param metrics: counts and shares, for metrics.json; see docs/audit.md
    :param rows: schema ``ROWS``
    :param mismatch: why the file is refused, and which ids it seems to use; None if it passes
    :param chance: ``score`` of the pairs at random, shape (pairs,)
    :param ratios: part -> what it said when the same, near, different: log of its share among right over stray links
    """

    metrics: dict[str, Any]
    rows: pa.Table
    mismatch: str | None
    chance: Floats
    ratios: dict[str, list[float]]


def read_link_table(path: Path) -> pa.Table:
    """The rows of a link file of any layout (``kgrec.kg.link_files``) as they stand; schema LINKS.

    :raises DataError: if the file is missing, its layout is not known, a line does not fit it, or it holds no link
    """
    if not path.is_file():
        raise DataError(f"no such file; give a link file: {FORMATS}", path=path)
    rows = list(read_links(path))
    if not rows:
        raise DataError("holds no links", path=path)
    return pa.table([[getattr(row, name) for row in rows] for name in LINKS.names], schema=LINKS)


def audit_links(links: pa.Table, items: pa.Table, profiles: pa.Table, settings: AuditSettings | None = None) -> Audit:
    """Audit links against what the catalogue and the knowledge base say.

    :param links: columns ``item_id`` and ``entity_id`` (schema LINKS), as read: repeats, conflicts, unknown items included
    :param items: schema ITEMS, the whole catalogue
    :param profiles: schema PROFILES, the linked entities and, to tell lookalikes, others of their kind
    """
    settings = settings or AuditSettings()
    pairs = list(zip(links["item_id"].to_pylist(), links["entity_id"].to_pylist(), strict=True))
    found = LinkEvidence(pairs, items, profiles, settings)
    shares = share_kinds(found.ratios[:, found.checked])
    # a file without any evidence is neither believed nor refused
    right = probability(found.ratios, shares) if shares else np.ones(len(pairs))
    flag = found.in_catalogue & (right < settings.suspicious_below)
    rows = _table(found, right, flag, shares.right.value if shares else 1.0)
    metrics = _metrics(found, rows, shares)
    log.info("audited links", **{key: metrics[key] for key in ("rows", "checked", "suspicious", "estimated_precision")})
    ratios = {part: np.round(said[0, :3], 6).tolist() for part, said in found.said.items()}
    return Audit(metrics, rows, find_mismatch(found, metrics, settings), found.chance, ratios)


def write_audit(audit: Audit, out: Path) -> None:
    """Write ``metrics.json``, ``audit.parquet`` (``Audit.rows``), ``plots/scores.csv`` and ``plots/scores.png`` into ``out``."""
    counts = score_counts([one for one in audit.rows["score"].to_pylist() if one is not None], audit.chance)
    write_parquet(audit.rows, out / "audit.parquet")
    write_json(audit.metrics | {"refused": audit.mismatch is not None}, out / "metrics.json")
    plot_scores(counts, audit.metrics, out / "plots")


def _metrics(found: LinkEvidence, rows: pa.Table, shares: Shares | None) -> dict[str, Any]:
    linked = {item for item, _ in found.rows} & found.items.keys()
    suspicious = rows["flag"].to_pylist().count(True)
    right = shares.right if shares else None
    return {
        "rows": len(found.rows),
        "items": len(found.items),
        "linked_items": len(linked),
        "coverage": _share(len(linked), len(found.items)),
        "checked": found.status.count("checked"),
        "no_evidence": found.status.count("no evidence"),
        "unknown_items": found.status.count("unknown item"),
        "unknown_entities": found.status.count("unknown entity"),
        "suspicious": suspicious,
        "suspicious_share": _share(suspicious, int(found.in_catalogue.sum())),
        "duplicates": rows.num_rows - rows["repeats"].null_count,
        "estimated_precision": round(right.value, 6) if right else None,
        "precision_low": round(right.low, 6) if right else None,
        "precision_high": round(right.high, 6) if right else None,
        "estimated_lookalikes": round(shares.lookalikes, 6) if shares else None,
        "passing_by_chance": _share(int((found.chance > 0.5).sum()), len(found.chance)),
    }


def _table(found: LinkEvidence, right: Floats, flag: Mask, share: float) -> pa.Table:
    """The rows as ``ROWS``.

    :param right: probability of each row, shape (rows,)
    :param share: of right links in the file
    """
    rows, seen = [], _Seen()
    scores = probability(np.stack([found.alone, found.alone]), None)
    agreement = {part: values.to_pylist() for part, values in found.agreement.items()}
    for at, (item_id, entity_id) in enumerate(found.rows):
        item, entity = found.items.get(item_id, {}), found.entities.get(entity_id, {})
        rivals = [found.rival((item_id, entity_id), side) if item else (None, -np.inf) for side in (0, 1)]
        other_item, other_entity = (one if weight > max(found.alone[at], 0) else None for one, weight in rivals)
        row = {
            "item_id": item_id,
            "entity_id": entity_id,
            "title": item.get("title"),
            "year": item.get("year"),
            "name": _name(entity),
            "entity_year": _year(entity, item.get("year")),
            "status": found.status[at],
            "flag": bool(flag[at]),
            "score": float(scores[at]) if found.checked[at] else None,
            "probability": float(right[at]) if item else None,
            **{f"agreement_{part}": agreement[part][at] for part in (*PARTS, OTHERS)},
            "other_item": other_item,
            "other_entity": other_entity,
            "repeats": seen.repeats(item_id, entity_id),
        }
        rows.append({**row, "reason": _reason(found, row, share) if flag[at] else None})
    return pa.Table.from_pylist(rows, schema=ROWS)


def _reason(found: LinkEvidence, row: Mapping[str, Any], share: float) -> str:
    """Why a row is suspicious, in words."""
    said = [words for part, words in _SAID.items() if level(part, row[f"agreement_{part}"]) == "differs"]
    if row["other_item"]:
        said.append(f"the entity fits item {row['other_item']}, {_call(found.items[row['other_item']], 'title')}")
    if row["other_entity"]:
        said.append(f"{row['other_entity']}, {_call(found.entities[row['other_entity']], 'name')}, fits the item")
    if not said:
        said.append("nothing to compare" if row["status"] != "checked" else "too little agrees")
        said.append(f"in a file of which {share:.1%} is right")
    return "; ".join(said)


class _Seen:
    """What earlier rows of the file said."""

    def __init__(self) -> None:
        self._entity: dict[str, str] = {}
        self._item: dict[str, str] = {}
        self._pairs: set[tuple[str, str]] = set()

    def repeats(self, item: str, entity: str) -> str | None:
        """What of a row was there before."""
        before, claimed = self._entity.setdefault(item, entity), self._item.setdefault(entity, item)
        said = [f"item is also {before}"] if before != entity else []
        said += [f"entity is also item {claimed}"] if claimed != item else []
        if not said and (item, entity) in self._pairs:
            said = ["the same link again"]
        self._pairs.add((item, entity))
        return ", ".join(said) or None


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _name(entity: Mapping[str, Any]) -> str | None:
    name: str | None = entity.get("name") or next(iter(entity.get("names") or ()), None)
    return name


def _year(entity: Mapping[str, Any], wanted: int | None) -> int | None:
    """The entity's year nearest to the wanted one."""
    years = entity.get("years") or ()
    return min(years, key=lambda one: abs(one - (wanted or one)), default=None)


def _call(row: Mapping[str, Any], key: str) -> str:
    """Title and year of an item, or name and year of an entity."""
    year = row["year"] if key == "title" else _year(row, None)
    return f"{row[key]}{f' ({year})' if year else ''}"
