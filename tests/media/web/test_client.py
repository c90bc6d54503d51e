"""Against a server that does all of it wrong: what is kept, what is asked again, and how long we wait."""

from __future__ import annotations

import socket
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ThreadedResolver
from pydantic import ValidationError

from kgrec.errors import ConfigError
from kgrec.media.sources.base import Credential, Nothing
from kgrec.media.web.client import GIVE_UP, WebSettings
from kgrec.media.web.store import ResponseStore
from tests.media.web.conftest import NOON, Fetch
from tests.media.web.server import Answer, Asked, BadServer, Links, bomb, endless, gzip

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8
OK = Answer(JPEG, headers={"Content-Type": "image/jpeg"})


def test_a_picture(fetch: Fetch) -> None:
    url = fetch.server.answer("/a.jpg", OK)
    report = fetch(url)
    assert fetch.content(url) == JPEG
    assert fetch.store.explain("item:0") == [
        {
            "key": "item:0", "source": "links", "url": url, "attempt": 1, "time": "2026-03-01T12:00:00Z",
            "seconds": 0.0, "status": "ok", "http": 200, "reason": "", "bytes": len(JPEG), "licence": "for tests",
            "expires": "",
        }
    ]  # fmt: skip
    assert (report.tries, report.bytes, report.by_status) == (1, len(JPEG), {"ok": 1})
    assert (report.found, report.answers) == ({"links": {"ok": 1}}, {"ok": 1})
    (asked,) = fetch.server.asked
    assert asked.headers["user-agent"].startswith("kgrec/")
    assert asked.headers["user-agent"].endswith(" (+tests@example.org)")
    assert asked.headers["accept"] == "image/*, */*;q=0.1"
    assert "cookie" not in asked.headers


@pytest.mark.parametrize("status", [404, 410, 451, 204])
def test_there_is_none(fetch: Fetch, status: int) -> None:
    url = fetch.server.answer("/none", Answer(b"" if status == 204 else b"sorry", status))
    fetch(url)
    fetch(url)
    assert fetch.tries() == [("missing", status, f"HTTP {status}")]
    assert fetch.server.hits["/none"] == 1
    found = fetch.found(url)
    assert isinstance(found, Nothing)
    assert (found.outcome, found.reason) == ("missing", f"HTTP {status}")


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_not_asked_twice_in_a_run(fetch: Fetch, status: int) -> None:
    url = fetch.server.answer("/no", Answer(b"", status))
    fetch(url)
    assert fetch.tries() == [("failed", status, f"HTTP {status}")]


def test_busy_with_seconds(fetch: Fetch) -> None:
    url = fetch.server.answer("/busy", Answer(b"", 429, {"Retry-After": "7"}), OK)
    fetch(url)
    assert fetch.tries() == [("failed", 429, "HTTP 429"), ("ok", 200, "")]
    assert sum(fetch.time.slept) == pytest.approx(7.0)


def test_busy_with_a_date(fetch: Fetch) -> None:
    url = fetch.server.answer("/busy", Answer(b"", 503, {"Retry-After": formatdate(NOON + 11, usegmt=True)}), OK)
    fetch(url)
    assert fetch.tries() == [("failed", 503, "HTTP 503"), ("ok", 200, "")]
    assert sum(fetch.time.slept) == pytest.approx(11.0)


@pytest.mark.parametrize("header", [{}, {"Retry-After": "soon"}, {"Retry-After": "-5"}, {"Retry-After": "Mon"}])
def test_busy_without_a_word(fetch: Fetch, header: dict[str, str]) -> None:
    url = fetch.server.answer("/busy", *[Answer(b"", 429, header)] * 3, OK)
    fetch(url, backoff=1.0)
    assert [status for status, *_ in fetch.tries()] == ["failed", "failed", "failed", "ok"]
    # 1, 2 and 4 seconds and at most a quarter more
    assert 7.0 <= sum(fetch.time.slept) <= 8.75


