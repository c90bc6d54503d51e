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

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import write_json, write_parquet
from kgrec.data.schemas import LINKS
from kgrec.errors import DataError
from kgrec.kg.audit_plots import plot_scores, score_counts
from kgrec.kg.id_spaces import describe_ids, recognise, relation
from kgrec.kg.link_files import FORMATS, read_links
from kgrec.kg.linking.evidence import EvidenceSettings, item_identifiers, score_pairs
from kgrec.kg.linking.identifiers import SCHEMES, are_isbns
from kgrec.kg.lookalikes import PAIRS, lookalikes
from kgrec.kg.precision import (
    Expected,
    Floats,
    level,
    levels,
    log_ratios,
    part_ratios,
    probability,
    share_kinds,
)
from kgrec.progress import get_logger

log = get_logger(__name__)

#: the parts of the evidence that tell right links from wrong ones; popularity does not
PARTS = ("title", "year", "ids", "creators", "cast", "type")
#: and what a row's lookalikes tell: 0 if another item or entity surely fits, and better, else 1
OTHERS = "others"
_SAID = {
    "title": "titles differ", "year": "years differ", "ids": "other ids elsewhere", "creators": "other creators",
    "cast": "another cast", "type": "of another type",
}  # fmt: skip

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


Pair = tuple[str, str]
Mask = npt.NDArray[np.bool_]

_ITEM = ["item_id", "title", "year", *SCHEMES]
_ENTITY = ["entity_id", "name", "names", "types", "years", *SCHEMES]
#: types that any kind of entity has
_GENERIC = ("common.", "base.", "user.", "type.", "freebase.", "http://www.w3.org/2002/07/owl#")
#: least share of the linked entities that must be other items of the catalogue to tell how ids were renumbered
_TELLING = 0.1


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
    desk = _Desk(links, items, profiles, settings)
    shares = share_kinds(desk.ratios[:, desk.checked])
    estimate = shares.right if shares else None
    # a file without any evidence is believed
    right = probability(desk.ratios, shares) if shares else np.ones(len(desk.rows))
    flag = desk.in_catalogue & (right < settings.suspicious_below)
    rows = desk.table(right, flag, estimate.value if estimate else 1.0)
    total, linked = len(desk.rows), {item for item, _ in desk.rows} & desk.items.keys()
    metrics = {
        "rows": total,
        "items": len(desk.items),
        "linked_items": len(linked),
        "coverage": _share(len(linked), len(desk.items)),
        "checked": int(desk.checked.sum()),
        "no_evidence": desk.status.count("no evidence"),
        "unknown_items": desk.status.count("unknown item"),
        "unknown_entities": desk.status.count("unknown entity"),
        "suspicious": int(flag.sum()),
        "suspicious_share": _share(int(flag.sum()), int(desk.in_catalogue.sum())),
        "duplicates": total - rows["repeats"].null_count,
        "estimated_precision": round(estimate.value, 6) if estimate else None,
        "precision_low": round(estimate.low, 6) if estimate else None,
        "precision_high": round(estimate.high, 6) if estimate else None,
        "estimated_lookalikes": round(shares.lookalikes, 6) if shares else None,
        "passing_by_chance": _share(int((desk.chance > 0.5).sum()), len(desk.chance)),
    }
    problem = desk.problem(metrics, settings)
    mismatch = f"{problem}; {desk.id_space()}" if problem else None
    log.info("audited links", **{key: metrics[key] for key in ("rows", "checked", "suspicious", "estimated_precision")})
    ratios = {part: np.round(values[0, :3], 6).tolist() for part, values in desk.said.items()}
    return Audit(metrics, rows, mismatch, desk.chance, ratios)


def write_audit(audit: Audit, out: Path) -> None:
    """Write ``metrics.json``, ``audit.parquet`` (``Audit.rows``), ``plots/scores.csv`` and ``plots/scores.png`` into ``out``."""
    counts = score_counts([one for one in audit.rows["score"].to_pylist() if one is not None], audit.chance)
    write_parquet(audit.rows, out / "audit.parquet")
    write_json(audit.metrics | {"refused": audit.mismatch is not None}, out / "metrics.json")
    plot_scores(counts, audit.metrics, out / "plots")


