"""An explanation says which entities an item might have been, what spoke for and against each, and why one won or none did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from kgrec.data.io import read_json, read_parquet
from kgrec.data.schemas import ITEMS, LINKS
from kgrec.errors import DataError
from kgrec.kg.linking.assignment import REASONS, UNLINKED
from kgrec.kg.linking.candidates import CANDIDATES
from kgrec.kg.linking.evidence import PARTS, EvidenceSettings, weighed
from kgrec.kg.titles import plain


@dataclass(frozen=True)
class Explanation:
    """Why an item has its entity, or none."""

    #: one row of the items
    item: dict[str, Any]
    #: the entity linked to it; None without one
    entity_id: str | None
    #: of ``CANDIDATES``, best first, each with ``weights``: what each part, the claim and ``prior`` add to the evidence
    candidates: list[dict[str, Any]]
    #: in words
    verdict: str


def explain_item(item: str, folder: Path, items: Path) -> Explanation:
    """Explain the link of an item.

    :param item: id of an item, or its title
    :param folder: what ``link_items`` wrote
    :param items: the items.parquet it read
    :raises DataError: if a file is missing, or no item, or more than one, is meant
    """
    row = _find(item, items)
    report = read_json(folder / "audit.json")
    settings, margin, least = (report["settings"][name] for name in ("evidence", "margin", "min_score"))
    evidence = EvidenceSettings.model_validate(settings)
    every = read_parquet(folder / "candidates.parquet", CANDIDATES)
    mine = every.filter(pc.equal(every["item_id"], row["item_id"])).to_pylist()
    for one in mine:
        one["weights"] = _weights(evidence, one)
    links = read_parquet(folder / "links.parquet", LINKS)
    link = next(iter(links.filter(pc.equal(links["item_id"], row["item_id"])).to_pylist()), None)
    if link:
        rivals = every.filter(
            pc.and_(pc.equal(every["entity_id"], link["entity_id"]), pc.not_equal(every["item_id"], row["item_id"]))
        ).to_pylist()
        verdict = _won(link, mine, rivals, "evidence" in report["methods"], least)
    else:
        unlinked = read_parquet(folder / "unlinked.parquet", UNLINKED)
        [reason] = unlinked.filter(pc.equal(unlinked["item_id"], row["item_id"])).to_pylist() or [{"reason": None}]
        verdict = _lost(reason["reason"], mine, margin, least)
    return Explanation(row, link["entity_id"] if link else None, mine, verdict)


def _find(item: str, path: Path) -> dict[str, Any]:
    catalogue = read_parquet(path, ITEMS)
    found = catalogue.filter(pc.equal(catalogue["item_id"], item)).to_pylist()
    if not found:
        wanted = plain(item)
        same = [plain(title or "") == wanted and bool(wanted) for title in catalogue["title"].to_pylist()]
        found = catalogue.filter(same).to_pylist()
    if not found:
        raise DataError(f"has no item {item!r}, neither as id nor as title", path=path)
    if len(found) > 1:
        which = "; ".join(f"{row['item_id']} ({row['title']}, {row['year'] or 'no year'})" for row in found[:10])
        raise DataError(f"has {len(found)} items called {item!r}, give an id: {which}", path=path)
    return found[0]


def _weights(evidence: EvidenceSettings, row: dict[str, Any]) -> dict[str, float]:
    if row["evidence"] is None:
        return {}
    parts = weighed(evidence, {part: row[part] for part in PARTS})
    claim = {} if row["claim"] is None else {"claim": row["claim"]}
    return {"prior": evidence.prior, **parts, **claim}


def _won(
    link: dict[str, Any], mine: list[dict[str, Any]], rivals: list[dict[str, Any]], by_evidence: bool, least: float
) -> str:
    if not by_evidence:
        return f"{link['entity_id']}: a link file ({link['method']}) has it, and link.methods asks for files alone"
    [own] = [row for row in mine if row["entity_id"] == link["entity_id"]]
    said = [f"{link['entity_id']} won: score {own['score']:.3f}, at least {least:g} is asked for"]
    next_best = max((row for row in mine if row is not own), key=lambda row: row["evidence"], default=None)
    if next_best is None:
        said.append("nothing else was proposed")
    elif own["evidence"] >= next_best["evidence"]:
        ahead = own["evidence"] - next_best["evidence"]
        said.append(
            f"{ahead:.1f} ahead of the next entity, {next_best['entity_id']}, most of it by {_lead(own, next_best)}"
        )
    else:
        said.append("entities with more evidence went to other items")
    if rivals:
        best = max(rivals, key=lambda row: row["evidence"])
        said.append(f"{own['evidence'] - best['evidence']:.1f} ahead of the next item for it ({best['item_id']})")
    if own["claim"] is not None:
        said.append(f"a link file has it ({link['method']})")
    return "; ".join(said)


def _lead(own: dict[str, Any], other: dict[str, Any]) -> str:
    """The parts in which one candidate is ahead of another, greatest first, three at most."""
    ahead = {part: weight - other["weights"].get(part, 0.0) for part, weight in own["weights"].items()}
    ahead |= {part: -weight for part, weight in other["weights"].items() if part not in own["weights"]}
    best = sorted((part for part in ahead if ahead[part] > 0), key=lambda part: -ahead[part])[:3]
    return ", ".join(f"{part} ({ahead[part]:+.1f})" for part in best) or "nothing in particular"


def _lost(reason: str | None, mine: list[dict[str, Any]], margin: float, least: float) -> str:
    if reason is None:
        return "the item is not among those that were linked"
    said = f"no link: {REASONS[reason]}"
    if reason == "below_min_score":
        return f"{said}: score {mine[0]['score']:.3f}, at least {least:g} is asked for"
    return f"{said}; less than {margin:g} apart" if reason.startswith("tie") else said
