"""A server that does everything wrong, a store, and a fetch that does not wait for real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kgrec.errors import DataError
from kgrec.media.sources.base import Found, Nothing, Source, Subject
from kgrec.media.web.client import Clock, Only, WebSettings
from kgrec.media.web.run import FetchReport, fetch_all, replay
from kgrec.media.web.store import ResponseStore
from tests.media.web.server import BadServer, Links

IMAGE = frozenset({"image"})
#: 2026-03-01T12:00:00Z
NOON = 1_772_366_400.0


@pytest.fixture
def bad_server() -> Iterator[BadServer]:
    """A server whose answers the test sets, see :mod:`tests.media.web.server`."""
    server = BadServer()
    yield server
    server.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResponseStore]:
    with ResponseStore(tmp_path / "store") as store:
        yield store


class FakeClock:
    """Time that passes only by sleeping; ``slept`` are the seconds of each sleep."""

    def __init__(self, now: float = NOON) -> None:
        self.seconds = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)

    def days(self, days: float) -> None:
        """Let days pass."""
        self.seconds += days * 86_400

    def clock(self) -> Clock:
        return Clock(self.now, self.now, self.sleep)


class Fetch:
    """Fetches addresses of the bad server: each is a subject of its own, ``item:0`` …"""

    def __init__(self, server: BadServer, store: ResponseStore) -> None:
        self.server, self.store, self.time = server, store, FakeClock()
        self.source: Source = Links({server.host})
        self.settings: dict[str, Any] = {
            "contact": "tests@example.org", "allow_local": (server.host,), "per_second": {"default": 1e6}, "timeout": 5.0,
        }  # fmt: skip

    def __call__(
        self, *urls: str, only: Only = "due", sources: Sequence[Source] | None = None,
        usable: Callable[[Found], str] = lambda found: "", check: str = "", **settings: Any,
    ) -> FetchReport:  # fmt: skip
        return fetch_all(
            self.subjects(urls), sources or [self.source], self.store, WebSettings(**(self.settings | settings)),
            usable=usable, check=check, only=only, total=len(urls), clock=self.time.clock(),
        )  # fmt: skip

    @staticmethod
    def subjects(urls: Sequence[str]) -> list[tuple[Subject, frozenset[Any]]]:
        return [(Subject(f"item:{n}", ids={"url": url}), IMAGE) for n, url in enumerate(urls)]

    def found(self, url: str, **options: Any) -> Found | Nothing:
        """What is found at an address without the network."""
        (one,) = replay(self.source, Subject("item:0", ids={"url": url}), IMAGE, self.store, **options)
        return one

    def content(self, url: str, **options: Any) -> bytes:
        found = self.found(url, **options)
        assert isinstance(found, Found), found
        assert found.read is not None
        return found.read(1 << 30)

    def tries(self, key: str = "item:0") -> list[tuple[str, int | None, str]]:
        """Status, HTTP status and reason of each try."""
        return [(row["status"], row["http"], row["reason"]) for row in self.store.explain(key)]

    def fails(self, *urls: str, **settings: Any) -> str:
        """The message of a run that is an error."""
        with pytest.raises(DataError) as error:
            self(*urls, **settings)
        return str(error.value)


@pytest.fixture
def fetch(bad_server: BadServer, store: ResponseStore) -> Fetch:
    return Fetch(bad_server, store)
