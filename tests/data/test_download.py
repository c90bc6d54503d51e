"""Downloads: from the cache, resumed, checked, and honest about what went wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from kgrec.data import download as module
from kgrec.data.download import download
from kgrec.errors import DataError

CONTENT = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)


class Server:
    """Serves ``CONTENT`` at ``/file``; the first ``breaks`` answers end after ``cut`` bytes."""

    def __init__(self, server: HTTPServer) -> None:
        self.requests: list[str | None] = []
        self.breaks, self.cut, self.etag = 0, 1_000_000, '"v1"'
        server.expect_request("/file").respond_with_handler(self.answer)
        self.url = server.url_for("/file")

    def answer(self, request: Request) -> Response:
        span = request.headers.get("Range")
        self.requests.append(span)
        start = 0
        if span and request.headers.get("If-Range") == self.etag:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
        body = CONTENT[start:]
        response = Response(body, status=206 if start else 200, headers={"ETag": self.etag})
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        if len(self.requests) <= self.breaks:
            response.response = [body[: self.cut]]
            response.headers["Content-Length"] = str(len(body))
        return response


@pytest.fixture
def server(httpserver: HTTPServer) -> Server:
    return Server(httpserver)


def test_once_then_from_the_cache(server: Server, tmp_path: Path) -> None:
    first = download(server.url, tmp_path)
    assert first.path.read_bytes() == CONTENT
    assert first.sha256 == DIGEST
    assert first.path.name == DIGEST
    assert download(server.url, tmp_path) == first
    assert download("http://nowhere.invalid/", tmp_path, DIGEST).path == first.path
    assert len(server.requests) == 1
    assert not list((tmp_path / "partial").iterdir())


def test_broken_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    assert download(server.url, tmp_path, DIGEST).path.read_bytes() == CONTENT
    assert server.requests[0] is None
    assert server.requests[1:] == ["bytes=1000000-", "bytes=2000000-"]


def test_resumed_by_the_next_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.breaks = 1
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(DataError, match="cannot be downloaded"):
        download(server.url, tmp_path)
    assert download(server.url, tmp_path).sha256 == DIGEST
    assert server.requests == [None, "bytes=1000000-"]


def test_another_version_is_not_joined(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.breaks = 1
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(DataError):
        download(server.url, tmp_path)
    server.etag = '"v2"'
    assert download(server.url, tmp_path).path.read_bytes() == CONTENT


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{server.url}: checksum mismatch: expected sha256 {'0' * 64}, got {DIGEST}"):
        download(server.url, tmp_path, "0" * 64)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_damaged_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    download(server.url, tmp_path).path.write_bytes(b"bit rot")
    assert download(server.url, tmp_path).path.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_not_found_is_said_at_once(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/gone").respond_with_data("no", status=404)
    with pytest.raises(DataError, match=r"/gone: cannot be downloaded \(HTTP 404 NOT FOUND\); check the address"):
        download(httpserver.url_for("/gone"), tmp_path)
    assert len(httpserver.log) == 1


def test_busy_server_is_asked_again(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_ordered_request("/busy").respond_with_data("later", status=503)
    httpserver.expect_ordered_request("/busy").respond_with_data("now")
    assert download(httpserver.url_for("/busy"), tmp_path).path.read_bytes() == b"now"


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded \(ConnectError"):
        download("http://127.0.0.1:9/x", tmp_path)


def test_silent_server_times_out(httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(module, "ATTEMPTS", 1)
    httpserver.expect_request("/slow").respond_with_handler(lambda request: time.sleep(0.6) or Response("late"))
    with pytest.raises(DataError, match="ReadTimeout"):
        download(httpserver.url_for("/slow"), tmp_path, timeout=0.1)


def test_redirect_is_followed(httpserver: HTTPServer, server: Server, tmp_path: Path) -> None:
    httpserver.expect_request("/moved").respond_with_data("", status=302, headers={"Location": server.url})
    assert download(httpserver.url_for("/moved"), tmp_path).sha256 == DIGEST
