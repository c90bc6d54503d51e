from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.media.sources import Found, Reply, Request
from kgrec.media.sources.answers import (
    Miss,
    ask_file,
    ask_json,
    at,
    host_of,
    language_code,
    plain,
    shown,
    web_address,
)


def end(search: Any, reply: Reply) -> Any:
    """The value a search ends in when its one request gets ``reply``."""
    next(search)
    with pytest.raises(StopIteration) as stop:
        search.send(reply)
    return stop.value.value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "unexpected answer: not JSON"),
        (b"", "unexpected answer: not JSON"),
        (b"\xff\xfe\x00", "unexpected answer: not JSON"),
        (b"[" * 100_000, "unexpected answer: not JSON"),
        (b'{"a": ' * 100_000, "unexpected answer: not JSON"),
        (b"9" * 10_000, "unexpected answer: not JSON"),
        (b"[1]", "unexpected answer: JSON of type list, not an object"),
        (b"null", "unexpected answer: JSON of type NoneType, not an object"),
    ],
)
def test_json_that_is_no_object_is_a_miss(body: bytes, reason: str) -> None:
    search = ask_json(Request("http://x/"))
    next(search)
    with pytest.raises(Miss) as miss:
        search.send(Reply("ok", body=lambda: body))
    assert (miss.value.outcome, miss.value.reason, miss.value.origin) == ("refused", reason, "http://x/")


def test_how_a_request_ended_is_how_the_search_ends() -> None:
    search = ask_json(Request("http://x/"))
    next(search)
    with pytest.raises(Miss) as miss:
        search.send(Reply("failed", "HTTP 503"))
    assert (miss.value.outcome, miss.value.reason) == ("failed", "HTTP 503")
    nothing = miss.value.nothing("text")
    assert (nothing.modality, nothing.outcome, nothing.reason, nothing.origin) == (
        "text", "failed", "HTTP 503", "http://x/",
    )  # fmt: skip


def test_a_file_is_read_late_and_to_its_limit() -> None:
    reads = []

    def body() -> bytes:
        reads.append(1)
        return b"0123456789"

    reply = Reply("ok", time="2026-01-31T10:00:00Z", body=body)
    found = end(ask_file("image", "http://x/a.jpg", "free", 180), reply)
    assert isinstance(found, Found)
    assert not reads
    assert found.read is not None
    assert (found.read(4), found.read(99)) == (b"01234", b"0123456789")
    assert (found.origin, found.licence, found.expires) == ("http://x/a.jpg", "free", "2026-07-30T10:00:00Z")
    text = end(ask_file("text", "http://x/a.txt", "free", None), Reply("ok", body=lambda: "\ufeffEin  Täxt\n".encode()))
    assert (text.text, text.read, text.expires) == ("Ein Täxt", None, "")


def test_at_follows_a_path_as_far_as_it_goes() -> None:
    value = {"a": [{"b": 1}, "text"]}
    assert at(value, "a", 0, "b") == 1
    for path in [("a", 2), ("a", "b"), ("a", 1, 0), ("a", 0, "b", "c"), ("z",), (0,)]:
        assert at(value, *path) is None


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("https://e.org/a.jpg", "https://e.org/a.jpg"),
        (" http://e.org ", "http://e.org"),
        ("https://e.org/a@._V1_UX182_CR0,0,182,268_AL_.jpg", "https://e.org/a@._V1_UX182_CR0,0,182,268_AL_.jpg"),
        ("https://dummyimage.com/160x220/ad/ff.jpg&text=a+b", "https://dummyimage.com/160x220/ad/ff.jpg&text=a+b"),
        ("https://e.org/AC%2FDC?a=b%26c", "https://e.org/AC%2FDC?a=b%26c"),
        ("https://e.org/a b.jpg", "https://e.org/a%20b.jpg"),
        ("https://e.org/ä.jpg", "https://e.org/%C3%A4.jpg"),
        ("https://ä.org/", "https://xn--4ca.org/"),
        ("//e.org/a.jpg", "https://e.org/a.jpg"),
        ("https://e.org/a.jpg#part", "https://e.org/a.jpg"),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("ftp://e.org/a", ""), ("/a.jpg", ""), ("a.jpg", ""), ("N/A", ""), ("", ""), ("https://", ""), ("http:///a", ""),
        ("https://user:secret@e.org/", ""), ("https://user@e.org/", ""), ("http://a:99999/", ""), ("http://[::1", ""),
        ("http://e.org/a\nb", ""), ("http://a\x00b/", ""), ("http://a b/", ""), ("javascript:alert(1)", ""),
        ("data:image/png;base64,AA==", ""), (None, ""), (7, ""), (["https://e.org"], ""),
    ],
)  # fmt: skip
def test_web_address(value: object, want: str) -> None:
    assert web_address(value) == want


@given(st.text() | st.text().map("https://{}".format) | st.text().map("http://e.org/{}".format))
def test_an_address_is_ascii_and_stays_itself(value: str) -> None:
    address = web_address(value)
    if address:
        assert address.isascii()
        assert not set(address) & set(" \t\r\n\x00")
        assert web_address(address) == address
        assert host_of(address)


def test_the_host_of_an_address() -> None:
    assert host_of("https://E.org/a:1/b@c") == "e.org"
    assert host_of("http://e.org:80/") == "e.org"
    assert host_of("http://e.org:443/") == "e.org:443"
    assert host_of("http://127.0.0.1:8080/a") == "127.0.0.1:8080"


def test_plain_text() -> None:
    assert plain(" A  b\n c ") == "A b c"
    assert [plain(value) for value in ("N/A", "null", "", None, 7, ["a"], {"a": 1})] == [""] * 7
    lone = json.loads('"a\\ud800b\\u0000c"')
    assert plain(lone) == "a?b c"
    assert shown("x" * 500) == "x" * 79 + "…"


def test_languages() -> None:
    assert [language_code(v) for v in ("en", "en-US", "de_at", "EN")] == ["en", "en", "de", "en"]
    assert [language_code(v) for v in ("simple", "", None, "e", "english", 5, "en us")] == [""] * 7
