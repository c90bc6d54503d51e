"""The store: what it answers, what it keeps when it is damaged, and what it says of a key."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tracemalloc
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from kgrec.data.io import write_batches
from kgrec.data.schemas import TRIES
from kgrec.errors import DataError
from kgrec.media.web.store import DamagedBody, ResponseStore, Try, due, expired, expiry

TIME = "2026-01-01T23:59:59Z"
URL = "http://example.org/x"


def keep(store: ResponseStore, url: str = URL, data: bytes = b"content", run: int = 1, time: str = TIME) -> str:
    body = store.new_body()
    body.write(data)
    digest = body.finish()
    store.record(url, run, Try("ok", "", 200, time, 0.5, len(data), url, "image/png", digest, len(data), '"e"', "m"))
    return digest


def failed(store: ResponseStore, url: str = URL, http: int | None = 500, time: str = TIME) -> None:
    store.record(url, 1, Try("failed", f"HTTP {http}", http, time, final=url))


def test_prune_throws_away_what_has_expired_and_what_no_address_has(tmp_path: Path) -> None:
    with ResponseStore(tmp_path / "store") as store:
        old, new = keep(store, data=b"first"), keep(store, data=b"second")
        other = keep(store, URL + "y", b"other", time="2026-05-01T00:00:00Z")
        for url, days in ((URL, 180), (URL + "y", 180)):
            store.record_ask("item:1", "tmdb", answer_of(store, url), "terms", days)
        assert store.prune(date(2026, 2, 1)) == {"expired": 0, "files": 1, "bytes": 5}
        assert not store.body_path(old).exists()
        assert store.body(new) == b"second"
        assert store.prune(date(2026, 7, 1)) == {"expired": 1, "files": 1, "bytes": 6}
        assert store.reply(URL).outcome == "failed"
        assert "expired: on 2026-06-30" in store.reply(URL).reason
        assert due(store.lookup(URL), 180, None, 30)
        assert store.body(other) == b"other"
        keep(store, data=b"second")
        assert store.reply(URL).outcome == "ok"


def answer_of(store: ResponseStore, url: str = URL) -> int:
    stored = store.lookup(url)
    assert stored is not None
    return stored.id


def test_nothing_is_pending(store: ResponseStore) -> None:
    assert store.lookup(URL) is None
    assert (store.reply(URL).outcome, store.reply(URL).reason) == ("pending", "not asked yet")
    assert store.explain("item:1") == []
    assert list(store.tries()) == []
    assert store.summary() == {"addresses": {}, "tries": 0, "keys": 0, "bytes": 0, "oldest": "", "newest": ""}


def test_content_under_its_hash(store: ResponseStore) -> None:
    digest = keep(store)
    assert digest == hashlib.sha256(b"content").hexdigest()
    assert (store.folder / "bodies" / "sha256" / digest[:2] / digest).read_bytes() == b"content"
    reply = store.reply(URL)
    assert (reply.outcome, reply.url, reply.content_type, reply.time) == ("ok", URL, "image/png", TIME)
    assert (reply.sha256, reply.body()) == (digest, b"content")
    assert not list((store.folder / "bodies" / "partial").iterdir())


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_long_contents(store: ResponseStore, size: int) -> None:
    body = store.new_body()
    for at in range(0, size, 100_000):
        body.write(bytes(min(100_000, size - at)))
    assert body.finish() == hashlib.sha256(bytes(size)).hexdigest()
    assert body.bytes == size


def test_what_is_scrubbed_never_touches_the_disk(store: ResponseStore) -> None:
    body = store.new_body(lambda data: data.replace(b"key", b"***"))
    for part in (b"k", b"ey" + bytes(3 << 20), b"key"):
        body.write(part)
    assert not list((store.folder / "bodies" / "partial").iterdir())
    body.finish()
    assert body.bytes == (3 << 20) + 6
    body = store.new_body()
    body.write(bytes(3 << 20))
    assert len(list((store.folder / "bodies" / "partial").iterdir())) == 1
    body.discard()
    assert not list((store.folder / "bodies" / "partial").iterdir())


def test_survives_closing(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        keep(store)
        store.record_ask("item:1", "tmdb", answer_of(store), "terms", 180)
        before = store.explain("item:1")
    with ResponseStore(tmp_path) as store:
        assert store.explain("item:1") == before
    with ResponseStore(tmp_path, readonly=True) as store:
        assert store.explain("item:1") == before
        assert store.reply(URL).body() == b"content"
        # what cannot be kept is not an error
        store.record_ask("item:2", "tmdb", 1, "", None)
        store.record_verdict(b"x", "")
        assert store.explain("item:2") == []


def test_read_while_another_writes(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as writer, ResponseStore(tmp_path, readonly=True) as reader:
        keep(writer)
        assert reader.reply(URL).outcome == "ok"


def test_reading_where_there_is_nothing(tmp_path: Path) -> None:
    with ResponseStore(tmp_path / "none", readonly=True) as store:
        assert store.reply(URL).outcome == "pending"
        assert store.summary()["addresses"] == {}
    assert not (tmp_path / "none").exists()


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResponseStore(tmp_path / "store") as store:
        keep(store)
    connect = sqlite3.connect

    def refuse(database: str, **options: object) -> sqlite3.Connection:
        if database.endswith("?mode=ro"):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(database, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with ResponseStore(tmp_path / "store", readonly=True) as store:
        assert store.reply(URL).body() == b"content"


@pytest.mark.parametrize("damage", [b"", b"other size", b"c0ntent"])
def test_damaged_contents(store: ResponseStore, damage: bytes) -> None:
    digest = keep(store)
    path = store.body_path(digest)
    reply = store.reply(URL)
    path.write_bytes(damage)
    with pytest.raises(DamagedBody, match=rf"{digest}: is damaged; delete it") as error:
        reply.body()
    # another size shows at once, the same size when it is read
    assert store.reply(URL).outcome == ("ok" if len(damage) == 7 else "pending")
    store.discard(error.value)
    assert store.lookup(URL) is None
    keep(store)
    assert store.reply(URL).body() == b"content"


@pytest.mark.parametrize("readonly", [False, True])
def test_damaged_index(tmp_path: Path, readonly: bool) -> None:
    (tmp_path / "responses.sqlite").write_bytes(b"this is not a database" * 100)
    with pytest.raises(DataError, match=r"responses.sqlite: cannot be used \(file is not a database\)"):
        ResponseStore(tmp_path, readonly=readonly)
    (tmp_path / "responses.sqlite").unlink()
    ResponseStore(tmp_path).close()  # the lock was let go


def test_index_with_a_hole(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        for n in range(2000):
            failed(store, f"http://example.org/{n}")
    with open(tmp_path / "responses.sqlite", "r+b") as file:
        file.seek(8192)
        file.write(bytes(range(256)) * 128)
    with pytest.raises(DataError, match=r"cannot be used .* move it away: contents stay in bodies/"):
        ResponseStore(tmp_path)


def test_index_of_another_version(tmp_path: Path) -> None:
    ResponseStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "responses.sqlite") as db:
        db.execute("PRAGMA user_version = 7")
    for readonly in (False, True):
        with pytest.raises(DataError, match=r"is of version 7, and this kgrec reads version 1"):
            ResponseStore(tmp_path, readonly=readonly)


def test_what_was_on_its_way_is_swept(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        store.new_body().write(bytes(3 << 20))
        assert list((tmp_path / "bodies" / "partial").iterdir())
    ResponseStore(tmp_path).close()
    assert not list((tmp_path / "bodies" / "partial").iterdir())


def test_one_writer(tmp_path: Path) -> None:
    with ResponseStore(tmp_path), pytest.raises(DataError, match="another process is fetching into it; wait"):
        ResponseStore(tmp_path)
    ResponseStore(tmp_path).close()


def test_no_room(store: ResponseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        DataError, match=r"cannot be written \(No space left on device\); nothing that was fetched is lost"
    ):
        keep(store)


def test_expiry() -> None:
    assert expiry(TIME, None) == ""
    assert expiry(TIME, 180) == "2026-06-30T23:59:59Z"
    assert expiry("", 180) == ""
    assert expiry(TIME, 10**9) == ""
    assert not expired(TIME, None, date(2099, 1, 1))
    assert not expired(TIME, 180, None)
    assert not expired(TIME, 180, date(2026, 6, 29))
    assert expired(TIME, 180, date(2026, 6, 30))


def test_due(store: ResponseStore) -> None:
    first, later, late = date(2026, 1, 1), date(2026, 1, 31), date(2026, 7, 1)
    assert due(None, None, None, 30)
    keep(store)
    stored = store.lookup(URL)
    assert not due(stored, 180, None, 30)
    assert not due(stored, 180, later, 30)
    assert due(stored, 180, late, 30)
    assert not due(stored, None, late, 30)
    failed(store)
    assert due(store.lookup(URL), None, None, 30)
    for status, http, again in (("missing", 404, False), ("refused", 200, False), ("refused", None, True)):
        store.record(URL, 1, Try(status, "r", http, TIME, final=URL))  # type: ignore[arg-type]
        stored = store.lookup(URL)
        assert due(stored, None, None, 30) is again
        assert due(stored, None, first, 30) is again
        assert due(stored, None, later, 30) is True


def test_content_stays_while_the_address_fails(store: ResponseStore) -> None:
    keep(store)
    failed(store, time="2026-02-01T00:00:00Z")
    reply = store.reply(URL, 180, date(2026, 6, 29))
    assert (reply.outcome, reply.time, reply.body()) == ("ok", TIME, b"content")
    reply = store.reply(URL, 180, date(2026, 6, 30))
    assert (reply.outcome, reply.reason) == ("failed", "expired: on 2026-06-30T23:59:59Z; asked again: HTTP 500")
    store.record(URL, 2, Try("unchanged", "", 304, "2026-03-01T00:00:00Z", final=URL))
    reply = store.reply(URL, 180, date(2026, 6, 30))
    assert (reply.outcome, reply.time, reply.content_type) == ("ok", "2026-03-01T00:00:00Z", "image/png")
    stored = store.lookup(URL)
    assert stored is not None
    assert (stored.etag, stored.modified, stored.tries) == ('"e"', "m", 3)


def test_runs_that_were_cut_off(store: ResponseStore) -> None:
    yesterday, now = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    assert store.begin_run("due", now, yesterday) == (1, 1)
    assert store.begin_run("due", now, yesterday) == (2, 1)
    store.end_run(2)
    assert store.begin_run("due", now, yesterday) == (3, 3)
    assert store.begin_run("all", now, yesterday) == (4, 4)
    assert store.begin_run("all", now, yesterday) == (5, 4)
    assert store.begin_run("all", "2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z") == (6, 6)


def test_each_key_has_the_tries_of_its_addresses(store: ResponseStore) -> None:
    failed(store, "http://example.org/b", time="2026-01-01T00:00:00Z")
    keep(store, "http://example.org/b", time="2026-01-01T00:00:01Z")
    keep(store, "http://example.org/a", time="2026-01-01T00:00:02Z")
    b, a = answer_of(store, "http://example.org/b"), answer_of(store, "http://example.org/a")
    for key, source, answer, days in (
        ("item:2", "s", b, 10), ("item:10", "s", b, None), ("item:10", "s", a, None), ("item:10", "r", a, None),
        ("é", "s", a, None),
    ):  # fmt: skip
        store.record_ask(key, source, answer, f"terms of {source}", days)
    rows = [
        (row["key"], row["source"], row["url"][-1], row["attempt"], row["status"], row["expires"])
        for batch in store.tries()
        for row in batch.to_pylist()
    ]
    assert rows == [
        ("item:10", "r", "a", 1, "ok", ""),
        ("item:10", "s", "a", 1, "ok", ""),
        ("item:10", "s", "b", 1, "failed", ""),
        ("item:10", "s", "b", 2, "ok", ""),
        ("item:2", "s", "b", 1, "failed", ""),
        ("item:2", "s", "b", 2, "ok", "2026-01-11T00:00:01Z"),
        ("é", "s", "a", 1, "ok", ""),
    ]
    some = pa.Table.from_batches(store.tries(["item:2", "none", "é", "item:2"]), schema=TRIES)
    assert some["key"].to_pylist() == ["item:2", "item:2", "é"]
    assert [row["attempt"] for row in store.explain("item:2")] == [1, 2]
    assert store.summary() == {
        "addresses": {"ok": 2}, "tries": 3, "keys": 3, "bytes": 7, "oldest": "2026-01-01T00:00:01Z",
        "newest": "2026-01-01T00:00:01Z",
    }  # fmt: skip
    # terms that change, change for what was fetched under them
    store.record_ask("item:2", "s", b, "new terms", None)
    assert [row["licence"] for row in store.explain("item:2")] == ["new terms"] * 2


def test_tries_of_many_keys_in_little_memory(store: ResponseStore, tmp_path: Path) -> None:
    count = 60_000
    failed(store, http=404)
    for n in range(count):
        store.record_ask(f"item:{n}", "s", 1, "terms", None)
    tracemalloc.start()
    keys = (f"item:{count - 1 - n}" for n in range(count))
    rows = write_batches(store.tries(keys), TRIES, tmp_path / "tries.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == count
    # of one batch, however many there are
    assert peak < 30e6