def test_waits_are_bounded(fetch: Fetch) -> None:
    url = fetch.server.answer("/busy", Answer(b"", 500))
    fetch(url, attempts=8, max_wait=3.0)
    assert fetch.server.hits["/busy"] == 8
    assert max(fetch.time.slept) == 3.0


def test_a_host_that_wants_a_day_is_left_alone(fetch: Fetch) -> None:
    busy = fetch.server.answer("/busy", Answer(b"", 429, {"Retry-After": "86400"}))
    fetch.server.default(lambda asked: OK)
    others = [fetch.server.url(f"/{n}") for n in range(200)]
    said = fetch.fails(busy, *others, connections=1)
    assert "HTTP 429; it asked to be left alone for 86400 s" in said
    assert fetch.time.slept == []
    assert fetch.server.hits["/busy"] == 1
    assert sum(fetch.server.hits.values()) < 10
    found = fetch.found(others[-1])
    assert isinstance(found, Nothing)
    assert found.outcome == "pending"
    fetch.server.answer("/busy", OK)
    fetch(busy, *others)
    assert max(fetch.server.hits.values()) <= 2
    assert fetch.store.summary()["addresses"] == {"ok": 201}


def test_all_wait_for_a_busy_host(fetch: Fetch) -> None:
    def handler(asked: Asked) -> Answer:
        return Answer(b"", 429, {"Retry-After": "30"}) if len(fetch.server.asked) == 1 else OK

    fetch.server.default(handler)
    fetch(*(fetch.server.url(f"/{n}") for n in range(40)), connections=1)
    # nobody asked while it wanted to be left alone, except who was on the way
    assert max(fetch.time.slept) == pytest.approx(30.0)
    assert sum(fetch.server.hits.values()) == 41


def test_a_storm_that_ends(fetch: Fetch) -> None:
    storm = [Answer(b"", 503)] * 3
    urls = [fetch.server.answer(f"/{n}", *storm, OK) for n in range(10)]
    fetch(*urls)
    assert {fetch.content(url) for url in urls} == {JPEG}
    assert set(fetch.server.hits.values()) == {4}


def test_a_storm_that_does_not_end(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: Answer(b"", 503))
    urls = [fetch.server.url(f"/{n}") for n in range(300)]
    said = fetch.fails(*urls, attempts=2, connections=2)
    assert "300 of 300 answers failed" in said
    assert "nothing is lost" in said
    assert str(fetch.store.folder) in said
    # it was given up before all were asked: those under way when the last straw came, two attempts each
    assert 2 * GIVE_UP <= sum(fetch.server.hits.values()) <= 2 * (GIVE_UP + 8)
    # the next run says so too, until it works
    assert "300 of 300 answers failed" in fetch.fails(*urls, attempts=2, connections=2)
    fetch.server.default(lambda asked: OK)
    assert fetch(*urls).answers == {"ok": 300}


def test_failures_must_be_more_than_a_handful(fetch: Fetch) -> None:
    urls = [fetch.server.answer(f"/{n}", Answer(b"", 500)) for n in range(4)]
    assert fetch(*urls, attempts=1).answers == {"failed": 4}
    good = [fetch.server.answer(f"/good{n}", OK) for n in range(96)]
    more = fetch.server.answer("/4", Answer(b"", 500))
    assert fetch(*urls, more, *good, attempts=1).answers == {"failed": 5, "ok": 96}
    assert "5 of 101 answers failed (most often, 5 times: HTTP 500)" in fetch.fails(
        *urls, more, *good, attempts=1, max_failed=0.049
    )


