"""Collecting media decides which picture, clip and text an item or entity has, and writes down why it has none.

Keys are ``item:<item_id>`` for the catalogue and ``entity:<entity_id>`` for the attribute entities. An entity that is
linked to an item *is* that item and has no key of its own. Item text is title and plot; entity text is its bare name.

The way: sources on the web are fetched into the store of answers (:func:`fetch_media`); then every source is asked again, the
web's from the store alone, and the first usable picture or clip in the order of the sources is taken (:func:`collect_media`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from kgrec.config import Settings
from kgrec.data import schemas
from kgrec.data.database import database_on_disk, quoted
from kgrec.data.io import atomic_folder, write_batches, write_parquet
from kgrec.media.clips import Clip, check_clip
from kgrec.media.duplicates import MOST_BITS, NEAR_BITS, shared_pictures
from kgrec.media.files import DamagedMember
from kgrec.media.images import Picture, Rejected, check_picture
from kgrec.media.shards import ShardWriter
from kgrec.media.sources import (
    FolderSettings,
    FolderSource,
    Found,
    Modality,
    Nothing,
    Source,
    SourceSettings,
    Subject,
    UrlsSource,
    open_sources,
)
from kgrec.media.subjects import Catalogue
from kgrec.media.text_collection import FOUND_TEXTS, TextSettings, collect_texts
from kgrec.media.web.client import Only, WebSettings
from kgrec.media.web.run import FetchReport, fetch_all, replay
from kgrec.media.web.store import DamagedBody, ResponseStore
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: modality -> name of its folder and of its shards
FOLDERS: dict[Modality, str] = {"image": "images", "audio": "audio", "video": "video"}
_SHOWN = 100
_AHEAD = 64
_SPOOL = 65_536
_FOUND = pa.schema([*FOUND_TEXTS, ("origin", pa.string()), ("licence", pa.string()), ("expires", pa.string())])


class MediaSettings(Settings):
    """Where media come from, and what counts as usable."""

    sources: tuple[SourceSettings, ...] = (FolderSettings(kind="folder"),)
    """Sources in order of preference; the first that has a usable picture or clip gives it."""
    web: WebSettings = WebSettings()
    """How sources on the web are asked."""
    entities: tuple[Literal["image", "text"], ...] = ("text",)
    """What is wanted for attribute entities (people, genres): their text is their name unless a source has another."""
    max_bytes: int = Field(default=20_000_000, gt=0)
    """Longest picture file, in bytes."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest width x height that is decoded."""
    uniform_below: float = Field(default=12.0, ge=0)
    """A picture whose colours vary less than this (standard deviation, 0 to 255, shrunk to 64 x 64) is a
    placeholder."""
    placeholders: tuple[str, ...] = ()
    """SHA-256 of further files that stand for "no picture"."""
    near_bits: int = Field(default=NEAR_BITS, ge=0, le=MOST_BITS)
    """Pictures whose perceptual hashes differ in at most so many of 64 bits are listed as near duplicates."""
    max_clip_bytes: int = Field(default=200_000_000, gt=0)
    """Longest audio or video file, in bytes."""
    max_seconds: float = Field(default=900.0, gt=0)
    """Longest clip that is unpacked."""
    shard_mb: int = Field(default=256, gt=0)
    """Size at which a new shard of pictures is begun, in megabytes."""
    overrides: Path | None = None
    """A folder of files ``<item_id>.<suffix>`` that take the place of other posters."""
    texts: TextSettings = TextSettings()
    """How texts are composed."""


@dataclass(frozen=True)
class MediaFolders:
    """Folders of files that are there already; None, or without files: there are none."""

    posters: Path | None = None
    texts: Path | None = None
    audio: Path | None = None
    video: Path | None = None


def collect_media(
    catalogue: Catalogue, folders: MediaFolders, out: Path, responses: Path, settings: MediaSettings
) -> dict[str, Any]:
    """Fetch what is wanted and not there, then check and pack all pictures, clips and texts.

    Writes ``images/images-00000.parquet`` … (:data:`~kgrec.data.schemas.IMAGES`, bytes as published, sorted by key over
    all shards), so ``audio/`` and ``video/`` (:data:`~kgrec.data.schemas.CLIPS`), ``texts.parquet``, ``ledger.parquet``
    (one row per key and modality that is wanted), ``tries.parquet`` (every try to fetch something) and ``shared.parquet``
    (keys that share a picture). Equal files and equal answers give equal bytes.

    :param responses: folder of the store of answers, outside ``out``
    :return: counts by status and reason per modality, groups of keys that share one picture, files that were not used
    :raises DataError: if an input is missing or damaged as a whole, or most of the web cannot be reached; a single bad
        picture or line goes to the ledger
    :raises ConfigError: if a source lacks its key, or the web is asked without a contact
    """
    out.mkdir(parents=True, exist_ok=True)
    with _opened(settings, folders) as sources:
        if not settings.web.offline:
            _fetch(catalogue, sources, out, responses, settings)
        return _pack(catalogue, sources, folders, out, responses, settings)


