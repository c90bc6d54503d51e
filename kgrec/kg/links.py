"""Linking decides which entity of the knowledge graph an item is: one entity per item and one item per entity.

Two methods serve, alone or together. ``file``: link files claim links (``kgrec.kg.linking.claims``). ``evidence``: candidates
from a store of the knowledge base are compared with the item (``kgrec.kg.linking.evidence``) and assigned where the evidence
decides. Together, a claim is one more piece of evidence. With a store at hand, the links are audited, and a link file about
another id space is refused.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from kgrec.data.io import read_parquet, write_json, write_parquet
from kgrec.data.schemas import ITEMS, LINKS
from kgrec.errors import ConfigError, DataError
from kgrec.kg.audit import AuditSettings, audit_links, write_audit
from kgrec.kg.link_files import has_files
from kgrec.kg.linking.assignment import REASONS, UNLINKED, AssignmentSettings, assign
from kgrec.kg.linking.blocking import BlockingSettings
from kgrec.kg.linking.candidates import CANDIDATES, complete, empty_profiles, find_candidates, ordered, unscored
from kgrec.kg.linking.claims import Claims, check_claims, read_claims
from kgrec.kg.linking.evidence import EvidenceSettings
from kgrec.kg.linking.identifiers import SCHEMES
from kgrec.kg.linking.works import TYPES_OF, has_names
from kgrec.progress import get_logger

log = get_logger(__name__)

Method = Literal["file", "evidence"]
_EXAMPLES = 20


class LinkSettings(AssignmentSettings):
    """How items get their entities."""

    methods: tuple[Method, ...] | None = None
    """``file`` takes what link files claim, ``evidence`` what comparing finds, both weigh claims among the evidence; null uses
    whatever there is: link files, a store with names in it, or both."""

    kind: Literal["film", "book"] = "film"
    """What the items are; decides the types of their entities, unless ``evidence.types`` names them. Books are ``editions``."""

    claim: float = 7.0
    """Evidence (logarithm of the odds) that a link file's row adds to a pair, times the row's score."""

    formats: Literal["auto", "kb4rec", "recbole", "kgat", "table"] = "auto"
    """Layout of the link files; ``auto`` looks at each file's first line."""

    conflicts: Literal["first", "error"] = "first"
    """``first`` keeps the higher score, then the earlier file, then the earlier line; ``error`` refuses conflicts."""

    unknown_items: Literal["count", "error"] = "count"
    """A link whose item is not in the catalogue: counted (KB4Rec spans all of MovieLens-20M) or an error."""

    min_item_coverage: float = Field(0.2, ge=0, le=1)
    """Least share of the catalogue that must get a link; below it link file or store is taken for another catalogue's."""

    min_title_agreement: float = Field(0.3, ge=0, le=1)
    """Least share of links whose entity name looks like the item's title, where the link file names its entities."""

    languages: tuple[str, ...] = ("en",)
    """Languages of the names that are shown, and of people's names, best first; titles are compared in all languages."""

    evidence: EvidenceSettings = EvidenceSettings()
    """How much each part of the evidence counts."""

    blocking: BlockingSettings = BlockingSettings()
    """Which pairs are compared."""

    audit: AuditSettings = AuditSettings()
    """What makes a link suspicious and a link file refused; ``audit.evidence`` is taken from ``evidence``."""

    memory_gb: float = Field(1.0, gt=0)
    """Memory DuckDB may use before it works on disk; changes no output."""

    def compare(self) -> EvidenceSettings:
        """``evidence`` with the types of ``kind`` where it names none; books come in editions."""
        types = self.evidence.types or TYPES_OF[self.kind]
        return self.evidence.model_copy(
            update={"types": types, "editions": self.evidence.editions or self.kind == "book"}
        )