class _Desk:
    """The file's rows with their evidence, that of their lookalikes, and that of pairs at random.

    ``ratios`` (``log r`` and ``log s``) has the shape (2, rows); ``alone`` (``log r`` of the row itself, whatever else fits),
    ``checked`` and ``in_catalogue`` have (rows,), ``chance`` (random pairs,); ``status`` as in ``ROWS``.
    """

    def __init__(self, links: pa.Table, items: pa.Table, profiles: pa.Table, settings: AuditSettings) -> None:
        self.rows: list[Pair] = list(zip(links["item_id"].to_pylist(), links["entity_id"].to_pylist(), strict=True))
        self.items = {
            row["item_id"]: row for row in items.select([one for one in _ITEM if one in items.column_names]).to_pylist()
        }
        named = {entity for _, entity in self.rows}
        pairs = sorted({(item, entity) for item, entity in self.rows if item in self.items})
        item_ids = settings.evidence.item_ids or ("isbn" if are_isbns(self.items) else "none")
        around = lookalikes(items, profiles, item_ids)
        near = set(zip(around["item_id"].to_pylist(), around["entity_id"].to_pylist(), strict=True))
        wanted = named | {entity for _, entity in near}
        self.entities = {
            row["entity_id"]: row
            for batch in profiles.select(_ENTITY).to_batches()
            for row in batch.to_pylist()
            if row["entity_id"] in wanted and any(row[one] for one in _ENTITY[1:])
        }
        pairs = [pair for pair in pairs if pair[1] in self.entities]
        near = {pair for pair in near if pair[1] in self.entities}
        evidence = settings.evidence
        if not evidence.types:
            evidence = evidence.model_copy(update={"types": self._usual_types(named, settings.usual_types)})

        def score(some: Sequence[Pair]) -> pa.Table:
            return score_pairs(items, profiles, pa.Table.from_arrays(_columns(some), schema=PAIRS), evidence)

        random = _at_random(pairs, settings.random_pairs, settings.seed)
        chance = score(random)
        said = {part: part_ratios(part, chance[part], settings.expected, settings.unlisted) for part in PARTS}
        every = sorted({*pairs, *near})
        self.parts = score(every)
        both = log_ratios(self._by_part(self.parts), said)
        weights = both[0]
        sure = np.flatnonzero(_sure(self.parts))
        fitting = [every[at] for at in sure]
        self._by_entity, self._by_item = (_best_two(fitting, weights[sure], by) for by in (1, 0))
        place = {pair: at for at, pair in enumerate(every)}
        self.place = np.array([place.get(row, -1) if row[0] in self.items else -1 for row in self.rows], np.int64)
        known = np.any([levels(part, self.parts[part]) >= 0 for part in PARTS if part != "type"], axis=0)
        self.checked = np.array([at >= 0 and bool(known[at]) for at in self.place], dtype=bool)
        self.in_catalogue = np.array([item in self.items for item, _ in self.rows], dtype=bool)
        # a row that is no pair to compare takes the zeros behind the last pair
        self.ratios: Floats = np.pad(both, ((0, 0), (0, 1)))[:, self.place]
        self.alone: Floats = self.ratios[0].copy()
        self.others = pa.array([self._others(row, one) for row, one in zip(self.rows, self.alone, strict=True)])
        alone = log_ratios(self._by_part(chance), said)
        self.chance: Floats = probability(alone, None)
        others = pa.array([self._others(row, one) for row, one in zip(random, alone[0], strict=True)], pa.float64())
        self.said = said | {OTHERS: part_ratios(OTHERS, others, settings.expected, settings.unlisted)}
        self.ratios[:, self.checked] += self.said[OTHERS][:, levels(OTHERS, self.others)[self.checked]]
        self.ratios[:, ~self.checked] = 0.0
        self.status = [self._status(row, bool(ok)) for row, ok in zip(self.rows, self.checked, strict=True)]

    @staticmethod
    def _by_part(table: pa.Table) -> dict[str, pa.ChunkedArray]:
        return {part: table[part] for part in PARTS}

    def _others(self, row: Pair, alone: float) -> float:
        """0 if another item or entity surely fits, and better than ``alone``, else 1."""
        best = max(self.rival(row, kind)[1] for kind in ("item", "entity"))
        return 0.0 if best > alone + 1 else 1.0

    def _usual_types(self, named: Iterable[str], share: float) -> tuple[str, ...]:
        """Types that nearly all linked entities have, without those that say nothing."""
        known = [set(self.entities[one]["types"] or ()) for one in named if one in self.entities]
        known = [types for types in known if types]
        counts = Counter(one for types in known for one in types if not one.startswith(_GENERIC))
        return tuple(sorted(one for one, count in counts.items() if count >= share * len(known)))

    def rival(self, row: Pair, kind: str) -> tuple[str | None, float]:
        """The other item that surely fits the row's entity, or the other entity that fits its item, and its ``log r``."""
        side = 0 if kind == "item" else 1
        found = self._by_entity.get(row[1], []) if kind == "item" else self._by_item.get(row[0], [])
        return next(((pair[side], weight) for pair, weight in found if pair[side] != row[side]), (None, -np.inf))

    def _status(self, row: Pair, checked: bool) -> str:
        if row[0] not in self.items:
            return "unknown item"
        if row[1] not in self.entities:
            return "unknown entity"
        return "checked" if checked else "no evidence"

    def table(self, right: Floats, flag: Mask, share: float) -> pa.Table:
        """The rows as ``ROWS``."""
        columns: dict[str, list[Any]] = {name: [] for name in ROWS.names}
        parts = {part: self.parts[part].to_pylist() for part in PARTS}
        seen, even = _Seen(), probability(np.stack([self.alone, self.alone]), None)
        for at, (item_id, entity_id) in enumerate(self.rows):
            item, entity, place = self.items.get(item_id, {}), self.entities.get(entity_id, {}), int(self.place[at])
            checked = bool(self.checked[at])
            here = item_id in self.items
            other_item, item_weight = self.rival((item_id, entity_id), "item") if here else (None, -np.inf)
            other_entity, entity_weight = self.rival((item_id, entity_id), "entity")
            fits = max(float(self.alone[at]), 0.0)
            row = {
                "item_id": item_id,
                "entity_id": entity_id,
                "title": item.get("title"),
                "year": item.get("year"),
                "name": _name(entity),
                "entity_year": _year(entity, item.get("year")),
                "status": self.status[at],
                "flag": bool(flag[at]),
                "score": float(even[at]) if checked else None,
                "probability": float(right[at]) if self.in_catalogue[at] else None,
                **{f"agreement_{part}": parts[part][place] if checked else None for part in PARTS},
                f"agreement_{OTHERS}": self.others[at].as_py() if checked else None,
                "other_item": other_item if item_weight > fits else None,
                "other_entity": other_entity if entity_weight > fits else None,
                "repeats": seen.repeats(item_id, entity_id),
            }
            row["reason"] = self._reason(row, share) if flag[at] else None
            for name, values in columns.items():
                values.append(row[name])
        return pa.table(columns, schema=ROWS)

    def _reason(self, row: Mapping[str, Any], share: float) -> str:
        """Why a row is suspicious, in words."""
        said = [words for part, words in _SAID.items() if level(part, row[f"agreement_{part}"]) == "differs"]
        if row["other_item"]:
            said.append(f"the entity fits item {row['other_item']}, {_call(self.items[row['other_item']], 'title')}")
        if row["other_entity"]:
            said.append(f"{row['other_entity']}, {_call(self.entities[row['other_entity']], 'name')}, fits the item")
        if not said:
            said.append("nothing to compare" if row["status"] != "checked" else "too little agrees")
            said.append(f"in a file of which {share:.1%} is right")
        return "; ".join(said)

    def problem(self, metrics: Mapping[str, Any], settings: AuditSettings) -> str | None:
        """Why the file cannot be about this catalogue and this knowledge base; None if it can."""
        rows, known = len(self.rows), int(self.in_catalogue.sum())
        if max(_share(known, rows), metrics["coverage"]) < settings.min_overlap:
            return f"{known} of {rows} links are of items in the catalogue"
        entities = [entity for _, entity in self.rows]
        if self.entities and not any(entity in self.entities for entity in entities):
            return (
                f"none of the linked entities is known; the links name {describe_ids(entities)}, "
                f"the knowledge base has {describe_ids(list(self.entities))}"
            )
        if metrics["checked"] >= settings.min_checked and metrics["precision_high"] < settings.min_precision:
            return (
                f"an estimated {metrics['estimated_precision']:.1%} of the links are right (95 % interval "
                f"{metrics['precision_low']:.1%} to {metrics['precision_high']:.1%}, from {metrics['checked']} links with "
                f"evidence; at least {settings.min_precision:.0%} is asked for)"
            )
        return None

    def id_space(self) -> str:
        """Which numbering the file seems to use, and which the catalogue uses."""
        ids = {item for item, _ in self.rows}
        titles = {one: ([row["title"] or ""], [row["year"]] if row["year"] else []) for one, row in self.items.items()}
        names = {
            item: (self.entities[entity]["names"] or (), self.entities[entity]["years"] or ())
            for item, entity in self.rows
            if entity in self.entities
        }
        theirs, ours = recognise(names), recognise(titles)
        if theirs and (ours is None or theirs.space != ours.space):
            here = f"those of {ours}" if ours else describe_ids(self.items)
            return f"the link file's item ids are those of {theirs}{theirs.space.reach(ids)}, the catalogue's {here}"
        forms = f"the link file's item ids are {describe_ids(ids)}, the catalogue's {describe_ids(self.items)}"
        if elsewhere := self._other_column(ids):
            return f"{forms}; they are the catalogue's {elsewhere}"
        if not names:
            return forms
        fitting = [(item, best) for item, entity in self.rows if (best := self._only(entity))]
        moved = [(left, right) for left, right in fitting if left != right]
        how = relation(moved, list(self.items)) if len(moved) >= _TELLING * len(names) else None
        if how:
            return (
                f"{forms}; {len(moved)} linked entities are other items of the catalogue: the file seems to use {how}"
            )
        return f"{forms}; {len(fitting)} of {len(names)} linked entities are items of the catalogue"

    def _other_column(self, ids: Collection[str]) -> str | None:
        """The kind of id elsewhere that the file's ids are, if most of them are such ids of the catalogue's items."""
        for scheme, normal in SCHEMES.items():
            here = {code for row in self.items.values() for code in item_identifiers(row).get(scheme, ())}
            if here and sum(normal(one) in here for one in ids) >= 0.5 * min(len(ids), len(here)):
                return {"imdb_id": "IMDb ids", "tmdb_id": "TMDB ids", "isbn": "ISBNs", "asin": "ASINs"}[scheme]
        return None

    def _only(self, entity: str) -> str | None:
        """The item that an entity surely is, if there is one and no second."""
        found = self._by_entity.get(entity, [])
        clear = found and (len(found) == 1 or found[1][1] < found[0][1] - 1)
        return found[0][0][0] if clear else None