def test_nobody_listens(fetch: Fetch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    fetch.source = Links({host})
    fetch(f"http://{host}/a", attempts=2, allow_local=(host,))
    assert fetch.tries() == [("failed", None, "connection: connection refused")] * 2


def test_never_answers(fetch: Fetch) -> None:
    url = fetch.server.answer("/silent", Answer(silent=True))
    fetch(url, timeout=0.2, attempts=2)
    assert fetch.tries() == [("failed", None, "timeout: no whole answer within 0.2 s")] * 2


def test_slow_drip(fetch: Fetch) -> None:
    url = fetch.server.answer("/drip", Answer(JPEG, headers={"Content-Type": "image/jpeg"}, drip=0.02), OK)
    fetch(url, timeout=0.3)
    assert fetch.tries() == [("failed", 200, "timeout: no whole answer within 0.3 s"), ("ok", 200, "")]
    assert 0 < fetch.store.explain("item:0")[0]["bytes"] < 100
    assert fetch.content(url) == JPEG


@pytest.mark.parametrize(
    "cut",
    [
        Answer(JPEG, declared=len(JPEG) + 1000, broken=True),
        Answer(JPEG, chunked=True, broken=True),
        Answer(gzip(JPEG)[:-20], headers={"Content-Encoding": "gzip"}),
        Answer(b"this is not gzip", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_cut_bodies(fetch: Fetch, cut: Answer) -> None:
    url = fetch.server.answer("/cut", cut, OK)
    fetch(url)
    assert fetch.tries() == [("failed", 200, "cut short: the body ended early, or is damaged"), ("ok", 200, "")]
    assert fetch.content(url) == JPEG


@pytest.mark.parametrize(
    "answer",
    [
        Answer(JPEG, chunked=True, broken=True, garbage=b"zz\r\n"),
        Answer(JPEG, chunked=True, broken=True, garbage=b"-1\r\n"),
        Answer(JPEG, headers={"Bad header": "x"}),
        Answer(JPEG, headers={"X": "y" * 20_000}),
    ],
)
def test_not_http(fetch: Fetch, answer: Answer) -> None:
    url = fetch.server.answer("/x", answer, OK)
    fetch(url, timeout=1.0)
    (status, _, reason), then = fetch.tries()
    assert (status, then) == ("failed", ("ok", 200, ""))
    # as the garbage comes with the head or after it, and before or after the connection is closed
    assert reason.partition(":")[0] in ("malformed", "cut short", "timeout")
    assert fetch.content(url) == JPEG


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_compressed(fetch: Fetch, coding: str) -> None:
    url = fetch.server.answer("/x", Answer(gzip(JPEG), headers={"Content-Encoding": coding}))
    fetch(url)
    if coding == "gzip":
        assert fetch.content(url) == JPEG
    else:
        assert fetch.tries() == [("refused", 200, "encoding: br was not asked for")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"<!DOCTYPE html>Sorry", headers={"Content-Type": "image/jpeg"}), "not an image: an HTML page"),
        (Answer(b'{"a": 1}', headers={"Content-Type": "application/json"}), "not an image: JSON"),
        (Answer(b"words", headers={"Content-Type": "text/plain"}), "not an image: text/plain"),
        (Answer(b"", headers={"Content-Type": "image/jpeg"}), "empty: no content"),
        (Answer(declared=2 << 30, body=JPEG, broken=True), f"too large: {2 << 30} bytes, and 1000000 may be"),
        (Answer(endless, chunked=True), "too large: more than 1000000 bytes"),
        (Answer(endless, broken=True), "too large: more than 1000000 bytes"),
        (
            Answer(bomb(1 << 26), headers={"Content-Encoding": "gzip"}),
            "too large: more than 1000000 bytes after decompression",
        ),
        (Answer(b"", 302, {"Location": "file:///etc/passwd"}), "address: redirect to scheme file is not http or https"),
        (Answer(b"", 302, {"Location": "http://a:b@127.0.0.1/"}), "address: redirect to a user or password in an address"),
        (Answer(b"", 301, {"Location": "//example.org/x"}), "address: redirect to host example.org is not one of the source's"),
        (Answer(b"", 301, {"Location": "http://[::1"}), "address: redirect to not a valid address"),
        (Answer(b"", 307), "redirects: without an address"),
        (Answer(b"", 302, {"Location": "/x"}), "redirects: a loop"),
    ],
)  # fmt: skip
def test_what_we_will_not_have(fetch: Fetch, answer: Answer, reason: str) -> None:
    url = fetch.server.answer("/x", answer)
    report = fetch(url, max_bytes=1_000_000)
    fetch(url, max_bytes=1_000_000)
    assert fetch.tries() == [("refused", answer.status, reason)]
    assert report.bytes < 3_000_000
    assert fetch.server.hits["/x"] == 1
    assert not [path for path in (fetch.store.folder / "bodies").rglob("*") if path.is_file()]


def test_a_request_may_have_its_own_limit(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fetch.server.answer("/x", OK)
    fetch(url, max_bytes=len(JPEG) - 1)
    assert fetch.tries() == [("refused", 200, f"too large: {len(JPEG)} bytes, and {len(JPEG) - 1} may be")]
    fetch(url, max_bytes=len(JPEG), only="missing")
    assert fetch.content(url) == JPEG


def test_redirects_are_followed(fetch: Fetch) -> None:
    for n in range(6):
        fetch.server.answer(f"/{n}", Answer(b"", 302, {"Location": f"/{n + 1}"}))
    fetch.server.answer("/6", OK)
    fetch(fetch.server.url("/1"), fetch.server.url("/0"))
    assert fetch.tries("item:0") == [("ok", 200, "")]
    assert fetch.tries("item:1") == [("refused", 302, "redirects: more than 5")]
    assert fetch.store.reply(fetch.server.url("/1")).url == fetch.server.url("/6")


def test_a_long_loop(fetch: Fetch) -> None:
    url = fetch.server.answer("/a", Answer(b"", 302, {"Location": "/b"}))
    fetch.server.answer("/b", Answer(b"", 302, {"Location": "/a#again"}))
    fetch(url)
    assert fetch.tries() == [("refused", 302, "redirects: a loop")]
    assert fetch.server.hits == {"/a": 1, "/b": 1}


def test_redirect_to_the_local_network(fetch: Fetch, bad_server: BadServer) -> None:
    other = BadServer()
    try:
        secret = other.answer("/metadata", OK)
        url = bad_server.answer("/x", Answer(b"", 302, {"Location": secret}))
        name = bad_server.answer("/y", Answer(b"", 302, {"Location": other.url("/metadata", "localhost")}))
        meta = bad_server.answer("/z", Answer(b"", 302, {"Location": "http://169.254.169.254/latest/meta-data"}))
        fetch.source = Links({bad_server.host, other.host, f"localhost:{other.port}", "169.254.169.254"})
        fetch(url, name, meta)
        assert fetch.tries("item:0") == [
            ("refused", 302, "address: redirect to 127.0.0.1 is an address of the local network")
        ]
        ((status, http, reason),) = fetch.tries("item:1")
        assert (status, http) == ("refused", 302)
        assert reason.startswith("address: redirect to localhost has the address ")
        assert fetch.tries("item:2")[0][2] == "address: redirect to 169.254.169.254 is an address of the local network"
        assert not other.asked
    finally:
        other.close()


def test_a_name_that_turns_out_local(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebound(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(ThreadedResolver, "resolve", rebound)
    host = f"public.example:{fetch.server.port}"
    fetch.source = Links({host})
    fetch.server.default(lambda asked: OK)
    fetch(f"http://{host}/a")
    assert fetch.tries() == [
        ("refused", None, "address: public.example has the address 127.0.0.1 of the local network")
    ]
    assert not fetch.server.asked
    # the same again is not another try; once it is allowed, it is asked
    fetch(f"http://{host}/a")
    assert len(fetch.tries()) == 1
    fetch(f"http://{host}/a", allow_local=(host,))
    assert fetch.tries()[1:] == [("ok", 200, "")]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://169.254.169.254/", "http://elsewhere.example/x", "x"])
def test_addresses_that_are_not_asked(fetch: Fetch, url: str) -> None:
    fetch.source = Links({fetch.server.host, "169.254.169.254"})
    fetch(url)
    ((status, http, reason),) = fetch.tries()
    assert (status, http, reason.partition(":")[0]) == ("refused", None, "address")


def test_proxies_of_the_environment_are_not_used(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    url = fetch.server.answer("/x", OK)
    fetch(url)
    assert fetch.content(url) == JPEG


def test_rate(fetch: Fetch) -> None:
    """Twenty requests per second, two at once: the fortieth not before 1.9 s."""
    import time

    fetch.server.default(lambda asked: OK)
    began = time.monotonic()
    fetch(*(fetch.server.url(f"/{n}") for n in range(40)), per_second={fetch.server.host: 20.0})
    assert time.monotonic() - began >= 1.85


def test_connections(fetch: Fetch) -> None:
    fetch.server.default(lambda asked: Answer(JPEG, wait=0.02))
    fetch(*(fetch.server.url(f"/{n}") for n in range(40)), connections=3)
    assert fetch.server.most == 3


def test_unchanged(fetch: Fetch) -> None:
    def handler(asked: Asked) -> Answer:
        same = asked.headers.get("if-none-match") == '"v1"'
        return Answer(status=304) if same else Answer(JPEG, headers={"ETag": '"v1"', "Last-Modified": "yesterday"})

    fetch.source = Links({fetch.server.host}, max_age_days=10)
    url = fetch.server.answer("/x", Answer(b"", 302, {"Location": "/y"}))
    fetch.server.answer("/y", handler)
    fetch(url)
    fetch.time.days(10)
    fetch(url, as_of="2026-03-10")
    assert fetch.server.hits["/y"] == 1
    fetch(url, as_of="2026-03-11")
    assert fetch.tries() == [("ok", 200, ""), ("unchanged", 304, "")]
    assert [row["expires"] for row in fetch.store.explain("item:0")] == ["2026-03-11T12:00:00Z", "2026-03-21T12:00:00Z"]
    assert fetch.server.asked[-1].headers["if-modified-since"] == "yesterday"
    # validators are those of the address that gave the content, not of the one that sent us there
    assert all("if-none-match" not in asked.headers for asked in fetch.server.asked if asked.path == "/x")
    assert fetch.store.reply(url).time == "2026-03-11T12:00:00Z"
    assert fetch.content(url) == JPEG


def test_changed_etag(fetch: Fetch) -> None:
    answers = [Answer(JPEG + bytes([n]), headers={"ETag": f'"v{n}"'}) for n in range(3)]
    url = fetch.server.answer("/x", *answers)
    for n in range(3):
        fetch(url, only="all")
        assert fetch.content(url) == JPEG + bytes([n])
    assert [asked.headers.get("if-none-match") for asked in fetch.server.asked] == [None, '"v0"', '"v1"']


def test_headers_in_another_encoding(fetch: Fetch) -> None:
    odd = {"ETag": '"\xe9\xff"', "Last-Modified": "f\xe9vrier", "Content-Type": "image/\xe9"}
    url = fetch.server.answer("/x", Answer(JPEG, headers=odd), Answer(status=304))
    fetch(url)
    fetch(url, only="all")
    assert fetch.tries() == [("ok", 200, ""), ("unchanged", 304, "")]
    other = fetch.server.answer("/y", Answer(b"words", headers=odd))
    moved = fetch.server.answer("/z", Answer(b"", 302, {"Location": "/\xe9\xff"}))
    fetch(other, moved)
    assert [row["status"] for row in fetch.store.explain("item:0")[2:]] == ["ok"]
    assert fetch.tries("item:1")[0][0] in ("missing", "refused")


def test_304_nobody_asked_for(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", Answer(status=304))
    fetch(url)
    assert fetch.tries() == [("failed", 304, "HTTP 304")]


def test_old_content_stays_while_the_server_fails(fetch: Fetch) -> None:
    fetch.source = Links({fetch.server.host}, max_age_days=30)
    url = fetch.server.answer("/x", OK, Answer(b"", 500))
    fetch(url)
    fetch(url, only="all", attempts=2)
    assert fetch.tries()[1:] == [("failed", 500, "HTTP 500")] * 2
    assert fetch.content(url) == JPEG
    assert fetch.content(url, as_of=None) == JPEG
    late = fetch(url, as_of="2026-04-01", attempts=1)
    assert late.found == {"links": {"failed": 1}}
    from datetime import date

    found = fetch.found(url, as_of=date(2026, 4, 1))
    assert isinstance(found, Nothing)
    assert (found.outcome, found.reason) == ("failed", "expired: on 2026-03-31T12:00:00Z; asked again: HTTP 500")


def test_what_is_gone_is_gone(fetch: Fetch) -> None:
    url = fetch.server.answer("/x", OK, Answer(b"", 404))
    fetch(url)
    fetch(url, only="all")
    found = fetch.found(url)
    assert isinstance(found, Nothing)
    assert found.outcome == "missing"


def test_robots(fetch: Fetch) -> None:
    fetch.source = Links({fetch.server.host}, scrapes=True)
    fetch.server.answer("/robots.txt", Answer(b"User-agent: *\nDisallow: /secret\nCrawl-delay: 0.001"))
    secret, page = fetch.server.answer("/secret/x", OK), fetch.server.answer("/page", OK)
    moved = fetch.server.answer("/moved", Answer(b"", 302, {"Location": "/secret/x"}))
    fetch(secret, page, moved)
    rules = fetch.server.url("/robots.txt")
    assert fetch.tries("item:0") == [("refused", None, f"robots: /secret/x is disallowed by {rules}")]
    assert fetch.tries("item:1") == [("ok", 200, "")]
    assert fetch.tries("item:2") == [("refused", 302, f"robots: /secret/x is disallowed by {rules}")]
    assert fetch.server.hits == {"/robots.txt": 1, "/page": 1, "/moved": 1}
    fetch(secret)
    assert fetch.server.hits["/robots.txt"] == 1
    fetch.time.days(1.1)
    fetch.server.answer("/robots.txt", Answer(b""))
    fetch(secret)
    assert fetch.tries("item:0")[1:] == [("ok", 200, "")]


def test_no_robots_no_rules(fetch: Fetch) -> None:
    fetch.source = Links({fetch.server.host}, scrapes=True)
    page = fetch.server.answer("/page", OK)
    for status in (404, 403, 401):
        fetch.server.answer("/robots.txt", Answer(b"", status))
        fetch(page, only="all")
        fetch.time.days(2)
    assert fetch.tries() == [("ok", 200, "")] * 3


def test_robots_that_cannot_be_had(fetch: Fetch) -> None:
    fetch.source = Links({fetch.server.host}, scrapes=True)
    rules = fetch.server.answer("/robots.txt", Answer(b"", 500))
    page, other = fetch.server.answer("/page", OK), fetch.server.answer("/other", OK)
    fetch(page, other, attempts=2)
    assert fetch.tries("item:0") == [("failed", None, f"robots: {rules} cannot be had (HTTP 500)")]
    assert fetch.tries("item:1") == fetch.tries("item:0")
    assert fetch.server.hits == {"/robots.txt": 2}
    fetch.server.answer("/robots.txt", Answer(b"User-agent: kgrec\nDisallow:\n\nUser-agent: *\nDisallow: /"))
    fetch(page)
    assert fetch.tries("item:0")[1:] == [("ok", 200, "")]


def test_pictures_do_not_need_robots(fetch: Fetch) -> None:
    fetch.server.answer("/robots.txt", Answer(b"User-agent: *\nDisallow: /"))
    url = fetch.server.answer("/x", OK)
    fetch(url)
    assert fetch.server.hits == {"/x": 1}


KEY = "s3cr/et+0123456789"


@pytest.mark.parametrize("place", ["query:api_key", "header:Authorization", "header:X-Key"])
def test_secrets(
    fetch: Fetch, place: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from urllib.parse import quote

    monkeypatch.setenv("TEST_KEY", KEY)
    fetch.source = Links(
        {fetch.server.host}, credential=Credential("TEST_KEY", place), accept=("application/json",), name="api"
    )
    echoes = [KEY, quote(KEY, safe=""), quote(KEY, safe="").lower(), KEY.replace("/", "\\/")]
    headers = {"Content-Type": "application/json", "ETag": f'"{KEY}"', "Last-Modified": KEY}
    body = ('{"asked": "' + " ".join(echoes) + '"}').encode()

    def redirect(asked: Asked) -> Answer:
        return Answer(b"", 302, {"Location": f"/second?a=1&api_key={quote(KEY, safe='')}&key={quote(KEY, safe='')}"})

    first = fetch.server.answer("/first?a=1", redirect)
    fetch.server.answer("/first", redirect)
    fetch.server.answer(
        "/second", Answer(body, headers=headers), Answer(gzip(body), headers=headers | {"Content-Encoding": "gzip"})
    )
    bad = fetch.server.answer("/bad", Answer(KEY.encode(), headers={"Content-Type": f"x/{KEY}"}))
    away = fetch.server.answer(
        "/away", Answer(b"", 302, {"Location": f"http://elsewhere.example/{KEY}/{quote(KEY, safe='')}"})
    )
    storm = [fetch.server.answer(f"/storm{n}", Answer(KEY.encode(), 500)) for n in range(9)]
    said = fetch.fails(first, bad, away, *storm, attempts=1)
    fetch(first, only="all")

    for asked in fetch.server.asked:
        given = asked.query.get("api_key") if place.startswith("query") else None
        header = asked.headers.get(place.partition(":")[2].lower())
        assert given == KEY or header == (f"Bearer {KEY}" if "Auth" in place else KEY)
        if place.startswith("query"):
            assert asked.target.count(quote(KEY, safe="")) == 1
    assert fetch.store.reply(first).body() == b'{"asked": "*** *** *** ***"}'
    fetch.store.close()
    out, err = capfd.readouterr()
    kept = [path.read_bytes() for path in fetch.store.folder.rglob("*") if path.is_file()]
    assert len(kept) >= 3
    for text in (said.encode(), out.encode(), err.encode(), *kept):
        for echo in echoes:
            assert echo.encode() not in text
    assert b"elsewhere.example" in b"".join(kept)


def test_secrets_do_not_leave_their_host(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    other = BadServer()
    try:
        target = other.answer("/x", OK)
        url = fetch.server.answer("/x", Answer(b"", 302, {"Location": target}))
        for place in ("query:k", "header:Authorization"):
            hosts = {fetch.server.host, other.host}
            fetch.source = Links(hosts, credential=Credential("TEST_KEY", place))
            fetch(url, allow_local=("127.0.0.1",), only="all")
        assert len(other.asked) == 2
        assert all("authorization" not in asked.headers and not asked.query for asked in other.asked)
    finally:
        other.close()


def test_a_key_that_is_not_there(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch.source = Links({fetch.server.host}, credential=Credential("TEST_KEY", "query:k"))
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="the environment variable TEST_KEY is not set"):
        fetch(fetch.server.url("/x"))
    monkeypatch.setenv("TEST_KEY", "a b\nc")
    with pytest.raises(ConfigError, match="TEST_KEY holds a space") as error:
        fetch(fetch.server.url("/x"))
    assert "a b" not in str(error.value)
    assert not fetch.server.asked


def test_settings() -> None:
    assert WebSettings(per_second={"api.example.org": 40}).per_second == {"default": 2.0, "api.example.org": 40.0}
    for bad in ({"contact": "nobody"}, {"contact": "a@b\r\nX: y"}, {"per_second": {"default": 0}}, {"attempts": 0}):
        with pytest.raises(ValidationError):
            WebSettings.model_validate(bad)


def test_contact_is_needed(fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match=r"media\.web\.contact is not set, and links would be asked"):
        fetch(fetch.server.url("/x"), contact=None)
    assert fetch(fetch.server.url("/x"), contact=None, offline=True).answers == {"pending": 1}
    assert not fetch.server.asked


def test_one_writer(store: ResponseStore) -> None:
    from kgrec.errors import DataError

    with pytest.raises(DataError, match="another process is fetching into it"):
        ResponseStore(store.folder)
