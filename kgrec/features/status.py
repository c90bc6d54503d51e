"""The status of features is, for each key and modality, whether its vector is present, stale, or missing and why."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.data import schemas
from kgrec.data.database import database_on_disk, quoted, statement
from kgrec.data.io import check_parquet
from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features.cache import CachedEncoder, cached_encoders
from kgrec.features.encode import MODALITIES, FeaturesSettings
from kgrec.progress import get_logger

log = get_logger(__name__)

_LEDGER, _FILES, _TEXTS, _ROWS = (
    pa.schema([(name, pa.string()) for name in columns])
    for columns in (
        ("key", "modality", "status", "reason", "source"), ("key", "sha256"), ("key", "text"),
        ("key", "content_sha256", "encoder", "vector"),
    )
)  # fmt: skip
#: used before the join of media and features goes to disk
_MEMORY_GB = 1.0
_NONE = "the settings name no encoder"


@dataclass(frozen=True)
class ModalityStatus:
    """What there is of a modality, in keys."""

    modality: str
    wanted: str | None
    """encoder the settings mean: ``<name>@<fingerprint>``, the name alone where weights were not loaded, None for none"""
    encoders: dict[str, int]
    """rows of the feature table by their encoder's label"""
    width: int | None
    present: int
    stale: dict[str, int]
    """reason -> keys; the next run of the stage encodes them anew"""
    missing: dict[str, int]
    """reason -> keys"""
    orphans: int
    """rows whose medium is gone; the next run drops them"""
    cached: int | None
    """contents the cache knows by the wanted encoder; None: no cache looked at"""
    cache_bytes: int | None
    """of all caches of the modality"""
    notes: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether a run of the stage would change nothing."""
        return not self.stale and not self.orphans and _NOT_YET not in self.missing


@dataclass(frozen=True)
class ItemStatus:
    """What there is of one key in one modality."""

    modality: str
    state: str
    """present, stale, missing or orphan"""
    reason: str
    """empty if present"""
    encoder: str | None
    """label of its row"""
    source: str
    """the file or address its medium is from; empty if none"""


_NOT_YET = "not encoded yet"


def feature_status(
    media: Path, features: Path, settings: FeaturesSettings, cache: Path | None = None, *, quick: bool = False
) -> list[ModalityStatus]:
    """The status of each modality that has media, a table, or an encoder.

    :param media: folder of the media stage
    :param features: folder of the features stage; may be absent, then nothing is encoded yet
    :param cache: folder of the feature cache
    :param quick: compare encoders by name; otherwise their weights are loaded, because only those tell whether the next
        run would encode anew
    :raises DataError: if a table is damaged or media is missing
    """
    found = []
    held = cached_encoders(cache) if cache is not None and cache.is_dir() else []
    with _tables(media, features, settings) as tables:
        for one in tables:
            has = one.labels()
            wanted, why = _wanted(one.modality, one.name, has, settings, held, quick)
            counts = one.states(wanted)
            mine = [cached for cached in held if cached.modality == one.modality]
            found.append(
                ModalityStatus(
                    one.modality, wanted, has, one.width, counts["present"].get("", 0),
                    _named(counts["stale"], why), counts["missing"], sum(counts["orphan"].values()),
                    sum(c.entries or 0 for c in mine if _is(c, wanted)) if cache else None,
                    sum(c.bytes for c in mine) if cache else None, one.notes + why.pop("", []),
                )
            )  # fmt: skip
    return found


def item_status(
    key: str, media: Path, features: Path, settings: FeaturesSettings, *, quick: bool = True
) -> list[ItemStatus]:
    """The status of one key in each modality. :raises DataError: if neither media nor features know the key"""
    found = []
    with _tables(media, features, settings) as tables:
        for one in tables:
            wanted, why = _wanted(one.modality, one.name, one.labels(), settings, [], quick)
            found += [
                ItemStatus(one.modality, state, next(iter(_named({detail: 1}, why))) if detail else "", label, source)
                for state, detail, label, source in one.of_key(key, wanted)
            ]
    if not found:
        raise DataError(f"nothing is known of {key!r}", path=media / "ledger.parquet")
    return found


def item_tries(key: str, media: Path) -> list[dict[str, Any]]:
    """Tries to fetch something for a key (:data:`~kgrec.data.schemas.TRIES`); none where nothing was fetched."""
    path = media / "tries.parquet"
    if not path.exists():
        return []
    check_parquet(path, schemas.TRIES)
    return pq.read_table(path, filters=[("key", "=", key)]).to_pylist()


@dataclass
class _Modality:
    """A modality opened as tables of a DuckDB connection."""

    connection: duckdb.DuckDBPyConnection
    modality: str
    name: str | None
    """of the encoder in the settings"""
    path: Path
    """feature table, may be absent"""
    imported: bool
    notes: list[str]

    @property
    def width(self) -> int | None:
        return pq.read_schema(self.path).field("vector").type.list_size if self.path.exists() else None

    def labels(self) -> dict[str, int]:
        rows = self.connection.execute("SELECT encoder, count(*) FROM rows GROUP BY 1 ORDER BY 1").fetchall()
        return dict(rows)

    def states(self, wanted: str | None) -> dict[str, dict[str, int]]:
        """state -> detail -> keys"""
        counts: dict[str, dict[str, int]] = {"present": {}, "stale": {}, "missing": {}, "orphan": {}}
        self._view(wanted)
        for state, detail, keys in self.connection.execute(
            "SELECT state, detail, count(*) FROM states GROUP BY ALL ORDER BY 3 DESC, 2"
        ).fetchall():
            counts[state][detail] = keys
        return counts

    def of_key(self, key: str, wanted: str | None) -> list[tuple[str, str, str | None, str]]:
        """State, detail, label of the row, source"""
        self._view(wanted)
        return self.connection.execute(
            "SELECT DISTINCT state, detail, (SELECT any_value(encoder) FROM rows WHERE key = $key), "
            "coalesce((SELECT any_value(source) FROM sources WHERE key = $key), '') "
            "FROM states WHERE key = $key ORDER BY ALL",
            {"key": key},
        ).fetchall()

    def _view(self, wanted: str | None) -> None:
        """Make the view ``states``. What is imported is as it was imported: its own label is the right one."""
        if self.imported:
            self.connection.execute("CREATE OR REPLACE TEMP VIEW media AS SELECT key, content FROM rows")
            wanted = next(iter(self.labels()), None)
        self.connection.execute("SET VARIABLE label = $label", {"label": wanted})
        self.connection.execute(statement("kgrec.features", "status"))


@contextmanager
def _tables(media: Path, features: Path, settings: FeaturesSettings) -> Iterator[Iterator[_Modality]]:
    """Each modality in turn, with views ``media``, ``rows``, ``ledger`` and ``sources`` of it."""
    if not media.is_dir():
        raise DataError("no such folder; run the media stage first", path=media)
    with (
        TemporaryDirectory(prefix="kgrec.status.") as folder,
        database_on_disk(Path(folder) / "status", _MEMORY_GB) as (connection, _),
    ):
        yield _each(connection, media, features, settings)


def _each(
    connection: duckdb.DuckDBPyConnection, media: Path, features: Path, settings: FeaturesSettings
) -> Iterator[_Modality]:
    imports: Mapping[str, Any] = getattr(settings, "imports", {})
    written = {path.stem for path in (features / "vectors").glob("*.parquet")}
    others = sorted((written | set(imports)) - set(MODALITIES))
    check_parquet(media / "ledger.parquet", _LEDGER)
    for modality in (*MODALITIES, *others):
        name = settings.encoders().get(modality)
        path = features / "vectors" / f"{modality}.parquet"
        contents = _contents(media, modality)
        _view(
            connection,
            "media",
            "SELECT key, {content} AS content FROM {files}",
            contents,
            "key VARCHAR, content VARCHAR",
        )
        rows = ([path], _ROWS, "content_sha256") if path.exists() else ([], _ROWS, "")
        _view(
            connection, "rows", "SELECT key, {content} AS content, encoder FROM {files}", rows,
            "key VARCHAR, content VARCHAR, encoder VARCHAR",
        )  # fmt: skip
        ledger = connection.read_parquet(str(media / "ledger.parquet"))
        of_it = f"modality = '{modality}'"
        ledger.filter(f"{of_it} AND status <> 'ok'").project(
            "key, if(reason = '', status, if(status = 'missing', reason, status || ': ' || split_part(reason, ':', 1))) AS reason"
        ).create_view("ledger")
        ledger.filter(f"{of_it} AND source <> ''").project("key, source").create_view("sources")
        notes = []
        if modality in imports:
            notes.append("imported from files, which the stage reads anew whenever they change")
        elif modality in others:
            notes.append("the settings do not name this modality")
        if name and modality in settings.tokens and not (features / "tokens" / path.name).exists():
            notes.append("the settings want token states too, and there are none")
        one = _Modality(connection, modality, name, path, modality in imports, notes)
        media_too = connection.execute("SELECT count(*) FROM media").fetchone()
        if name or path.exists() or modality in imports or (media_too and media_too[0]):
            yield one


def _contents(media: Path, modality: str) -> tuple[list[Path], Any, str]:
    """Media tables, their schema, and the expression of the content's hash."""
    if modality == "text":
        return [media / "texts.parquet"], _TEXTS, "sha256(text)"
    folder = {"image": "images", "audio": "audio", "video": "video"}.get(modality)
    if folder is None:
        return [], None, ""
    shards = sorted((media / folder).glob(f"{folder}-*.parquet"))
    if modality == "image" and not shards:
        raise DataError("holds no images-*.parquet; run the media stage first", path=media / folder)
    return shards, _FILES, "sha256"


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, select: str, source: tuple[list[Path], Any, str], columns: str
) -> None:
    """A view of Parquet files, or an empty one."""
    paths, schema, content = source
    for path in paths:
        check_parquet(path, schema)
    if paths:
        read = ", ".join(map(quoted, paths))
        query = select.format(content=content, files=f"read_parquet([{read}])")
    else:
        empty = ", ".join(f"NULL::{kind} AS {column}" for column, kind in (one.split() for one in columns.split(", ")))
        query = f"SELECT {empty} WHERE false"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")


