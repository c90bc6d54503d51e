"""Blocking proposes the pairs worth scoring: an item and an entity that share a key. Nothing is compared with everything.

=======  =================================================================================================================
key      shared by
=======  =================================================================================================================
id       an IMDb, TMDB, ISBN or ASIN id; whatever the entity's type
title    a form of the titles (``kgrec.kg.titles``), blanks left out
part     a form of one title that is a part of the other: what stands before or behind a colon
words    two words of four letters or more
word     one such word, in titles whose years are within the tolerance
maker    a director or author, and a word of the titles or years within the tolerance
=======  =================================================================================================================

Keys that too many entities have are left out, before anything is joined by them; a whole title's key never is. Of an item's
candidates those with the most and rarest shared keys stay. All of it runs in DuckDB, which spills to disk.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
from pydantic import Field

from kgrec.config import Settings
from kgrec.kg.linking.evidence import item_identifiers
from kgrec.kg.linking.identifiers import SCHEMES
from kgrec.kg.linking.people import person
from kgrec.kg.linking.works import prepare, register
from kgrec.kg.literals import unescape
from kgrec.kg.sql import run_sql
from kgrec.kg.titles import title_forms

_strings = pa.list_(pa.string())
_KEYS = pa.schema([("item_id", pa.string()), ("kind", pa.string()), ("key", pa.string())])
_YEARS = pa.schema([("item_id", pa.string()), ("year", pa.int16())])


class BlockingSettings(Settings):
    """Which pairs are scored."""

    max_block: int = Field(300, ge=1)
    """Entities beyond which a part, a pair of words, or a maker is too common a key."""
    max_word_block: int = Field(30, ge=1)
    """Entities of one year beyond which a word of their titles is too common a key."""
    max_candidates: int = Field(30, ge=1)
    """Most candidates of an item."""


def candidate_pairs(
    connection: duckdb.DuckDBPyConnection,
    items: pa.Table,
    types: tuple[str, ...],
    settings: BlockingSettings,
    *,
    item_ids: str = "none",
    year_tolerance: int = 2,
) -> None:
    """Make the table ``link_candidates(item_id, entity, keys)`` in ``connection``; ``keys`` are the kinds both share.

    :param connection: with the views and functions of ``kgrec.kg.store.open_store``
    :param items: schema ITEMS
    :param types: types an entity must have one of, unless it shares an id
    :param item_ids: scheme of the items' own ids, or ``none``
    """
    prepare(connection, ())
    register(connection, "literal_titles", ["VARCHAR"], "VARCHAR[]", _literal_titles)
    register(connection, "literal_person", ["VARCHAR"], "VARCHAR", _literal_person)
    register(connection, "scheme_key", ["VARCHAR", "VARCHAR"], "VARCHAR", _scheme_key)
    keys, years = _item_keys(items, item_ids)
    connection.register("link_item_keys", keys)
    connection.register("link_item_years", years)
    connection.execute("CREATE OR REPLACE TEMP TABLE link_types (type VARCHAR)")
    connection.executemany("INSERT INTO link_types VALUES (?)", [[one] for one in types])
    limit, narrow = {"max_block": settings.max_block}, {"max_word_block": settings.max_word_block}
    tolerance = {"tolerance": year_tolerance}
    for name, parameters in (
        ("link_wanted", {}), ("link_titles", {}), ("link_years", {}), ("link_words", {}), ("link_by_id", {}),
        ("link_by_title", limit), ("link_by_words", limit), ("link_by_word", narrow | tolerance),
        ("link_by_maker", limit | tolerance), ("link_candidates", {"max_candidates": settings.max_candidates} | tolerance),
    ):  # fmt: skip
        run_sql(connection, name, **parameters)


def _item_keys(items: pa.Table, item_ids: str) -> tuple[pa.Table, pa.Table]:
    """Keys of the items: kinds ``id``, ``title``, ``part``, ``maker``; and their years."""
    keys: list[dict[str, str]] = []
    years = []
    for row in items.to_pylist():
        title = title_forms(row["title"] or "")
        found = [("title", form) for form in title.forms] + [("part", part) for part in title.parts]
        for scheme, codes in item_identifiers(row, item_ids).items():
            found += [("id", f"{scheme}:{code}") for code in sorted(codes)]
        makers = {" ".join(person(name)) for role in ("director", "writer") for name in row[role] or ()}
        found += [("maker", name) for name in sorted(makers - {""})]
        keys += [{"item_id": row["item_id"], "kind": kind, "key": key} for kind, key in found]
        if row["year"] is not None:
            years.append({"item_id": row["item_id"], "year": row["year"]})
    return pa.Table.from_pylist(keys, schema=_KEYS), pa.Table.from_pylist(years, schema=_YEARS)


def _literal_titles(literals: pa.ChunkedArray) -> pa.Array:
    """Forms of a name, and its parts with ``:`` before them."""
    rows: list[Any] = []
    for one in literals.to_pylist():
        title = title_forms.__wrapped__(unescape(one))  # each is asked for once: no cache
        rows.append([*title.forms, *(f":{part}" for part in title.parts)])
    return pa.array(rows, _strings)


def _literal_person(literals: pa.ChunkedArray) -> pa.Array:
    return pa.array([" ".join(person(unescape(one))) for one in literals.to_pylist()], pa.string())


def _scheme_key(schemes: pa.ChunkedArray, literals: pa.ChunkedArray) -> pa.Array:
    """``scheme:id``, null for what is no id of the scheme."""
    rows = []
    for scheme, one in zip(schemes.to_pylist(), literals.to_pylist(), strict=True):
        code = SCHEMES[scheme](unescape(one) if one[0] == '"' else one)
        rows.append(f"{scheme}:{code}" if code else None)
    return pa.array(rows, pa.string())
