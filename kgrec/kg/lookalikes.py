"""A lookalike is another thing a link could mean: a pair of item and entity that shares a title or an id elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

from kgrec.kg.linking.evidence import item_identifiers
from kgrec.kg.linking.identifiers import SCHEMES, identifiers
from kgrec.kg.titles import title_forms
from kgrec.progress import item_progress

#: one row per pair, sorted
PAIRS = pa.schema([("item_id", pa.string()), ("entity_id", pa.string())])

Key = tuple[str, str]


def lookalikes(items: pa.Table, profiles: pa.Table, item_ids: str = "none", most: int = 100) -> pa.Table:
    """Pairs that share a title form (``kgrec.kg.titles``) or an id elsewhere.

    :param items: schema ITEMS
    :param profiles: schema PROFILES
    :param item_ids: what an item's id is elsewhere, see ``EvidenceSettings``
    :param most: a title that more items, or more entities, have says nothing and is passed over
    :return: schema ``PAIRS``, sorted, distinct
    """
    by_key: dict[Key, list[str]] = defaultdict(list)
    for row in items.to_pylist():
        titles = [row["title"]] if row["title"] else []
        for key in _keys(titles, item_identifiers(row, item_ids)):
            by_key[key].append(row["item_id"])
    entities: dict[Key, list[str]] = defaultdict(list)
    columns = ["entity_id", "names", *SCHEMES]
    with item_progress("looking for lookalikes", profiles.num_rows, "entities") as bar:
        for batch in profiles.select(columns).to_batches(max_chunksize=1 << 14):
            for row in batch.to_pylist():
                ids = identifiers((scheme, value) for scheme in SCHEMES for value in row[scheme] or ())
                for key in _keys(row["names"] or (), ids):
                    if key in by_key:
                        entities[key].append(row["entity_id"])
            bar.advance(batch.num_rows)
    pairs = {
        (item, entity)
        for key, found in entities.items()
        if max(len(found), len(by_key[key])) <= most
        for item in by_key[key]
        for entity in found
    }
    return pa.Table.from_pylist([dict(zip(PAIRS.names, pair, strict=True)) for pair in sorted(pairs)], schema=PAIRS)


def _keys(titles: Iterable[str], ids: dict[str, frozenset[str]]) -> set[Key]:
    keys = {("title", form) for title in titles for form in title_forms(title).forms}
    return keys | {(scheme, one) for scheme, found in ids.items() for one in found}