def _wanted(
    modality: str,
    name: str | None,
    has: Mapping[str, int],
    settings: FeaturesSettings,
    held: list[CachedEncoder],
    quick: bool,
) -> tuple[str | None, dict[str, Any]]:
    """The label or name to compare with, and label -> why it is not the wanted encoder; under "" a list of notes."""
    why: dict[str, Any] = {}
    if name is None:
        return None, dict.fromkeys(has, _NONE)
    same_name = [label for label in has if label.rpartition("@")[0] == name]
    why |= {label: f"encoder was {label.rpartition('@')[0] or label}" for label in has if label not in same_name}
    if quick or not same_name:
        return name, why
    from kgrec.features.encoders import open_encoder

    try:
        encoder = open_encoder(name, modality, settings.device, settings.batch_size, settings.precision)
    except (EncoderUnavailable, ConfigError) as error:
        return name, why | {"": [f"compared by name alone: {error}"]}
    label = f"{name}@{encoder.fingerprint[:12]}"
    for one in same_name:
        if one != label:
            before = _description(held, modality, one)
            differs = _differences(before, encoder.description) if before else []
            why[one] = "encoder changed" + (f": {', '.join(differs)}" if differs else "")
    return label, why


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """What differs between two descriptions of an encoder, as ``torch 2.13.0 → 2.14.0``; hashes by name alone."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, key)
        elif any(isinstance(v, (list, dict)) or (isinstance(v, str) and len(v) > 40) for v in (one, other)):
            found.append(key)
        else:
            found.append(f"{key} {one} → {other}")
    return found


def _description(held: list[CachedEncoder], modality: str, label: str) -> dict[str, Any] | None:
    """What the cache says of the encoder with a label, if it knows it."""
    for one in held:
        if one.modality == modality and one.path.name.startswith(label.rpartition("@")[2]):
            try:
                with sqlite3.connect(f"file:{one.path / 'index.sqlite'}?mode=ro", uri=True) as database:
                    return json.loads(database.execute("SELECT description FROM encoder").fetchone()[0])
            except (sqlite3.Error, TypeError, ValueError):
                return None
    return None


def _is(held: CachedEncoder, wanted: str | None) -> bool:
    if wanted is None:
        return False
    return held.path.name.startswith(wanted.rpartition("@")[2]) or held.encoder == wanted


def _named(stale: Mapping[str, int], why: Mapping[str, Any]) -> dict[str, int]:
    """Reasons in words, most keys first."""
    words = {"content": "content changed", **why}
    named: dict[str, int] = {}
    for detail, keys in stale.items():
        reason = words.get(detail, detail)
        named[reason] = named.get(reason, 0) + keys
    return dict(sorted(named.items(), key=lambda one: (-one[1], one[0])))