def fetch_media(
    catalogue: Catalogue,
    folders: MediaFolders,
    work: Path,
    responses: Path,
    settings: MediaSettings,
    only: Only = "due",
) -> FetchReport | None:
    """Fetch what is wanted into the store of answers, and pack nothing.

    :param work: folder for temporary files
    :param only: ``due`` asks what was never asked, what failed, and what is too old; ``failed`` and ``missing`` ask just
        those again, ``all`` everything
    :return: None if no source is on the web
    :raises DataError: as :func:`collect_media`
    """
    with _opened(settings, folders) as sources:
        return _fetch(catalogue, sources, work, responses, settings, only)


@contextmanager
def _opened(settings: MediaSettings, folders: MediaFolders) -> Iterator[list[Source]]:
    clips = {name: path for name in ("audio", "video") if (path := getattr(folders, name)) and any(path.glob("[!.]*"))}
    with ExitStack() as stack:
        sources = open_sources(
            settings.sources, posters=folders.posters, texts=folders.texts, overrides=settings.overrides,
            keys=not settings.web.offline, **clips,
        )  # fmt: skip
        for source in sources:
            stack.callback(source.close)
        yield sources


def _wanted(subject: Subject, sources: Sequence[Source], settings: MediaSettings) -> frozenset[Modality]:
    """What is wanted of a subject: of an item all that sources have, of an entity what the settings say."""
    offered = frozenset[Modality]({"image", "text"}).union(*(source.modalities for source in sources))
    return offered if subject.key.startswith("item:") else offered & frozenset[Modality](settings.entities)


def _fetch(
    catalogue: Catalogue, sources: Sequence[Source], work: Path, responses: Path, settings: MediaSettings,
    only: Only = "due",
) -> FetchReport | None:  # fmt: skip
    if not any(source.hosts for source in sources):
        return None
    check = _Checks(settings)

    def usable(found: Found) -> str:
        if found.modality == "text":
            return "" if found.text else "no text"
        outcome = check(found)
        return outcome.reason if isinstance(outcome, Rejected) else ""

    with ResponseStore(responses) as store:
        asked = ((one, _wanted(one, sources, settings)) for one in catalogue.subjects(work))
        return fetch_all(
            asked, sources, store, settings.web, usable=usable, check=check.name, only=only, total=len(catalogue)
        )


class _Checks:
    """Whether a file is usable."""

    def __init__(self, settings: MediaSettings) -> None:
        self.settings = settings
        self.placeholders = frozenset(settings.placeholders)

    @property
    def name(self) -> str:
        """Equal for equal settings."""
        fields = {"max_bytes", "max_pixels", "uniform_below", "placeholders", "max_clip_bytes", "max_seconds"}
        return self.settings.model_dump_json(include=fields)

    def __call__(self, found: Found) -> Picture | Clip | Rejected:
        chosen, kind = self.settings, found.modality
        limit = chosen.max_bytes if kind == "image" else chosen.max_clip_bytes
        assert found.read is not None
        try:
            data = found.read(limit)
        except DamagedMember as error:
            return Rejected(f"damaged: {error}")
        if kind == "image":
            return check_picture(
                data, max_bytes=limit, max_pixels=chosen.max_pixels, uniform_below=chosen.uniform_below,
                placeholders=self.placeholders,
            )  # fmt: skip
        assert kind != "text"
        return check_clip(
            data, kind, max_bytes=limit, max_seconds=chosen.max_seconds, uniform_below=chosen.uniform_below,
            placeholders=self.placeholders,
        )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """What one key has of one modality, or why it has nothing."""

    key: str
    modality: Modality
    status: str
    reason: str
    origin: str
    licence: str = ""
    expires: str = ""
    media: Picture | Clip | None = None
    #: kind of the reason, without its detail
    kind: str = ""


#: the most telling of several reasons first, and what the ledger calls them
_STATUS = {"refused": "rejected", "failed": "failed", "pending": "failed", "missing": "missing"}
_TELLING = tuple(_STATUS)


def _look(
    subject: Subject, modality: Modality, sources: Sequence[Source], store: ResponseStore, web: WebSettings
) -> list[tuple[str, Found | Nothing]]:
    """What each source says, by its name, in the order of the sources."""
    said: list[tuple[str, Found | Nothing]] = []
    for source in sources:
        if modality in source.modalities:
            try:
                outcomes = replay(source, subject, frozenset({modality}), store, web.as_of)
            except DamagedBody as error:
                outcomes = [Nothing(modality, "failed", f"damaged answer: {error}")]
            said += [(source.name, outcome) for outcome in outcomes]
    return said