def link_items(
    items: Path, links: Path | None, store: Path | None, out: Path, settings: LinkSettings
) -> dict[str, Any]:
    """Write which entity each item is, and why.

    ``out`` gets ``links.parquet`` (one row per linked item), ``candidates.parquet`` (every pair compared, the agreement of
    each part, the outcome), ``unlinked.parquet`` (every other item, the reason, its best candidate), ``audit.json``, and what
    ``write_audit`` writes.

    :param items: items.parquet of the interactions stage; columns ``tmdb_id``, ``isbn``, ``asin`` are used if there
    :param links: folder of link files, see ``link_files``; None, or an empty folder, without
    :param store: folder of the extract stage; None, or a store in which nothing has a name, without
    :return: counts and coverage, as in audit.json
    :raises DataError: if a line is malformed, an item is unknown or in conflict and the settings forbid it, so few items
        get a link that link file or store must be about another catalogue, or the audit finds another id space
    :raises ConfigError: if ``methods`` asks for what is not given
    """
    items, out = Path(items), Path(out)
    links = links if links is not None and has_files(links) else None
    store = store if store is not None and has_names(store) else None
    methods = _methods(settings, links, store)
    catalogue = _read_items(items)
    titles = dict(zip(catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), strict=True))
    claims, agreeing, compared = Claims(), 0, 0
    if links is not None and "file" in methods:
        claims = read_claims(links, titles, settings.formats, settings.min_score)
        agreeing, compared = check_claims(
            claims, titles, links, conflicts=settings.conflicts, unknown_items=settings.unknown_items,
            min_item_coverage=settings.min_item_coverage, min_title_agreement=settings.min_title_agreement,
        )  # fmt: skip
    weights = {(row.item_id, row.entity_id): settings.claim * row.score for row in claims.accepted}
    evidence = settings.compare()
    if store is None:
        profiles = empty_profiles()
        candidates = complete(unscored(sorted(weights)), profiles, weights, {})
    else:
        candidates, profiles = find_candidates(
            catalogue, weights, store, evidence, settings.blocking, settings.languages, settings.memory_gb
        )
    audit_settings = settings.audit.model_copy(update={"evidence": evidence})
    if claims.rows:
        audit = audit_links(_pairs_of(claims), catalogue, profiles, audit_settings)
        if store is not None and audit.mismatch:
            raise DataError(audit.mismatch, path=links)
    if "evidence" in methods:
        outcome = assign(candidates, settings)["outcome"]
    else:
        outcome = pa.chunked_array([_as_claimed(candidates)])
    candidates = ordered(
        candidates.set_column(CANDIDATES.get_field_index("outcome"), CANDIDATES.field("outcome"), outcome)
    )
    table = _links(candidates, claims, scored="evidence" in methods)
    unlinked = _unlinked(catalogue, candidates, "no_candidate" if "evidence" in methods else "not_claimed")
    if table.num_rows < settings.min_item_coverage * len(titles):
        raise DataError(
            f"has entities for only {table.num_rows} of {len(titles)} items (link.min_item_coverage is "
            f"{settings.min_item_coverage:.1%}); is it about them, and is link.kind: {settings.kind} right?",
            path=store,
        )  # fmt: skip
    if not claims.rows or "evidence" in methods:
        audit = audit_links(table, catalogue, profiles, audit_settings)
    refused = _refused(candidates, titles)
    counts = {
        "items": len(titles),
        "links": table.num_rows,
        "coverage": round(table.num_rows / max(len(titles), 1), 6),
        "methods": dict(sorted(Counter(table["method"].to_pylist()).items())),
        "candidates": candidates.num_rows,
        "unlinked": dict(sorted(Counter(unlinked["reason"].to_pylist()).items())),
        "links_read": len(claims.rows),
        "below_min_score": claims.weak,
        "unknown_items": len(claims.unknown),
        "conflicts": len(claims.conflicts),
        "claims_refused": len(refused),
        "titles_compared": compared,
        "titles_agreeing": agreeing,
    }
    report = {
        "counts": counts,
        "methods": list(methods),
        "settings": settings.model_copy(update={"evidence": evidence}).model_dump(mode="json", exclude={"memory_gb"}),
        **claims.report(titles),
        "claims_refused": refused[:_EXAMPLES],
    }
    write_parquet(table, out / "links.parquet", sort_by=["item_id"])
    write_parquet(candidates, out / "candidates.parquet")
    write_parquet(unlinked, out / "unlinked.parquet", sort_by=["item_id"])
    write_json(report, out / "audit.json")
    write_audit(audit, out)
    log.info("linked items", links=table.num_rows, items=len(titles), conflicts=len(claims.conflicts))
    return counts


