"""Ready-made graphs as the kg stage reads them: RecBole ``.kg``, KGAT's ``kg_final``, and metadata columns of items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from kgrec.kg.formats.graph import Triple
from kgrec.kg.formats.kgat import KGAT_MAPS, KGAT_TRIPLES, KgatFolder
from kgrec.kg.formats.recbole import read_recbole_kg
from kgrec.kg.formats.spelling import relation_name
from kgrec.kg.ids import item_node

__all__ = [
    "KGAT_MAPS", "KGAT_TRIPLES", "METADATA", "KgatFolder", "Triple", "metadata_triples", "read_recbole_kg", "relation_name",
]  # fmt: skip

#: metadata column -> prefix of the entities its values become
METADATA = {
    "director": "person", "actor": "person", "writer": "person",
    "genre": "genre", "country": "country", "language": "language",
}  # fmt: skip


def metadata_triples(items: pa.Table, columns: Sequence[str], nodes: Mapping[str, str]) -> Iterator[Triple]:
    """``(item, metadata.<column>, <prefix>:<value>)`` for each value of the list columns of items.parquet."""
    identifiers = items["item_id"].to_pylist()
    for column in columns:
        prefix = METADATA[column]
        for item, values in zip(identifiers, items[column].to_pylist(), strict=True):
            for value in values or ():
                text = " ".join(value.split())
                if text and text != "N/A":
                    yield nodes.get(item, item_node(item)), f"metadata.{column}", f"{prefix}:{text}"