def _choose(key: str, modality: Modality, said: list[tuple[str, Found | Nothing]], check: _Checks) -> _Row:
    """The first usable file."""
    misses: list[tuple[str, Nothing]] = []
    for name, found in said:
        if isinstance(found, Found):
            try:
                outcome = check(found)
            except DamagedBody as error:
                outcome = Rejected(f"damaged answer: {error}")
            if not isinstance(outcome, Rejected):
                return _Row(key, modality, "ok", "", found.origin, found.licence, found.expires, outcome)
            found = Nothing(modality, "refused", outcome.reason, found.origin)
        misses.append((name, found))
    if not misses:
        return _Row(key, modality, "missing", "no source", "", kind="no source")
    worst = min((miss for _, miss in misses), key=lambda miss: _TELLING.index(miss.outcome))
    reason = worst.reason if len(misses) == 1 else "; ".join(f"{name}: {miss.reason}" for name, miss in misses)
    origin = "" if worst.outcome == "missing" else worst.origin
    return _Row(key, modality, _STATUS[worst.outcome], reason, origin, kind=worst.reason.split(":", 1)[0])


def _pack(
    catalogue: Catalogue, sources: Sequence[Source], folders: MediaFolders, out: Path, responses: Path,
    settings: MediaSettings,
) -> dict[str, Any]:  # fmt: skip
    with (
        ExitStack() as stack,
        ResponseStore(responses, readonly=True) as store,
        database_on_disk(out / "ledger", 0.5) as (connection, work),
    ):
        writers = {
            modality: stack.enter_context(
                ShardWriter(stack.enter_context(atomic_folder(out / name)), name, settings.shard_mb * 1_000_000)
            )
            for modality, name in FOLDERS.items()
        }
        told = _Told()
        rows = _chosen(catalogue, sources, store, work, settings)
        write_batches(_ledger_batches(rows, writers, told), schemas.LEDGER, work / "files.parquet")
        write_batches(_found_texts(catalogue, sources, store, work, settings), _FOUND, work / "found.parquet")
        text = collect_texts(
            catalogue.items, catalogue.links, catalogue.entities, folders.texts, work / "found.parquet",
            out / "texts.parquet", work / "texts.parquet", settings.texts,
        )  # fmt: skip
        spools = f"[{quoted(work / 'files.parquet')}, {quoted(work / 'texts.parquet')}]"
        ledger = connection.sql(f"SELECT * FROM read_parquet({spools}) ORDER BY key, modality")
        write_batches(ledger.to_arrow_reader(_SPOOL), schemas.LEDGER, out / "ledger.parquet")
        keys = (subject.key for subject in catalogue.subjects(work))
        tries = write_batches(store.tries(keys), schemas.TRIES, out / "tries.parquet")
        linked = _coverage(connection, out / "ledger.parquet", catalogue)
    shared = shared_pictures(_hashes(out / "images"), settings.near_bits)
    write_parquet(shared, out / "shared.parquet")
    report = {
        modality: told.counts(modality) | {"megabytes": round(writer.total / 1e6, 3), "shards": writer.count}
        for modality, writer in writers.items()
        if modality == "image" or told.wanted(modality)
    }
    report["image"] |= _groups(shared) | _unused(sources, told)
    log.info("collected media", **{modality: counts["ok"] for modality, counts in report.items()})
    return report | {"text": text, "linked_items": linked, "tries": tries}


def _chosen(
    catalogue: Catalogue, sources: Sequence[Source], store: ResponseStore, work: Path, settings: MediaSettings
) -> Iterator[_Row]:
    """A row for every subject and every modality of files that is wanted, in order, checked some ahead in worker threads."""
    check = _Checks(settings)
    ahead: deque[Future[_Row]] = deque()
    pool = ThreadPoolExecutor()
    try:
        with item_progress("checking pictures", len(catalogue), "keys") as bar:
            for subject in catalogue.subjects(work):
                for modality in sorted(_wanted(subject, sources, settings) - {"text"}):
                    said = _look(subject, modality, sources, store, settings.web)
                    ahead.append(pool.submit(_choose, subject.key, modality, said, check))
                while len(ahead) >= _AHEAD:
                    yield ahead.popleft().result()
                bar.advance()
            while ahead:
                yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Told:
    """What is counted while rows go by."""

    def __init__(self) -> None:
        self.status: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.keys: set[str] = set()

    def add(self, row: _Row) -> None:
        self.status[row.modality, row.status] += 1
        self.keys.add(row.key)
        if row.status != "ok":
            self.reasons[row.modality, row.status, row.kind] += 1

    def wanted(self, modality: str) -> bool:
        return any(one == modality for one, _ in self.status)

    def counts(self, modality: str) -> dict[str, Any]:
        def reasons(status: str) -> dict[str, int]:
            found = {why: n for (kind, how, why), n in self.reasons.items() if (kind, how) == (modality, status)}
            return dict(sorted(found.items()))

        return {
            "ok": self.status[modality, "ok"], "missing": self.status[modality, "missing"],
            "rejected": reasons("rejected"), "failed": reasons("failed"),
        }  # fmt: skip


