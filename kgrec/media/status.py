"""Why has this film no poster: what the ledger and the store of answers say, counted or of one key."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from kgrec.data import schemas
from kgrec.data.database import quoted
from kgrec.data.io import check_parquet
from kgrec.errors import DataError
from kgrec.media.keys import media_key
from kgrec.media.web.store import ResponseStore

_STATUSES = ("ok", "missing", "rejected", "failed")


def summarise(media: Path, responses: Path, today: date | None = None) -> dict[str, Any]:
    """Counts of the ledger by modality and reason, and of the store of answers.

    :param media: folder of the media stage
    :param today: day by which expiry is judged; None is today
    :return: ``coverage`` (modality, of items or entities, keys, ok, missing, rejected, failed), ``reasons`` (modality,
        reason, keys, example; most frequent first), ``expired`` (media in use past their expiry), ``answers``
    :raises DataError: if there is no ledger
    """
    ledger = media / "ledger.parquet"
    check_parquet(ledger, schemas.LEDGER)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW ledger AS SELECT * FROM read_parquet({quoted(ledger)})")
        counted = ", ".join(f"count(*) FILTER (status = '{status}') AS {status}" for status in _STATUSES)
        coverage = connection.sql(
            "SELECT modality, CASE WHEN starts_with(key, 'item:') THEN 'items' ELSE 'entities' END AS of, "
            f"count(*) AS keys, {counted} FROM ledger GROUP BY ALL ORDER BY of DESC, modality"
        )
        kind = "CASE WHEN contains(reason, '; ') THEN reason ELSE split_part(reason, ':', 1) END"
        reasons = connection.sql(
            f"SELECT modality, status || ': ' || {kind} AS reason, count(*) AS keys, min(key) AS example "
            "FROM ledger WHERE status <> 'ok' GROUP BY ALL ORDER BY keys DESC, modality, reason LIMIT 30"
        )
        late = connection.execute(
            "SELECT count(*) FROM ledger WHERE status = 'ok' AND expires <> '' AND expires < ?",
            [(today or date.today()).isoformat()],
        ).fetchall()[0][0]
        told = {"coverage": coverage.to_arrow_table().to_pylist(), "reasons": reasons.to_arrow_table().to_pylist()}
    with ResponseStore(responses, readonly=True) as store:
        answers = store.summary()
    return told | {"expired": late, "answers": answers}


def explain(item: str, media: Path, responses: Path) -> dict[str, Any]:
    """All that is known of one key: its rows of the ledger, every try, and who shares its picture.

    :param item: an item id, or a key (``entity:…``)
    :raises DataError: if the ledger has no such key
    """
    key = media_key(item)
    check_parquet(media / "ledger.parquet", schemas.LEDGER)
    with duckdb.connect() as connection:

        def rows(table: str, where: str) -> list[dict[str, Any]]:
            query = f"SELECT * FROM read_parquet({quoted(media / table)}) WHERE {where} ORDER BY ALL"
            return connection.sql(query, params=[key]).to_arrow_table().to_pylist()

        ledger = rows("ledger.parquet", "key = $1")
        groups = f'(SELECT kind, "group" FROM read_parquet({quoted(media / "shared.parquet")}) WHERE key = $1)'
        shares = rows("shared.parquet", f'(kind, "group") IN {groups} AND key <> $1')
    if not ledger:
        raise DataError(f"has no key {key!r}; item ids stand in items.parquet", path=media / "ledger.parquet")
    with ResponseStore(responses, readonly=True) as store:
        tries = store.explain(key)
    return {"key": key, "ledger": ledger, "shares": sorted({row["key"] for row in shares}), "tries": tries}