class _Seen:
    """What earlier rows of the file said."""

    def __init__(self) -> None:
        self._entity: dict[str, str] = {}
        self._item: dict[str, str] = {}
        self._pairs: set[Pair] = set()

    def repeats(self, item: str, entity: str) -> str | None:
        """What of a row was there before."""
        before, claimed = self._entity.setdefault(item, entity), self._item.setdefault(entity, item)
        said = [f"item is also {before}"] if before != entity else []
        said += [f"entity is also item {claimed}"] if claimed != item else []
        if not said and (item, entity) in self._pairs:
            said = ["the same link again"]
        self._pairs.add((item, entity))
        return ", ".join(said) or None


def _at_random(pairs: Sequence[Pair], about: int, seed: int) -> list[Pair]:
    """About ``about`` pairs of the items and entities of ``pairs``, none of ``pairs`` among them; at most 20 for each."""
    if not pairs:
        return []
    random, taken = np.random.default_rng(seed), set(pairs)
    entities = np.array([entity for _, entity in pairs], dtype=object)
    found: list[Pair] = []
    for _ in range(min(20, -(-about // len(pairs)))):
        mixed = zip((item for item, _ in pairs), random.permutation(entities), strict=True)
        found += [pair for pair in mixed if pair not in taken]
    return (
        [found[at] for at in sorted(random.choice(len(found), about, replace=False))] if len(found) > about else found
    )


def _sure(parts: pa.Table) -> Mask:
    """Pairs that fit on their own: an id is shared; or the title is, and something confirms it, and nothing speaks against it.

    Where titles are all that is known, none needs to be confirmed.
    """
    said = {part: levels(part, parts[part]) for part in PARTS}
    against = np.any([said[part] == 2 for part in ("year", "ids", "creators", "type")], axis=0)
    confirms = np.array([said[part] for part in ("year", "creators", "cast")])
    confirmed = np.any((confirms == 0) | (confirms == 1), axis=0) | bool(np.all(confirms == -1))
    sure: Mask = (said["ids"] == 0) | ((said["title"] == 0) & confirmed & ~against)
    return sure


def _best_two(pairs: Sequence[Pair], weights: Floats, by: int) -> dict[str, list[tuple[Pair, float]]]:
    """The two heaviest pairs of each item (``by`` 0) or entity (``by`` 1), heaviest first, ties by id."""
    found: dict[str, list[tuple[Pair, float]]] = {}
    for at in np.argsort(-weights, kind="stable"):
        kept = found.setdefault(pairs[at][by], [])
        if len(kept) < 2:
            kept.append((pairs[at], float(weights[at])))
    return found


def _columns(pairs: Sequence[Pair]) -> list[pa.Array]:
    return [pa.array([pair[at] for pair in pairs], pa.string()) for at in (0, 1)]


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
