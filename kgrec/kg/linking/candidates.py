"""A candidate is a pair of item and entity that may be a link: proposed by blocking, or claimed by a link file, and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from kgrec.kg.linking.blocking import BlockingSettings, candidate_pairs
from kgrec.kg.linking.evidence import PARTS, SCORED, EvidenceSettings, as_score, score_pairs
from kgrec.kg.linking.identifiers import are_isbns
from kgrec.kg.linking.works import opened
from kgrec.kg.profiles import PROFILES, entity_profiles

#: one row per candidate, an item's best first. ``keys`` are the kinds of blocking keys both share, ``claim`` is what the row of
#: a link file added to the evidence (null without one), ``outcome`` is ``link`` or why not (``kgrec.kg.linking.assignment``)
CANDIDATES = pa.schema(
    [
        ("item_id", pa.string()), ("entity_id", pa.string()), ("name", pa.string()), ("years", pa.list_(pa.int16())),
        ("outcome", pa.string()), ("score", pa.float64()), ("evidence", pa.float64()), ("claim", pa.float64()),
        *((part, pa.float64()) for part in PARTS),
        ("keys", pa.string()),
    ]
)  # fmt: skip

Pair = tuple[str, str]


def find_candidates(
    items: pa.Table, claims: Mapping[Pair, float], store: Path, evidence: EvidenceSettings, blocking: BlockingSettings,
    languages: Sequence[str], memory_gb: float,
) -> tuple[pa.Table, pa.Table]:  # fmt: skip
    """Candidates from a store and from claims.

    :param items: schema ITEMS
    :param claims: pair -> what a link file's row adds to its evidence
    :return: schema ``CANDIDATES`` without outcome, in no order; and the profiles of their entities
    """
    asked = evidence.item_ids or ("isbn" if are_isbns(items["item_id"].to_pylist()) else "none")
    evidence = evidence.model_copy(update={"item_ids": asked})
    with opened(store, memory_gb) as connection:
        candidate_pairs(
            connection, items, evidence.types, blocking, item_ids=asked, year_tolerance=evidence.year_tolerance
        )
        connection.register("link_claimed", pa.table({"id": pa.array(sorted({one for _, one in claims}), pa.string())}))
        connection.execute(
            "CREATE TEMP TABLE link_wished AS SELECT entity FROM link_candidates UNION SELECT code(id) FROM link_claimed"
        )
        profiles = entity_profiles(connection, languages, "link_wished")
        blocked = connection.sql(
            "SELECT item_id, node(entity) AS entity_id, keys FROM link_candidates ORDER BY item_id, entity_id"
        ).to_arrow_table()
    keys = dict(zip(_pairs(blocked), blocked["keys"].to_pylist(), strict=True))
    known = set(profiles["entity_id"].to_pylist())
    pairs = sorted({*(pair for pair in keys if pair[1] in known), *(pair for pair in claims if pair[1] in known)})
    scored = score_pairs(items, profiles, _table(pairs), evidence)
    # a claimed entity of which the store says nothing has no evidence but the claim
    silent = sorted(pair for pair in claims if pair[1] not in known)
    scored = pa.concat_tables([scored, unscored(silent, evidence.prior)])
    return complete(scored, profiles, claims, keys), profiles


def unscored(pairs: Sequence[Pair], evidence: float | None = None) -> pa.Table:
    """Pairs of whose parts nothing is known, schema ``SCORED``."""
    score = None if evidence is None else as_score(evidence)
    rows = [{"item_id": item, "entity_id": entity, "evidence": evidence, "score": score} for item, entity in pairs]
    return pa.Table.from_pylist(rows, schema=SCORED)


def complete(scored: pa.Table, profiles: pa.Table, claims: Mapping[Pair, float], keys: Mapping[Pair, str]) -> pa.Table:
    """Scored pairs with names, years, claims added to the evidence, and keys: schema ``CANDIDATES``, outcomes null."""
    pairs = _pairs(scored)
    place = {entity: row for row, entity in enumerate(profiles["entity_id"].to_pylist())}
    rows = pa.array([place.get(entity) for _, entity in pairs], pa.int64())
    claim = [claims.get(pair) for pair in pairs]
    total = [
        None if one is None else one + (more or 0.0)
        for one, more in zip(scored["evidence"].to_pylist(), claim, strict=True)
    ]
    columns = {name: scored[name] for name in ("item_id", "entity_id", *PARTS)} | {
        "name": profiles["name"].combine_chunks().take(rows), "years": profiles["years"].combine_chunks().take(rows),
        "outcome": pa.nulls(len(pairs), pa.string()), "score": [None if one is None else as_score(one) for one in total],
        "evidence": total, "claim": pa.array(claim, pa.float64()),
        "keys": pa.array([keys.get(pair) for pair in pairs], pa.string()),
    }  # fmt: skip
    return pa.table({name: columns[name] for name in CANDIDATES.names}, schema=CANDIDATES)


def ordered(candidates: pa.Table) -> pa.Table:
    """By item, best first."""
    return candidates.sort_by([("item_id", "ascending"), ("evidence", "descending"), ("entity_id", "ascending")])


def empty_profiles() -> pa.Table:
    """What is known without a store."""
    return PROFILES.empty_table()


def _pairs(table: pa.Table) -> list[Pair]:
    return list(zip(table["item_id"].to_pylist(), table["entity_id"].to_pylist(), strict=True))


def _table(pairs: Sequence[Pair]) -> pa.Table:
    return pa.table(
        {
            "item_id": pa.array([item for item, _ in pairs], pa.string()),
            "entity_id": pa.array([entity for _, entity in pairs], pa.string()),
        }
    )