def _methods(settings: LinkSettings, links: Path | None, store: Path | None) -> tuple[Method, ...]:
    given: dict[Method, Path | None] = {"file": links, "evidence": store}
    asked = settings.methods if settings.methods is not None else tuple(one for one, place in given.items() if place)
    for one in asked:
        if given[one] is None:
            what = "a folder with link files" if one == "file" else "a store in which entities have names"
            raise ConfigError(f"link.methods: {one} needs {what}; give one, or leave {one} out")
    if not asked:
        raise ConfigError("link.methods: nothing to link by; give a folder with link files, a store, or both")
    return asked


def _read_items(path: Path) -> pa.Table:
    present = pq.read_schema(path).names if path.exists() else []
    return read_parquet(
        path, columns=[*ITEMS.names, *(one for one in SCHEMES if one in present and one not in ITEMS.names)]
    )


def _pairs_of(claims: Claims) -> pa.Table:
    rows = claims.rows
    return pa.Table.from_pydict({name: [getattr(row, name) for row in rows] for name in LINKS.names}, schema=LINKS)


def _as_claimed(candidates: pa.Table) -> pa.Array:
    """Outcomes where the claims alone decide."""
    claimed = pc.is_valid(candidates["claim"])
    linked = pc.is_in(candidates["item_id"], candidates["item_id"].filter(claimed).combine_chunks())
    return pc.if_else(claimed, "link", pc.if_else(linked, "beaten", "not_claimed")).combine_chunks()


def _links(candidates: pa.Table, claims: Claims, scored: bool) -> pa.Table:
    """Schema LINKS. A claimed link has the method of its file; where claims alone decide also its score."""
    chosen = candidates.filter(pc.equal(candidates["outcome"], "link"))
    claimed = {(row.item_id, row.entity_id): row for row in claims.accepted}
    rows = []
    for row in chosen.select(["item_id", "entity_id", "score"]).to_pylist():
        claim = claimed.get((row["item_id"], row["entity_id"]))
        score = row["score"] if scored or claim is None else claim.score
        rows.append({**row, "method": claim.method if claim else "evidence", "score": score})
    return pa.Table.from_pylist(rows, schema=LINKS)


def _unlinked(catalogue: pa.Table, candidates: pa.Table, nothing: str) -> pa.Table:
    """Every item without a link, schema ``UNLINKED``; ``nothing`` is the reason where there is no candidate."""
    best: dict[str, dict[str, Any]] = {}
    for row in candidates.select(["item_id", "entity_id", "name", "score", "outcome"]).to_pylist():
        best.setdefault(row["item_id"], row)
    rows = []
    for item_id, title in zip(catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), strict=True):
        row = best.get(item_id, {"outcome": nothing})
        if row["outcome"] in REASONS:
            rows.append({**row, "item_id": item_id, "title": title, "reason": row["outcome"]})
    return pa.Table.from_pylist(rows, schema=UNLINKED)


def _refused(candidates: pa.Table, titles: dict[str, str | None]) -> list[dict[str, Any]]:
    """Claims that did not become links."""
    lost = candidates.filter(pc.and_(pc.is_valid(candidates["claim"]), pc.not_equal(candidates["outcome"], "link")))
    columns = ["item_id", "entity_id", "name", "score", "outcome"]
    return [{**row, "title": titles[row["item_id"]]} for row in lost.select(columns).to_pylist()]
