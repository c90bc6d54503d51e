"""Runs: what is asked and what is not, one address for many keys, replay, and being killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import structlog

from kgrec.data.schemas import TRIES
from kgrec.errors import DataError
from kgrec.media.sources.base import Found, Modality, Nothing, Request, Search, Source, Subject
from kgrec.media.web.client import WebSettings
from kgrec.media.web.run import FetchReport, fetch_all, replay
from kgrec.media.web.store import ResponseStore
from tests.media.web.conftest import IMAGE, Fetch
from tests.media.web.server import Answer, Asked, BadServer, Links

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
OK = Answer(JPEG, headers={"Content-Type": "image/jpeg"})


def all_tries(store: ResponseStore) -> pa.Table:
    return pa.Table.from_batches(store.tries(), schema=TRIES)


def test_a_second_run_asks_nothing(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: OK if "good" in asked.path else Answer(status=404))
    urls = [fetch.server.url(f"/{kind}{n}") for n in range(20) for kind in ("good", "none")]
    first = fetch(*urls)
    rows = all_tries(fetch.store)
    second = fetch(*urls)
    assert (first.tries, second.tries, second.bytes) == (40, 0, 0)
    assert second.found == first.found == {"links": {"missing": 20, "ok": 20}}
    assert all_tries(fetch.store) == rows
    assert set(fetch.server.hits.values()) == {1}


def test_one_address_of_many_keys_is_asked_once(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", Answer(b"", 503), Answer(JPEG, wait=0.05))
    report = fetch(*[url] * 50)
    assert (report.tries, report.found) == (2, {"links": {"ok": 50}})
    assert fetch.server.hits["/x"] == 2
    table = all_tries(fetch.store)
    assert table["key"].to_pylist() == sorted(f"item:{n}" for n in range(50) for _ in range(2))
    assert table["attempt"].to_pylist() == [1, 2] * 50
    rows = [{**row, "key": ""} for row in table.to_pylist()]
    assert rows[::2] == [rows[0]] * 50
    assert rows[1::2] == [rows[1]] * 50


def test_one_address_that_fails_is_asked_once(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", Answer(b"", 503))
    assert fetch(*[url] * 50, attempts=3, max_failed=1).answers == {"failed": 50}
    assert fetch.server.hits["/x"] == 3
    fetch(*[url] * 50, only="all", attempts=1, max_failed=1)
    assert fetch.server.hits["/x"] == 4


@pytest.mark.parametrize(
    ("only", "asked"),
    [
        ("due", {"/failed", "/new"}),
        ("failed", {"/failed"}),
        ("missing", {"/missing", "/refused"}),
        ("all", {"/ok", "/failed", "/missing", "/refused", "/new"}),
    ],
)
def test_only(fetch: Fetch, only: Any, asked: set[str]) -> None:
    answers = {"/ok": OK, "/failed": Answer(b"", 500), "/missing": Answer(b"", 404), "/refused": Answer(b"<html>")}
    urls = [fetch.server.answer(path, answer) for path, answer in answers.items()]
    fetch(*urls, attempts=1)
    fetch.server.hits.clear()
    for path in answers:
        fetch.server.answer(path, OK)
    urls.append(fetch.server.answer("/new", OK))
    report = fetch(*urls, only=only)
    assert set(fetch.server.hits) == asked
    assert set(fetch.server.hits.values()) == {1}
    assert report.found["links"]["ok"] == len(asked | {"/ok"})


def test_negative_answers_grow_old(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", Answer(b"", 404), OK)
    fetch(url)
    fetch(url, as_of="2026-03-30")
    assert fetch.server.hits["/x"] == 1
    fetch(url, as_of="2026-03-31")
    assert fetch.tries() == [("missing", 404, "HTTP 404"), ("ok", 200, "")]


class Steps(Source):
    """A record that names a picture, as services have it; ``item:<n>`` has the record ``/record<n>``."""

    def __init__(self, server: BadServer, name: str = "steps") -> None:
        self.name, self.hosts, self.modalities = name, frozenset({server.host}), frozenset({"image", "text"})
        self.licence, self.max_age_days = "for tests", 180
        self._server = server

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        number = subject.key.removeprefix("item:")
        record = yield Request(self._server.url(f"/record{number}"), ("text/plain",))
        results: list[Found | Nothing] = []
        if record.outcome != "ok":
            return [Nothing(one, record.outcome, record.reason) for one in sorted(modalities)]
        path = record.body().decode()
        if "text" in modalities:
            results.append(Found("text", path, text=path))
        if "image" in modalities:
            url = self._server.url(path)
            picture = yield Request(url, ("image/",))
            if picture.outcome == "ok":
                results.append(Found("image", url, lambda limit: picture.body()[: limit + 1]))
            else:
                results.append(Nothing("image", picture.outcome, picture.reason, url))
        return results


def test_a_retry_goes_on_where_it_leads(fetch: Fetch) -> None:
    fetch.source = Steps(fetch.server)
    fetch.server.answer("/record0", Answer(b"", 500), Answer(b"/picture0", headers={"Content-Type": "text/plain"}))
    fetch.server.answer("/picture0", OK)
    assert fetch("0", attempts=1).found == {"steps": {"failed": 1}}
    assert fetch("0", "1", only="failed").found == {"steps": {"ok": 1, "pending": 1}}
    assert fetch.server.hits == {"/record0": 2, "/picture0": 1}


def same(found: Found | Nothing) -> Any:
    if isinstance(found, Nothing):
        return found
    return (found.modality, found.origin, found.text, found.read and found.read(1 << 20))


def test_replay_finds_the_same(fetch: Fetch) -> None:
    source, both = Steps(fetch.server), frozenset({"image", "text"})
    text = {"Content-Type": "text/plain"}
    for n in range(30):
        fetch.server.answer(
            f"/record{n}", Answer(f"/picture{n % 7}".encode(), headers=text) if n % 5 else Answer(status=404)
        )
        fetch.server.answer(f"/picture{n}", OK if n % 3 else Answer(b"<html>"))
    seen: dict[str, list[Any]] = {}

    class Watched(Steps):
        def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
            results = yield from super().find(subject, modalities)
            seen[subject.key] = [same(one) for one in results]
            return results

    subjects = [(Subject(f"item:{n}"), both) for n in range(30)]
    settings = WebSettings(**fetch.settings)
    fetch_all(subjects, [Watched(fetch.server)], fetch.store, settings, usable=lambda found: "", total=30)
    hits = sum(fetch.server.hits.values())
    fetch.store.close()
    with ResponseStore(fetch.store.folder, readonly=True) as store:
        again = {subject.key: [same(one) for one in replay(source, subject, both, store)] for subject, _ in subjects}
        assert again == seen
        offline = settings.model_copy(update={"offline": True})
        report = fetch_all(subjects, [source], store, offline, usable=lambda found: "")
        # the picture at an address that is no picture, 2 of 7; a record of 5 is not there
        assert report.found == {"steps": {"missing": 12, "ok": 24 + sum(n % 7 % 3 > 0 for n in range(30) if n % 5),
                                          "refused": sum(n % 7 % 3 == 0 for n in range(30) if n % 5)}}  # fmt: skip
        (nothing,) = replay(source, Subject("item:99"), IMAGE, store)
        assert nothing == Nothing("image", "pending", "not asked yet")
    assert sum(fetch.server.hits.values()) == hits


def test_tables_do_not_depend_on_who_was_first(bad_server: BadServer, tmp_path: Path) -> None:
    """The same world, asked in another order by another number of workers."""
    chance = random.Random(3)

    def handler(asked: Asked) -> Answer:
        late = Answer(JPEG, wait=chance.random() * 0.01)
        kinds = [late, Answer(b"", 404), Answer(b"<html>"), Answer(b"", 403)]
        return kinds[int(asked.path.strip("/")) % 4]

    bad_server.default(handler)
    urls = [bad_server.url(f"/{n % 23}") for n in range(100)]
    tables = []
    for folder, connections in (("a", 1), ("b", 7), ("c", 16)):
        with ResponseStore(tmp_path / folder) as store:
            fetch = Fetch(bad_server, store)
            subjects = fetch.subjects(urls)
            chance.shuffle(subjects)
            settings = WebSettings(**fetch.settings, connections=connections, max_failed=1)
            fetch_all(
                subjects, [fetch.source], store, settings, usable=lambda found: "", clock=fetch.time.clock()
            )  # fmt: skip
            tables.append(all_tries(store))
    assert tables[0].num_rows == 100
    assert tables[0] == tables[1] == tables[2]


def test_sources_in_their_order(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: OK if "good" in asked.path or "ugly" in asked.path else Answer(status=404))
    one = {"item:0": ["/good1"], "item:1": ["/none1"], "item:2": ["/ugly1"], "item:3": ["/none1"]}
    two = {"item:0": ["/good2"], "item:1": ["/good2"], "item:2": ["/good3"], "item:3": ["/none2"]}

    def source(name: str, links: dict[str, list[str]]) -> Links:
        urls = {key: [fetch.server.url(path) for path in paths] for key, paths in links.items()}
        return Links({fetch.server.host}, urls, name=name)

    threads: set[str] = set()

    def usable(found: Found) -> str:
        threads.add(threading.current_thread().name)
        assert found.read is not None
        assert found.read(2) == JPEG[:3]
        return "ugly" if "ugly" in found.origin else ""

    report = fetch("", "", "", "", sources=[source("one", one), source("two", two)], usable=usable)
    assert report.found == {"one": {"missing": 2, "ok": 1, "unusable": 1}, "two": {"missing": 1, "ok": 2}}
    assert set(fetch.server.hits) == {"/good1", "/none1", "/ugly1", "/good2", "/good3", "/none2"}
    assert "MainThread" not in threads


def test_verdicts_are_remembered(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", OK, Answer(JPEG + b"new"))
    looked: list[bytes] = []

    def usable(found: Found) -> str:
        assert found.read is not None
        looked.append(found.read(1 << 20))
        return "too small" if len(looked) == 1 else ""

    for _ in range(2):
        assert fetch(url, usable=usable, check="rule 1").found == {"links": {"unusable": 1}}
    assert len(looked) == 1
    fetch(url, usable=usable, check="rule 2")
    fetch(url, usable=usable)
    assert len(looked) == 3
    fetch(url, usable=usable, check="rule 1", only="all")
    assert looked[1:] == [JPEG, JPEG, JPEG + b"new"]


def test_damaged_contents_are_asked_again(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", Answer(JPEG, headers={"ETag": '"1"'}))
    fetch(url)
    path = fetch.store.body_path(fetch.store.reply(url).sha256)
    for only in ("due", "failed", "all"):
        path.write_bytes(bytes(len(JPEG)))
        assert fetch(url, usable=lambda found: found.read(1)[:0].decode(), only=only).found == {"links": {"ok": 1}}  # type: ignore[misc, arg-type]
        assert path.read_bytes() == JPEG
    assert fetch.server.hits["/x"] == 4
    # what we do not have cannot be unchanged
    assert all("if-none-match" not in asked.headers for asked in fetch.server.asked)
    path.unlink()
    fetch(url)
    assert fetch.content(url) == JPEG
    path.write_bytes(bytes(len(JPEG)))
    with pytest.raises(DataError, match="is damaged; delete it"):
        fetch.content(url)


def test_subjects_are_read_as_they_are_needed(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: OK)
    ahead: list[int] = []
    read = 0

    def subjects() -> Iterator[tuple[Subject, frozenset[Any]]]:
        nonlocal read
        for n in range(500):
            read += 1
            yield Subject(f"item:{n}", ids={"url": fetch.server.url(f"/{n}")}), IMAGE

    def usable(found: Found) -> str:
        ahead.append(read - len(ahead))
        return ""

    settings = WebSettings(**fetch.settings, connections=2)
    fetch_all(subjects(), [fetch.source], fetch.store, settings, usable=usable)
    assert len(ahead) == 500
    assert max(ahead) <= 2 * 4


def test_errors_of_a_source_stop_the_run(fetch: Fetch) -> None:
    class Broken(Links):
        def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
            if subject.key == "item:30":
                raise DataError("is broken", path="table.csv")
            return (yield from super().find(subject, modalities))

    fetch.server.default(lambda asked: OK)
    urls = [fetch.server.url(f"/{n}") for n in range(100)]
    with pytest.raises(DataError, match=r"table.csv: is broken"):
        fetch(*urls, sources=[Broken({fetch.server.host})])
    fetch(*urls)
    # what was under way is asked again; what was answered is not
    assert sum(fetch.server.hits.values()) <= 100 + 8
    assert fetch.store.summary()["addresses"] == {"ok": 100}


def test_what_the_log_says(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.media.web.run._LOG_SECONDS", 0.0)
    fetch.server.default(lambda asked: OK if asked.path != "/3" else Answer(status=500))
    with structlog.testing.capture_logs() as events:
        fetch(*(fetch.server.url(f"/{n}") for n in range(10)), attempts=1)
    progress = [event for event in events if event["event"] == "fetching media"]
    assert [event["done"] for event in progress] == list(range(1, 11))
    assert (progress[-1]["failed"], progress[-1]["seconds_left"]) == (1, 0)
    assert [event["reason"] for event in events if event["event"] == "request failed"] == ["HTTP 500"]
    (last,) = [event for event in events if event["event"] == "fetched media"]
    assert (last["subjects"], last["tries"], last["by_status"]) == (10, 10, {"failed": 1, "ok": 9})


def work(folder: Path | str, host: str, count: int) -> FetchReport:
    """What the processes of the next test do. Every third key shares its address with the one before."""
    subjects = ((Subject(f"item:{n}", ids={"url": f"http://{host}/{n - n % 3 // 2}"}), IMAGE) for n in range(count))
    settings = WebSettings(contact="tests@example.org", allow_local=(host,), per_second={"default": 1e6}, backoff=0.01)
    with ResponseStore(folder) as store:
        return fetch_all(subjects, [Links({host})], store, settings, usable=lambda found: "")


# a shell that starts the tests in the background has them ignore interrupts, and their children with them
PROGRAM = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
PROGRAM += "import sys; from tests.media.web.test_run import work; work(sys.argv[1], sys.argv[2], int(sys.argv[3]))"


def start(folder: Path, server: BadServer, count: int) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PROGRAM, str(folder), server.host, str(count)]
    return subprocess.Popen(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.PIPE)


def recorded(folder: Path) -> set[str]:
    """Paths whose content is in the store, read as another process would."""
    if not (folder / "responses.sqlite").exists():
        return set()
    with sqlite3.connect(f"file:{folder}/responses.sqlite?mode=ro", uri=True) as db:
        try:
            rows = db.execute("SELECT url FROM answers WHERE outcome IN ('ok', 'missing')").fetchall()
        except sqlite3.OperationalError:
            return set()
    return {"/" + url.rpartition("/")[2] for (url,) in rows}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "kills"), [(signal.SIGKILL, 4), (signal.SIGINT, 1)])
def test_killed_and_started_again(bad_server: BadServer, tmp_path: Path, how: signal.Signals, kills: int) -> None:
    # at eight at once a run takes a second at least, more than there is between the kills
    count, chance = 900, random.Random(int(how))

    def handler(asked: Asked) -> Answer:
        number = int(asked.path.strip("/"))
        if number % 7 == 0:
            return Answer(b"", 404, wait=0.01)
        if number % 11 == 0 and bad_server.hits[asked.path] == 1:
            return Answer(b"", 503, wait=0.01)
        return Answer(JPEG + asked.path.encode(), wait=0.01)

    bad_server.default(handler)
    folder = tmp_path / "store"
    for _ in range(kills):
        process = start(folder, bad_server, count)
        before, known = sum(bad_server.hits.values()), recorded(folder)
        kept = {path: bad_server.hits[path] for path in known}
        # some time after the first new request is seen
        deadline = time.monotonic() + 30
        while sum(bad_server.hits.values()) == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.15)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
        assert process.returncode != 0, "it had ended before it was killed"
        if how == signal.SIGINT:
            assert b"KeyboardInterrupt" in said
        # what was recorded before this run was not asked in it
        assert {path: bad_server.hits[path] for path in known} == kept
        # and what was recorded is still known
        assert known <= recorded(folder)
    assert len(recorded(folder)) > 20
    work(folder, bad_server.host, count)

    paths = {f"/{n - n % 3 // 2}" for n in range(count)}
    expected = {path: 1 + (int(path[1:]) % 11 == 0 and int(path[1:]) % 7 != 0) for path in paths}
    assert set(bad_server.hits) == paths
    # only what was on its way when the process died was asked again: eight connections at most
    again = sum(bad_server.hits.values()) - sum(expected.values())
    assert 0 <= again <= 8 * kills
    with ResponseStore(folder) as store:
        for path in paths:
            reply = store.reply(bad_server.url(path))
            if int(path[1:]) % 7 == 0:
                assert reply.outcome == "missing"
            else:
                assert reply.body() == JPEG + path.encode()
        assert store.summary()["keys"] == count
        assert not list((folder / "bodies" / "partial").iterdir())
        table = all_tries(store)
    assert set(table["key"].to_pylist()) == {f"item:{n}" for n in range(count)}
    hits = bad_server.hits.copy()
    assert work(folder, bad_server.host, count).tries == 0
    assert bad_server.hits == hits
    with ResponseStore(folder) as store:
        assert all_tries(store) == table


def test_a_cut_off_refresh_goes_on(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: OK)
    urls = [fetch.server.url(f"/{n}") for n in range(60)]
    fetch(*urls)

    class Stop(Exception):
        pass

    def stop(found: Found) -> str:
        if sum(fetch.server.hits.values()) >= 90:
            raise Stop
        return ""

    with pytest.raises(Stop):
        fetch(*urls, only="all", usable=stop, connections=1)
    fetch(*urls, only="all", connections=1)
    # each twice, but for those that were on their way
    assert sum(fetch.server.hits.values()) <= 122
    fetch(*urls, only="all")
    assert sum(fetch.server.hits.values()) in range(180, 183)
