"""Every answer a server gave is kept: its content under its own hash, and what, when and for whom in one index.

``bodies/sha256/<two digits>/<digest>`` holds the contents, ``responses.sqlite`` the index. A content is in its place,
under its final name, before the index speaks of it; so a process killed at any point loses only answers that were still on
their way. What was recorded answers again, equally, without the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from kgrec.data.schemas import TRIES
from kgrec.errors import DataError
from kgrec.media.sources.base import TIME, Outcome, Reply, expiry

#: how a try ended; ``unchanged`` is a server's word that what we have is still so
Status = Literal["ok", "unchanged", "missing", "refused", "failed"]

_FORMAT = 1
_BATCH = 16_384
#: a body longer than this goes to a file while it comes in
_IN_MEMORY = 1 << 20


class DamagedBody(DataError):
    """A content in the store is not what its name promises. It is not served; once deleted, it is asked for again."""


@dataclass(frozen=True)
class Stored:
    """What is known of an address."""

    id: int
    url: str
    #: number of the run that asked last
    run: int
    tries: int
    #: of the last try
    outcome: Outcome
    reason: str
    http: int | None
    #: of the last try: ISO 8601, UTC
    time: str
    #: where redirects led
    final: str
    content_type: str
    #: of the content; None if there is none. It stays while the address fails
    sha256: str | None
    bytes: int | None
    #: when the content was fetched, or last found unchanged
    confirmed: str | None
    etag: str
    modified: str


@dataclass(frozen=True)
class Try:
    """One request and how it ended, ready to be recorded; no text of it holds a secret."""

    status: Status
    reason: str = ""
    http: int | None = None
    #: ISO 8601, UTC
    time: str = ""
    seconds: float = 0.0
    #: of the body as it came over the wire
    received: int = 0
    final: str = ""
    content_type: str = ""
    sha256: str | None = None
    #: of the content
    bytes: int | None = None
    etag: str = ""
    modified: str = ""


def expired(time: str, max_age_days: int | None, as_of: date | None) -> bool:
    """Whether ``max_age_days`` from ``time`` end on ``as_of`` or before; never without either."""
    if as_of is None or max_age_days is None:
        return False
    return datetime.strptime(time, TIME).date() + timedelta(days=max_age_days) <= as_of


def due(stored: Stored | None, max_age_days: int | None, as_of: date | None, negative_days: int) -> bool:
    """Whether a run asks an address: one not asked yet, one that failed, one too old by ``as_of``; and one that was
    refused before it was asked, since what it was refused by may have changed.

    :param max_age_days: the source's, for contents; ``negative_days`` for the word that there is none
    """
    if stored is None or stored.outcome == "failed":
        return True
    if stored.outcome == "ok":
        return expired(stored.confirmed or stored.time, max_age_days, as_of)
    return stored.http is None or expired(stored.time, negative_days, as_of)


class ResponseStore:
    """Answers of servers. A context manager; one process writes at a time, any number read.

    :param folder: made if it does not exist
    :param readonly: only answer from what is there; a folder without a store is an empty one
    :raises DataError: if another process writes, or the index is damaged or of another version
    """

    def __init__(self, folder: Path | str, *, readonly: bool = False) -> None:
        self.folder, self.readonly = Path(folder), readonly
        self.index = self.folder / "responses.sqlite"
        self._names = count()
        self._closed = False
        self._lock: int | None = None
        if not readonly:
            (self.folder / "bodies" / "partial").mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
        try:
            with self._told():
                self._db = self._open()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> ResponseStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Put everything on disk, and let others write. A second time it does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._told():
            if self._db.in_transaction:
                self._db.commit()
            self._db.close()
        self._release()

    def _take_lock(self) -> int:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataError("another process is fetching into it; wait until it has ended", path=self.folder) from None
        return lock

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self) -> sqlite3.Connection:
        exists = self.index.exists() and self.index.stat().st_size > 0
        if self.readonly:
            if not exists:
                db = sqlite3.connect(":memory:", isolation_level=None)
                self._create(db)
                return db
            db = self._open_readonly()
        else:
            db = sqlite3.connect(self.index, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if not exists or db.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._create(db)
            for left in (self.folder / "bodies" / "partial").iterdir():
                left.unlink()
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != _FORMAT:
            raise DataError(
                f"is of version {version}, and this kgrec reads version {_FORMAT}; use the kgrec that wrote it, or another "
                "folder",
                path=self.index,
            )
        if not self.readonly and (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(said)
        return db

    def _open_readonly(self) -> sqlite3.Connection:
        uri = self.index.resolve().as_uri()
        try:
            db = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
            db.execute("SELECT 1 FROM answers LIMIT 1")
            return db
        except sqlite3.OperationalError:
            if os.access(self.folder, os.W_OK):
                raise
        # where nothing can be written no one else writes
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)

    @staticmethod
    def _create(db: sqlite3.Connection) -> None:
        db.executescript("BEGIN;" + _sql("schema") + "COMMIT;")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the index as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(
                f"cannot be used ({' '.join(str(error).split())}); if the disk is full, make room; if the file is damaged, "
                "move it away: contents stay in bodies/, and what the index knew is asked again",
                path=self.index,
            ) from None

    # --- answers

    def lookup(self, url: str) -> Stored | None:
        """What is known of an address; None if it was never asked, or if its content is no longer there."""
        with self._told():
            row = self._db.execute("SELECT * FROM answers WHERE url = ?", (url,)).fetchone()
        if row is None:
            return None
        stored = Stored(*row)
        return None if stored.sha256 and not self._whole(stored) else stored

    def _whole(self, stored: Stored) -> bool:
        assert stored.sha256 is not None
        try:
            return os.stat(self._place(stored.sha256)).st_size == stored.bytes
        except FileNotFoundError:
            return False

    def reply(self, url: str, max_age_days: int | None = None, as_of: date | None = None) -> Reply:
        """The answer of an address as a source is told it; ``pending`` if there is none.

        A content stays in use while its address fails, until it is older than ``max_age_days`` on ``as_of``. It is read,
        and checked against its hash, when ``body`` is called.
        """
        return self.reply_of(self.lookup(url), max_age_days, as_of)

    def reply_of(self, stored: Stored | None, max_age_days: int | None = None, as_of: date | None = None) -> Reply:
        """As :meth:`reply`, of what :meth:`lookup` found."""
        if stored is None:
            return Reply("pending", "not asked yet")
        if stored.sha256 is None:
            return Reply(stored.outcome, stored.reason, url=stored.final, time=stored.time)
        confirmed = stored.confirmed or stored.time
        if expired(confirmed, max_age_days, as_of):
            again = f"; asked again: {stored.reason}" if stored.outcome == "failed" else ""
            return Reply(
                "failed", f"expired: on {expiry(confirmed, max_age_days)}{again}", url=stored.final, time=confirmed
            )
        digest = stored.sha256
        return Reply("ok", "", stored.final, stored.content_type, digest, confirmed, lambda: self.body(digest))

    def body_path(self, digest: str) -> Path:
        """Where the content with this SHA-256 lies."""
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        return f"{self.folder}/bodies/sha256/{digest[:2]}/{digest}"

    def body(self, digest: str) -> bytes:
        """The content with this SHA-256. :raises DamagedBody: if it is not there, or is another"""
        path = self.body_path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedBody("is damaged; delete it, and the next `kgrec media fetch` asks for it again", path=path)
        return data

    def discard(self, damaged: DamagedBody) -> None:
        """Delete a damaged content, so that it counts as not asked yet."""
        Path(str(damaged.path)).unlink(missing_ok=True)

    def new_body(self, scrub: Callable[[bytes], bytes] | None = None) -> BodyWriter:
        """A content that is coming in. :param scrub: applied to the whole of it before it touches the disk"""
        return BodyWriter(self, f"{os.getpid()}-{next(self._names)}", scrub)

    # --- recording

    def begin_run(self, mode: str, time: str, since: str) -> tuple[int, int]:
        """Number of a new run that begins at ``time``, and of the first of the runs it goes on from: those right before it
        that are of the same ``mode``, began at ``since`` or later (ISO 8601, UTC), and did not come to their end."""
        with self._told():
            last = self._db.execute(
                "SELECT coalesce(max(id), 0) FROM runs WHERE finished OR mode IS NOT ? OR began < ?", (mode, since)
            ).fetchone()[0]
            run = self._db.execute("INSERT INTO runs (mode, began, finished) VALUES (?, ?, 0)", (mode, time)).lastrowid
            assert run is not None
            return run, last + 1

    def end_run(self, run: int) -> None:
        """Record that a run came to its end."""
        with self._told():
            self._db.execute("UPDATE runs SET finished = 1 WHERE id = ?", (run,))
            if self._db.in_transaction:
                self._db.commit()

    def record(self, url: str, run: int, found: Try) -> None:
        """Keep how a try ended, at once. A refusal that needed no request and says the same again is not another try."""
        with self._told():
            old = self._db.execute("SELECT * FROM answers WHERE url = ?", (url,)).fetchone()
            before = None if old is None else Stored(*old)
            if (
                before is not None
                and found.status == "refused"
                and (before.outcome, before.reason, before.http, found.http) == ("refused", found.reason, None, None)
            ):
                self._db.execute("UPDATE answers SET run = ? WHERE id = ?", (run, before.id))
                return
            content: tuple[Any, ...]
            if found.status == "ok":
                content = (
                    found.final,
                    found.content_type,
                    found.sha256,
                    found.bytes,
                    found.time,
                    found.etag,
                    found.modified,
                )
            elif found.status == "unchanged" and before is not None:
                etag, modified = found.etag or before.etag, found.modified or before.modified
                content = (found.final, before.content_type, before.sha256, before.bytes, found.time, etag, modified)
            elif found.status == "failed" and before is not None and before.sha256:
                content = (
                    before.final, before.content_type, before.sha256, before.bytes, before.confirmed, before.etag,
                    before.modified,
                )  # fmt: skip
            else:
                content = (found.final, "", None, None, None, "", "")
            outcome = "ok" if found.status == "unchanged" else found.status
            attempt = 1 if before is None else before.tries + 1
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            values = (run, attempt, outcome, found.reason, found.http, found.time, *content)
            if before is None:
                self._db.execute(f"INSERT INTO answers VALUES (NULL, ?{', ?' * len(values)})", (url, *values))
                key = self._db.execute("SELECT last_insert_rowid()").fetchone()[0]
            else:
                key = before.id
                self._db.execute(
                    "UPDATE answers SET run = ?, tries = ?, outcome = ?, reason = ?, http = ?, time = ?, final = ?, "
                    "content_type = ?, sha256 = ?, bytes = ?, confirmed = ?, etag = ?, modified = ? WHERE id = ?",
                    (*values, key),
                )
            self._db.execute(
                "INSERT INTO tries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, attempt, found.time, found.seconds, found.status, found.http, found.reason, found.received),
            )
            self._db.commit()

    def record_ask(self, key: str, source: str, answer: int, licence: str, max_age_days: int | None) -> None:
        """Keep that a key wanted an address, and on what terms. On disk with the next answer, or when the store closes:
        whoever is killed in between asks the store again. A store that is only read keeps nothing."""
        if self.readonly:
            return
        with self._told():
            row = self._db.execute(
                "SELECT licence, max_age_days FROM asks WHERE key = ? AND source = ? AND answer = ?",
                (key, source, answer),
            ).fetchone()
            if row == (licence, max_age_days):
                return
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.execute(
                "INSERT OR REPLACE INTO asks VALUES (?, ?, ?, ?, ?)", (key, source, answer, licence, max_age_days)
            )

    def verdict(self, digest: bytes) -> str | None:
        """What a check said of something it has seen before; None if it has not."""
        with self._told():
            row = self._db.execute("SELECT reason FROM verdicts WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else row[0]

    def record_verdict(self, digest: bytes, reason: str) -> None:
        """Keep what a check said, on disk as :meth:`record_ask`; not in a store that is only read."""
        if self.readonly:
            return
        with self._told():
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (digest, reason))

    def prune(self, as_of: date) -> dict[str, int]:
        """Throw away contents that a source's terms let nobody keep on ``as_of``, and files that no address has any more
        (their content changed, or is gone). What has expired counts as failed, so the next run asks for it.

        :return: ``expired`` addresses, ``files`` and ``bytes`` deleted
        """
        terms = (
            "SELECT answers.id, confirmed, min(max_age_days) FROM answers JOIN asks ON asks.answer = answers.id "
            "WHERE sha256 IS NOT NULL GROUP BY answers.id HAVING min(max_age_days) IS NOT NULL"
        )
        with self._told():
            late = [(f"expired: on {expiry(time, days)}", key) for key, time, days in self._db.execute(terms)
                    if expired(time, days, as_of)]  # fmt: skip
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.executemany(
                "UPDATE answers SET outcome = 'failed', reason = ?, sha256 = NULL, bytes = NULL, confirmed = NULL, etag = '', "
                "modified = '' WHERE id = ?",
                late,
            )
            self._db.commit()
            kept = {row[0] for row in self._db.execute("SELECT DISTINCT sha256 FROM answers WHERE sha256 IS NOT NULL")}
        files = size = 0
        for path in (self.folder / "bodies" / "sha256").glob("*/*"):
            if path.name not in kept:
                size += path.stat().st_size
                path.unlink()
                files += 1
        return {"expired": len(late), "files": files, "bytes": size}

    # --- looking

    def tries(self, keys: Iterable[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of :data:`kgrec.data.schemas.TRIES` for ``keys`` (None: for all), by key, source, address and attempt.

        They follow from what is recorded alone: an address several keys wanted has its tries under each of them,
        whichever came first. Memory is that of one batch; keys may come in any order.
        """
        if keys is None:
            yield from self._batches(_sql("tries").format(wanted="(SELECT DISTINCT key FROM asks)"))
            return
        wanted = f"temp.wanted_{next(self._names)}"
        with self._told():
            self._db.execute(f"CREATE TEMP TABLE {wanted.removeprefix('temp.')} (key TEXT PRIMARY KEY) WITHOUT ROWID")
        try:
            with self._told():
                self._db.executemany(f"INSERT OR IGNORE INTO {wanted} VALUES (?)", ((key,) for key in keys))
            yield from self._batches(_sql("tries").format(wanted=wanted))
        finally:
            with self._told():
                self._db.execute(f"DROP TABLE {wanted}")

    def _batches(self, query: str, *parameters: Any) -> Iterator[pa.RecordBatch]:
        with self._told(), closing(self._db.execute(query, parameters)) as cursor:
            while rows := cursor.fetchmany(_BATCH):
                columns = list(zip(*rows, strict=True))
                ends = [
                    expiry(time, days) if status in ("ok", "unchanged") else ""
                    for time, status, days in zip(columns[4], columns[6], columns[11], strict=True)
                ]
                arrays = [
                    pa.array(column, field.type) for column, field in zip([*columns[:11], ends], TRIES, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=TRIES)

    def explain(self, key: str) -> list[dict[str, Any]]:
        """The rows of :meth:`tries` of one key."""
        query = _sql("tries").format(wanted="(SELECT ? AS key)")
        return [row for batch in self._batches(query, key) for row in batch.to_pylist()]

    def summary(self) -> dict[str, Any]:
        """Counts of addresses by the outcome of their last try, of tries and keys; bytes of all contents; the time of the
        oldest and the newest content (ISO 8601, UTC; empty if there is none)."""
        with self._told():
            outcomes = dict(self._db.execute("SELECT outcome, count(*) FROM answers GROUP BY outcome ORDER BY outcome"))
            size, oldest, newest = self._db.execute(
                "SELECT coalesce(sum(bytes), 0), coalesce(min(confirmed), ''), coalesce(max(confirmed), '') FROM "
                "(SELECT bytes, min(confirmed) AS confirmed FROM answers WHERE sha256 IS NOT NULL GROUP BY sha256)"
            ).fetchone()
            tries = self._db.execute("SELECT count(*) FROM tries").fetchone()[0]
            keys = self._db.execute("SELECT count(DISTINCT key) FROM asks").fetchone()[0]
        return {
            "addresses": outcomes, "tries": tries, "keys": keys, "bytes": size, "oldest": oldest, "newest": newest,
        }  # fmt: skip


class BodyWriter:
    """A content that is coming in: in memory while it is short, then in a file, in its place when it is whole."""

    def __init__(self, store: ResponseStore, name: str, scrub: Callable[[bytes], bytes] | None) -> None:
        self._store, self._scrub = store, scrub
        self._path = f"{store.folder}/bodies/partial/{name}"
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self.bytes = 0

    def write(self, data: bytes) -> None:
        """The next part."""
        self._waiting += data
        self.bytes += len(data)
        if self._scrub is None and len(self._waiting) > _IN_MEMORY:
            self._flush()

    def finish(self) -> str:
        """Put the content in its place. :return: its SHA-256"""
        if self._scrub is not None:
            self._waiting = bytearray(self._scrub(bytes(self._waiting)))
            self.bytes = len(self._waiting)
        try:
            self._flush()
            assert self._file is not None
            self._file.close()
            digest = self._digest.hexdigest()
            place = self._store._place(digest)
            try:
                os.replace(self._path, place)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.replace(self._path, place)
        except OSError as error:
            raise self._unwritable(error) from None
        return digest

    def discard(self) -> None:
        """Forget it, unless it is in its place already."""
        if self._file is not None:
            self._file.close()
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def _flush(self) -> None:
        self._digest.update(self._waiting)
        try:
            if self._file is None:
                self._file = open(self._path, "wb", buffering=0)  # noqa: SIM115
            view = memoryview(self._waiting)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._unwritable(error) from None
        self._waiting = bytearray()

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"cannot be written ({error.strerror}); nothing that was fetched is lost", path=self._store.folder
        )


@cache
def _sql(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
