"""The knowledge graph on the page: its relations with their size, reach and sharpness, its hubs, and what was kept out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec.data.io import read_json, read_parquet
from kgrec.errors import DataError
from kgrec.kg.quality_tables import DROPPED, HUBS, ISOLATED, QUALITY, short_name

#: relations shown before the fold, and hubs and isolated items shown at all
FIRST, FEW = 14, 8


@dataclass(frozen=True)
class GraphView:
    """What the page says of the graph."""

    facts: list[tuple[str, str]]
    """figures with their names"""
    relations: list[dict[str, Any]]
    """rows of ``QUALITY`` with ``name``, the relation as it fits a column; biggest first"""
    leaks: list[dict[str, Any]]
    """those of them that are suspected to leak"""
    hubs: list[dict[str, Any]]
    """rows of ``HUBS`` with ``name`` and ``by``, most items first"""
    isolated: list[str]
    """titles of items without company, a few"""
    dropped: list[dict[str, Any]]
    """rows of ``DROPPED``, most facts first"""


def graph_view(quality: Path) -> GraphView:
    """Read the relation report of the kg stage. :raises DataError: if it is missing or damaged"""
    quality = Path(quality)
    relations = read_parquet(quality / "relations.parquet", QUALITY).to_pylist()
    hubs = read_parquet(quality / "hubs.parquet", HUBS).to_pylist()
    isolated = read_parquet(quality / "isolated.parquet", ISOLATED).to_pylist()
    dropped = read_parquet(quality / "dropped.parquet", DROPPED).to_pylist()
    said = read_json(quality / "quality.json")
    try:
        facts = [
            ("facts", f"{said['triples']:,}"),
            ("relations", f"{said['relations']:,}"),
            ("facts that may leak", f"{said['triples_suspected']:,}"),
            ("relations stated twice", f"{said['relations_stated_twice']:,}"),
            ("hubs", f"{said['hubs']:,}"),
            ("items joined to none", f"{said['items_without_fact'] + said['items_without_company']:,}"),
            ("items joined over hubs only", f"{said['items_over_hubs_only']:,}"),
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"is not what kg writes ({error!r}); run kg again", path=quality / "quality.json") from None
    for row in relations:
        row["name"] = short_name(row["relation"])
        row["double"] = row["double"] and short_name(row["double"])
        row["inverse"] = row["inverse"] and short_name(row["inverse"])
    relations.sort(key=lambda row: (-row["triples"], row["relation"]))
    for row in hubs:
        row["name"], row["by"] = row["name"] or row["entity_id"], short_name(row["relation"])
    for row in dropped:
        row["pattern"] = row["pattern"].rpartition("://")[2]
        row["relation"] = row["relation"].rpartition("://")[2]
    dropped.sort(key=lambda row: (-row["facts"], row["relation"]))
    shut = [row["name"] or row["entity_id"] for row in isolated if row["item_id"] is not None]
    return GraphView(facts, relations, [row for row in relations if row["leak"]], hubs[:FEW], shut[:FEW], dropped)