def _ledger_batches(
    rows: Iterable[_Row], writers: dict[Modality, ShardWriter], told: _Told
) -> Iterator[pa.RecordBatch]:
    waiting: list[tuple[str, ...]] = []
    for row in rows:
        told.add(row)
        if row.media is not None:
            writers[row.modality].add(row.key, row.media)
        waiting.append((row.key, row.modality, row.status, row.reason, row.origin, row.licence, row.expires))
        if len(waiting) == _SPOOL:
            yield _batch(waiting, schemas.LEDGER)
            waiting = []
    yield _batch(waiting, schemas.LEDGER)


def _found_texts(
    catalogue: Catalogue, sources: Sequence[Source], store: ResponseStore, work: Path, settings: MediaSettings
) -> Iterator[pa.RecordBatch]:
    """Texts that sources on the web have, as their answers say."""
    tellers = [(rank, source) for rank, source in enumerate(sources) if "text" in source.modalities]
    waiting: list[tuple[Any, ...]] = []
    for subject in catalogue.subjects(work) if tellers else ():
        if "text" not in _wanted(subject, sources, settings):
            continue
        for rank, source in tellers:
            for _, found in _look(subject, "text", [source], store, settings.web):
                if isinstance(found, Found) and found.text:
                    told = (found.origin, found.licence, found.expires)
                    waiting.append((subject.key, found.text, found.lang, source.name, rank, *told))
        if len(waiting) >= _SPOOL:
            yield _batch(waiting, _FOUND)
            waiting = []
    yield _batch(waiting, _FOUND)


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _hashes(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Key, content hash and perceptual hash of every packed picture, by key."""
    for shard in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(shard).iter_batches(_SPOOL, columns=["key", "sha256", "phash"]):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _groups(shared: pa.Table) -> dict[str, Any]:
    """The first groups of keys that share a picture, exactly and nearly."""
    groups: dict[str, dict[int, list[str]]] = {"exact": {}, "near": {}}
    for row in shared.select(["kind", "group", "key"]).to_pylist():
        groups[row["kind"]].setdefault(row["group"], []).append(row["key"])
    return {
        name: {"groups": len(groups[kind]), "keys": list(groups[kind].values())[:_SHOWN]}
        for name, kind in (("duplicates", "exact"), ("near_duplicates", "near"))
    }


def _unused(sources: Sequence[Source], told: _Told) -> dict[str, Any]:
    """Files no key asked for, and rows of tables that cannot be used."""
    files = [one for source in sources if isinstance(source, FolderSource) for one in source.files.values()]
    unused = sorted(file.name for one in files for key, file in one.by_key.items() if key not in told.keys)
    hidden = sorted(chain.from_iterable(one.ambiguous for one in files))
    counts: dict[str, Any] = {
        "files_of_no_item": {"count": len(unused), "first": unused[:10]},
        "files_behind_another": {"count": len(hidden), "first": hidden[:10]},
    }
    bad = {
        source.name: {"count": len(rejects), "first": [f"line {line}: {why}" for line, why in rejects[:10]]}
        for source in sources
        if isinstance(source, UrlsSource) and (rejects := source.table.rejects)
    }
    return counts | ({"unusable_rows": bad} if bad else {})


def _coverage(connection: Any, ledger: Path, catalogue: Catalogue) -> dict[str, Any]:
    """Status counts over linked items only, per modality."""
    connection.execute(
        f"CREATE TEMP TABLE linked AS SELECT DISTINCT 'item:' || item_id AS key FROM read_parquet({quoted(catalogue.links)}) l "
        f"SEMI JOIN read_parquet({quoted(catalogue.items)}) i USING (item_id)"
    )
    counts: dict[str, Any] = {"items": connection.sql("SELECT count(*) FROM linked").fetchall()[0][0]}
    rows = connection.sql(
        f"SELECT modality, status, count(*) FROM read_parquet({quoted(ledger)}) SEMI JOIN linked USING (key) GROUP BY ALL"
    ).fetchall()
    for modality, status, number in sorted(rows):
        counts.setdefault(modality, {"ok": 0, "missing": 0, "rejected": 0})[status] = number
    return counts
