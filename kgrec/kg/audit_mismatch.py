"""A mismatch is a link file that is about another catalogue or another knowledge base, and what can be told of its ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from kgrec.kg.audit_evidence import LinkEvidence
from kgrec.kg.id_spaces import describe_ids, recognise, relation
from kgrec.kg.linking.evidence import item_identifiers
from kgrec.kg.linking.identifiers import SCHEMES

if TYPE_CHECKING:
    from kgrec.kg.audit import AuditSettings

#: least share of the linked entities that must be other items of the catalogue to tell how ids were renumbered
_TELLING = 0.1


def find_mismatch(found: LinkEvidence, metrics: Mapping[str, Any], settings: AuditSettings) -> str | None:
    """Why the file cannot be about this catalogue and this knowledge base, and whose ids it uses; None if it can."""
    problem = _problem(found, metrics, settings)
    return f"{problem}; {describe_id_space(found)}" if problem else None


def _problem(found: LinkEvidence, metrics: Mapping[str, Any], settings: AuditSettings) -> str | None:
    rows, known = len(found.rows), int(found.in_catalogue.sum())
    if max(known / max(rows, 1), metrics["coverage"]) < settings.min_overlap:
        return f"{known} of {rows} links are of items in the catalogue"
    entities = [entity for _, entity in found.rows]
    if found.entities and not any(entity in found.entities for entity in entities):
        return (
            f"none of the linked entities is known; the links name {describe_ids(entities)}, "
            f"the knowledge base has {describe_ids(list(found.entities))}"
        )
    if metrics["checked"] >= settings.min_checked and metrics["precision_high"] < settings.min_precision:
        return (
            f"an estimated {metrics['estimated_precision']:.1%} of the links are right (95 % interval "
            f"{metrics['precision_low']:.1%} to {metrics['precision_high']:.1%}, from {metrics['checked']} links with "
            f"evidence; at least {settings.min_precision:.0%} is asked for)"
        )
    return None


def describe_id_space(found: LinkEvidence) -> str:
    """Which numbering the file seems to use, and which the catalogue uses."""
    ids = {item for item, _ in found.rows}
    titles = {one: ([row["title"] or ""], [row["year"]] if row["year"] else []) for one, row in found.items.items()}
    names = {
        item: (found.entities[entity]["names"] or (), found.entities[entity]["years"] or ())
        for item, entity in found.rows
        if entity in found.entities
    }
    theirs, ours = recognise(names), recognise(titles)
    if theirs and (ours is None or theirs.space != ours.space):
        here = f"those of {ours}" if ours else describe_ids(found.items)
        return f"the link file's item ids are those of {theirs}{theirs.space.reach(ids)}, the catalogue's {here}"
    forms = f"the link file's item ids are {describe_ids(ids)}, the catalogue's {describe_ids(found.items)}"
    if elsewhere := _other_column(found, ids):
        return f"{forms}; they are the catalogue's {elsewhere}"
    if not names:
        return forms
    fitting = [(item, best) for item, entity in found.rows if (best := found.only_item(entity))]
    moved = [(left, right) for left, right in fitting if left != right]
    how = relation(moved, list(found.items)) if len(moved) >= _TELLING * len(names) else None
    if how:
        return f"{forms}; {len(moved)} linked entities are other items of the catalogue: the file seems to use {how}"
    return f"{forms}; {len(fitting)} of {len(names)} linked entities are items of the catalogue"


def _other_column(found: LinkEvidence, ids: Collection[str]) -> str | None:
    """The kind of id elsewhere that the file's ids are, if most of them are such ids of the catalogue's items."""
    for scheme, normal in SCHEMES.items():
        here = {code for row in found.items.values() for code in item_identifiers(row).get(scheme, ())}
        if here and sum(normal(one) in here for one in ids) >= 0.5 * min(len(ids), len(here)):
            return {"imdb_id": "IMDb ids", "tmdb_id": "TMDB ids", "isbn": "ISBNs", "asin": "ASINs"}[scheme]
    return None
