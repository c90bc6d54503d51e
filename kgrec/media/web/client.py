"""Asking politely: few connections, a rate per host, patience with busy hosts, and nothing read that is not wanted.

Every try is recorded before the next begins. Secrets join a request when it is sent, and are taken out of everything that
comes back before it is kept, logged or followed.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import random
import re
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import date, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import aiohttp
from aiolimiter import AsyncLimiter
from pydantic import Field, field_validator
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from yarl import URL

from kgrec.config import Settings
from kgrec.data.download import utc
from kgrec.errors import ConfigError
from kgrec.media.sources.base import Credential, Reply, Request, Source
from kgrec.media.web import robots
from kgrec.media.web.addresses import (
    AddressRefused,
    PublicResolver,
    check_host,
    check_literal,
    host_port,
    parse_address,
)
from kgrec.media.web.contents import HEAD, Decompressor, Unwanted, settle_type
from kgrec.media.web.store import BodyWriter, DamagedBody, ResponseStore, Status, Stored, Try, due
from kgrec.progress import get_logger
from kgrec.version import __version__

log = get_logger(__name__)

#: which addresses a run asks: those never asked, failed or grown old; only those that failed; only those that had nothing
#: or were refused; all of them
Only = Literal["due", "failed", "missing", "all"]

MAX_REDIRECTS = 5
#: addresses in a row that fail before a host is left alone for the rest of a run
GIVE_UP = 20
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (204, 404, 410, 451)
_LATER = (408, 425, 429)
_HIDDEN = "***"
#: a run that was cut off is gone on with for so many seconds
_RESUMED = 86_400
#: longest body, in bytes, and longest time, in seconds, that is spent on reading what is of no use, to keep a connection
_DRAINED, _DRAINING = 65_536, 1.0


class WebSettings(Settings):
    """How the network is asked."""

    contact: str | None = None
    """Where the people behind the servers can reach you: a mail address or a URL. It is sent with every request; needed as
    soon as a source of the web is used."""
    connections: int = Field(default=8, ge=1, le=256)
    """Requests under way at the same time, over all hosts."""
    per_second: dict[str, float] = Field(default={"default": 2.0})
    """Requests per second to one host, by ``host`` or ``host:port``; ``default`` is for all others."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one request, from connecting to the last byte."""
    attempts: int = Field(default=4, ge=1, le=20)
    """How often an address is asked in one run before it has failed."""
    backoff: float = Field(default=1.0, ge=0)
    """Seconds before the second attempt, doubled before each further one."""
    max_wait: float = Field(default=120.0, ge=0)
    """Longest wait before an attempt, in seconds. A host that asks for longer (Retry-After) is left alone for the rest of
    the run."""
    max_bytes: int = Field(default=20_000_000, gt=0)
    """Longest content after decompression, in bytes, where a source sets no other limit."""
    allow_local: tuple[str, ...] = ()
    """``host`` or ``host:port`` that may have an address of the local network."""
    offline: bool = False
    """Ask nothing; answer from the store alone."""
    as_of: date | None = None
    """What has expired by this date, or had nothing ``negative_days`` before it, is asked again; null: nothing grows
    old."""
    negative_days: int = Field(default=30, ge=0)
    """Days after which a server that had nothing is asked again."""
    max_failed: float = Field(default=0.05, ge=0, le=1)
    """Share of failed answers above which the run is an error."""

    @field_validator("contact")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[!-~]+|[!-~]+@[!-~]+", value):
            raise ValueError("must be a mail address or a URL that starts with http:// or https://")
        return value

    @field_validator("per_second")
    @classmethod
    def _rates(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not 0 < rate < float("inf") for rate in value.values()):
            raise ValueError("rates must be above 0")
        return {"default": 2.0} | value


@dataclass(frozen=True)
class Clock:
    """Time, and waiting for it."""

    #: seconds since 1970
    now: Callable[[], float] = time.time
    #: seconds since some moment
    elapsed: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class _Secret:
    """The value of a credential, and how to keep it from being seen."""

    def __init__(self, credential: Credential | None) -> None:
        self.place, self.name, self.value = "", "", ""
        if credential is None:
            return
        self.place, _, self.name = credential.place.partition(":")
        self.value = os.environ.get(credential.variable, "").strip()
        if not self.value:
            raise ConfigError(
                f"the environment variable {credential.variable} is not set; it must hold the key of the source"
            )
        if not re.fullmatch(r"[!-~]+", self.value):
            raise ConfigError(f"the environment variable {credential.variable} holds a space or another odd character")
        encoded = {quote(self.value, safe=""), quote_plus(self.value), quote(self.value)}
        lower = {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in encoded}
        escaped = {json.dumps(self.value)[1:-1], self.value.replace("/", "\\/"), html.escape(self.value)}
        spellings = sorted({self.value} | encoded | lower | escaped, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, spellings)))
        self._bytes = re.compile(self._text.pattern.encode())

    def add(self, url: URL, headers: dict[str, str]) -> URL:
        """Put the secret where it belongs."""
        if self.place == "query":
            query = f"{self.name}={quote(self.value, safe='')}"
            return URL(f"{url}{'&' if url.raw_query_string else '?'}{query}", encoded=True)
        if self.place == "header":
            headers[self.name] = f"Bearer {self.value}" if self.name.lower() == "authorization" else self.value
        return url

    def strip(self, url: URL) -> URL:
        """A redirect's target without the secret a server may have put into it."""
        if self.place == "query":
            url = url.without_query_params(self.name)
        return URL(self.hide(str(url)), encoded=True)

    def hide(self, text: str) -> str:
        """``text`` without the secret, and without what no text can hold (headers may come in any encoding)."""
        text = text.encode("utf-8", "replace").decode()
        return self._text.sub(_HIDDEN, text) if self.value else text

    def hide_bytes(self, data: bytes) -> bytes:
        """``data`` without the secret."""
        return self._bytes.sub(_HIDDEN.encode(), data)


class _Host:
    """What a run knows of a host: how fast it may be asked, until when it wants to be left alone, whether it works."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._clock = clock
        self.rate = rate
        self._limiter = _limiter(rate)
        self._resume = 0.0
        self.failures = 0
        #: why it is left alone for the rest of the run
        self.given_up = ""

    async def turn(self) -> None:
        """Wait until the host may be asked."""
        while True:
            await self._limiter.acquire()
            if (left := self._resume - self._clock.elapsed()) <= 0:
                return
            await self._clock.sleep(left)

    def pause(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self._resume = max(self._resume, self._clock.elapsed() + seconds)

    def slow_down(self, delay: float | None) -> None:
        """Leave at least ``delay`` seconds between requests."""
        if delay and 1 / delay < self.rate:
            self.rate = 1 / delay
            self._limiter = _limiter(self.rate)

    def ended(self, status: Status, reason: str) -> None:
        """An address of it was settled; ``status`` after all attempts."""
        self.failures = self.failures + 1 if status == "failed" else 0
        if self.failures >= GIVE_UP and not self.given_up:
            self.given_up = f"{self.failures} failures in a row, the last: {reason}"


def _limiter(rate: float) -> AsyncLimiter:
    """Evenly spaced, but for bursts of a tenth of a second where the rate is high."""
    burst = max(1.0, rate / 10)
    return AsyncLimiter(burst, burst / rate)


@dataclass
class _Ended:
    """How an attempt ended."""

    found: Try
    host: _Host | None = None
    again: bool = False
    #: seconds the server wants us to wait
    retry_after: float | None = None


@dataclass
class Traffic:
    """What a run asked of the network."""

    #: requests that were an attempt of their own, redirects not counted
    tries: int = 0
    received: int = 0
    by_status: Counter[str] = field(default_factory=Counter)


class Client:
    """Answers requests from the store, or from the network first. An async context manager.

    :param only: which addresses to ask
    """

    def __init__(
        self, store: ResponseStore, settings: WebSettings, only: Only = "due", clock: Clock | None = None
    ) -> None:
        self._store, self._settings, self._only = store, settings, only
        self._clock = clock or Clock()
        self._hosts: dict[str, _Host] = {}
        self._under_way: dict[str, asyncio.Event] = {}
        self._slots = asyncio.Semaphore(settings.connections)
        self.traffic = Traffic()
        self._run = self._since = 0

    async def __aenter__(self) -> Client:
        settings = self._settings
        if not settings.offline:
            now = self._clock.now()
            mode = f"{self._only} {settings.as_of}"
            self._run, self._since = self._store.begin_run(mode, utc(now), utc(now - _RESUMED))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.connections,
                resolver=PublicResolver(aiohttp.ThreadedResolver(), settings.allow_local),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"kgrec/{__version__} (+{settings.contact})",
                "Accept-Encoding": "gzip, deflate",
            },
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, kind: object, *exc: object) -> None:
        await self._session.close()

    def finish(self) -> None:
        """The run came to its end: what failed in it may be asked again by the next."""
        if not self._settings.offline:
            self._store.end_run(self._run)

    async def answer(self, request: Request, source: Source, key: str, followed: bool = False) -> tuple[Reply, bool]:
        """The reply to a request, and whether this run asked for it.

        :param key: that the answer is for
        :param followed: an earlier request for the same key was asked in this run; so this one is, if it is new
        :raises ConfigError: if a secret is not in the environment
        """

        def wanted(stored: Stored | None) -> bool:
            if self._settings.offline or self._asked(stored):
                return False
            if self._only == "due":
                return due(stored, source.max_age_days, self._settings.as_of, self._settings.negative_days)
            if stored is None or self._only == "all":
                return followed or self._only == "all"
            return stored.outcome == "failed" if self._only == "failed" else stored.outcome in ("missing", "refused")

        stored, problem = await self._settle(request, source.hosts, wanted)
        if stored is None:
            return (Reply("failed", problem) if problem else self._store.reply_of(None)), False
        self._store.record_ask(key, source.name, stored.id, source.licence, source.max_age_days)
        reply = self._store.reply_of(stored, source.max_age_days, self._settings.as_of)
        return reply, not self._settings.offline and stored.run >= self._since

    def _asked(self, stored: Stored | None) -> bool:
        """Whether an address was settled in this run, or in one that was cut off and that this one goes on from."""
        if stored is None:
            return False
        return stored.run == self._run or (stored.run >= self._since and stored.outcome != "failed")

    async def _settle(
        self, request: Request, hosts: frozenset[str], wanted: Callable[[Stored | None], bool]
    ) -> tuple[Stored | None, str]:
        """What is known of an address after asking it, if that is wanted; and why it was not asked, if it should have been.
        An address is under way once."""
        problem = ""
        while wanted(stored := self._store.lookup(request.url)):
            if (under_way := self._under_way.get(request.url)) is not None:
                await under_way.wait()
                continue
            self._under_way[request.url] = done = asyncio.Event()
            try:
                problem = await self._ask(request, hosts, stored)
            finally:
                del self._under_way[request.url]
                done.set()
            return self._store.lookup(request.url), problem
        return stored, problem

    async def _ask(self, request: Request, hosts: frozenset[str], stored: Stored | None) -> str:
        """Ask an address, several times if need be; returns why it was not asked."""
        secret = _Secret(request.credential)
        if stored is not None and stored.sha256 and (stored.etag or stored.modified) and not self._sound(stored.sha256):
            stored = None
        try:
            ended = await self._try(request, hosts, stored, secret)
            if ended.again:
                ended = await self._try_again(ended, request, hosts, stored, secret)
        except _GivenUp as problem:
            return f"host: left alone after {problem}"
        if ended.host is not None:
            ended.host.ended(ended.found.status, ended.found.reason)
            if ended.host.given_up:
                log.warning("host is left alone", url=request.url, reason=ended.host.given_up)
        if ended.found.status == "failed":
            log.info("request failed", url=request.url, reason=ended.found.reason)
        return ""

    async def _try_again(self, ended: _Ended, *args: Any) -> _Ended:
        """The attempts behind the first, which ended as it did. Most addresses have none."""
        first = [ended]

        async def attempt() -> _Ended:
            return first.pop() if first else await self._try(*args)

        return await AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(self._settings.attempts),
            wait=self._wait,
            retry=retry_if_result(lambda ended: ended.again),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )(attempt)

    def _sound(self, digest: str) -> bool:
        """Whether a content is still what it was, before a server is asked if it has changed."""
        try:
            self._store.body(digest)
        except DamagedBody:
            return False
        return True

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt."""
        ended: _Ended = state.outcome.result()  # type: ignore[union-attr]
        settings = self._settings
        wait = min(settings.backoff * 2 ** (state.attempt_number - 1) * (1 + random.random() / 4), settings.max_wait)
        wait = max(wait, ended.retry_after or 0.0)
        if ended.found.http == 429 and ended.host is not None:
            ended.host.pause(wait)
        return wait

    def _host(self, url: URL) -> _Host:
        name = host_port(url)
        if (host := self._hosts.get(name)) is None:
            rates = self._settings.per_second
            rate = rates.get(name, rates.get(f"{url.raw_host}:{url.port}", rates["default"]))
            host = self._hosts[name] = _Host(rate, self._clock)
        return host

    async def _try(self, request: Request, hosts: frozenset[str], stored: Stored | None, secret: _Secret) -> _Ended:
        """One attempt, through all its redirects; recorded. :raises _GivenUp: if the host is left alone"""
        spent = _Stopwatch(self._clock)
        ended = await self._follow(request, hosts, stored, secret, spent)
        found = ended.found
        ended.found = found = replace(
            found,
            time=utc(self._clock.now()),
            seconds=spent.seconds,
            reason=secret.hide(found.reason),
            final=secret.hide(found.final) or request.url,
            content_type=secret.hide(found.content_type),
            etag=secret.hide(found.etag),
            modified=secret.hide(found.modified),
        )
        if ended.retry_after is not None and ended.host is not None:
            if ended.retry_after > self._settings.max_wait:
                ended.again = False
                ended.host.given_up = f"{found.reason}; it asked to be left alone for {ended.retry_after:.0f} s"
            else:
                ended.host.pause(ended.retry_after)
        self._store.record(request.url, self._run, found)
        self.traffic.tries += 1
        self.traffic.received += found.received
        self.traffic.by_status[found.status] += 1
        return ended

    async def _follow(
        self, request: Request, hosts: frozenset[str], stored: Stored | None, secret: _Secret, spent: _Stopwatch
    ) -> _Ended:
        http: int | None = None
        try:
            url = first = parse_address(request.url)
            seen = {url}
            for _ in range(MAX_REDIRECTS + 1):
                check_host(url, hosts)
                check_literal(url, self._settings.allow_local)
                if request.scrapes:
                    verdict, reason, delay = await self._robots(url, hosts)
                    self._host(url).slow_down(delay)
                    if verdict != "ok":
                        status: Status = "refused" if verdict == "refused" else "failed"
                        return _Ended(Try(status, reason, http, final=str(url)), self._host(url))
                host = self._host(url)
                if host.given_up:
                    raise _GivenUp(host.given_up)
                await host.turn()
                async with self._slots, spent:
                    ended, target = await self._exchange(url, request, stored, secret, url.origin() == first.origin())
                ended.host = host
                if target is None:
                    return ended
                http = ended.found.http
                url = secret.strip(parse_address(target, url))
                if url in seen:
                    return _Ended(Try("refused", "redirects: a loop", http, final=str(url)), host)
                seen.add(url)
            return _Ended(Try("refused", f"redirects: more than {MAX_REDIRECTS}", http, final=str(url)), host)
        except AddressRefused as refusal:
            where = "address: redirect to " if http else "address: "
            return _Ended(Try("refused", f"{where}{refusal}", http))

    async def _robots(self, url: URL, hosts: frozenset[str]) -> tuple[str, str, float | None]:
        """Whether the rules of the host allow ``url``; they are asked for once a day."""
        address = robots.robots_address(url)

        def wanted(stored: Stored | None) -> bool:
            if stored is not None and stored.run == self._run:
                return False
            return stored is None or stored.outcome == "failed" or stored.time < utc(self._clock.now() - robots.MAX_AGE)

        request = Request(address, max_bytes=robots.MAX_BYTES)
        stored, problem = await self._settle(request, hosts, wanted)
        reply = Reply("failed", problem) if problem else self._store.reply_of(stored)
        return robots.judge(stored, reply, url)

    async def _exchange(
        self, url: URL, request: Request, stored: Stored | None, secret: _Secret, same_origin: bool
    ) -> tuple[_Ended, str | None]:
        """One request; its end, or where it is redirected to."""
        accept = [f"{one}*" if one.endswith("/") else one for one in request.accept]
        headers = {"Accept": ", ".join([*accept, "*/*;q=0.1"] if accept else ["*/*"])}
        known = stored is not None and stored.sha256 and stored.final == secret.hide(str(url))
        if stored is not None and known:
            if stored.etag:
                headers["If-None-Match"] = stored.etag
            if stored.modified:
                headers["If-Modified-Since"] = stored.modified
        sent = secret.add(url, headers) if same_origin else url
        body = self._store.new_body(secret.hide_bytes if secret.value else None)
        received = [0]
        http: int | None = None

        def failed(reason: str, again: bool = True) -> tuple[_Ended, None]:
            return _Ended(Try("failed", reason, http, received=received[0], final=str(url)), again=again), None

        def refused(reason: str) -> tuple[_Ended, None]:
            return _Ended(Try("refused", reason, http, received=received[0], final=str(url))), None

        try:
            async with self._session.get(sent, headers=headers, allow_redirects=False) as response:
                http = response.status
                try:
                    if http in _REDIRECTS:
                        target = response.headers.get("Location")
                        return (
                            (_Ended(Try("failed", http=http)), target)
                            if target
                            else refused("redirects: without an address")
                        )
                    if http == 304 and known:
                        return _Ended(self._unchanged(response, url)), None
                    if http in _GONE:
                        return _Ended(Try("missing", f"HTTP {http}", http, final=str(url))), None
                    if http not in (200, 203):
                        ended, _ = failed(f"HTTP {http}", again=http in _LATER or http >= 500)
                        ended.retry_after = _retry_after(response, self._clock.now()) if ended.again else None
                        return ended, None
                    kind = await self._read(response, request, body, received)
                    found = Try(
                        "ok", "", http, received=received[0], final=str(url), content_type=kind, sha256=body.finish(),
                        bytes=body.bytes, etag=response.headers.get("ETag", ""),
                        modified=response.headers.get("Last-Modified", ""),
                    )  # fmt: skip
                    return _Ended(found), None
                finally:
                    await _let_go(response)
        except Unwanted as unwanted:
            return refused(str(unwanted))
        except asyncio.TimeoutError:
            return failed(f"timeout: no whole answer within {self._settings.timeout:g} s")
        except (aiohttp.ClientPayloadError, zlib.error, EOFError):
            return failed("cut short: the body ended early, or is damaged")
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError):
            return failed("certificate: is not valid or not trusted", again=False)
        except aiohttp.ClientConnectorDNSError:
            return failed("connection: the name cannot be resolved")
        except aiohttp.ClientConnectorError as error:
            code = error.os_error.errno
            return failed(f"connection: {os.strerror(code).lower() if code else 'cannot be opened'}")
        except aiohttp.InvalidURL:
            return refused("address: not a valid address")
        except aiohttp.ClientResponseError:
            return failed("malformed: the answer is not HTTP")
        except (aiohttp.ClientError, OSError) as error:
            return failed(f"connection: {type(error).__name__}")
        finally:
            body.discard()

    @staticmethod
    def _unchanged(response: aiohttp.ClientResponse, url: URL) -> Try:
        headers = response.headers
        return Try(
            "unchanged", "", 304, final=str(url), etag=headers.get("ETag", ""), modified=headers.get("Last-Modified", "")
        )  # fmt: skip

    async def _read(
        self, response: aiohttp.ClientResponse, request: Request, body: BodyWriter, received: list[int]
    ) -> str:
        """Read a body into ``body`` as long as it is wanted; returns its media type.

        :raises Unwanted: if it is too large, or not what was asked for
        :raises EOFError: if compressed data ends too early
        """
        limit = self._settings.max_bytes if request.max_bytes is None else request.max_bytes
        if (declared := response.content_length) is not None and declared > limit:
            raise Unwanted(f"too large: {declared} bytes, and {limit} may be")
        decompressor = Decompressor(response.headers.get("Content-Encoding", ""))
        stated = response.headers.get("Content-Type", "")
        head, kind = bytearray(), None
        async for chunk in response.content.iter_any():
            received[0] += len(chunk)
            if received[0] > limit:
                raise Unwanted(f"too large: more than {limit} bytes")
            for part in decompressor.feed(chunk):
                if body.bytes + len(part) > limit:
                    raise Unwanted(f"too large: more than {limit} bytes after decompression")
                body.write(part)
                if kind is None:
                    head += part[:HEAD]
                    if len(head) >= HEAD:
                        kind = settle_type(bytes(head), stated, request.accept)
        if received[0] and not decompressor.whole:
            raise EOFError
        if not body.bytes and request.accept:
            raise Unwanted("empty: no content")
        return settle_type(bytes(head), stated, request.accept) if kind is None else kind


async def _let_go(response: aiohttp.ClientResponse) -> None:
    """Read what is left of a short body, so that the connection can be used again; else close it."""
    try:
        if not response.content.at_eof() and (response.content_length or _DRAINED + 1) <= _DRAINED:
            await asyncio.wait_for(response.read(), _DRAINING)
    except (asyncio.TimeoutError, aiohttp.ClientError, OSError):
        pass
    finally:
        if not response.content.at_eof():
            response.close()


class _GivenUp(Exception):
    """A host is left alone; the message says why."""


class _Stopwatch:
    """Seconds spent inside its blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.seconds = clock, 0.0

    async def __aenter__(self) -> None:
        self._began = self._clock.elapsed()

    async def __aexit__(self, *exc: object) -> None:
        self.seconds += self._clock.elapsed() - self._began


def _retry_after(response: aiohttp.ClientResponse, now: float) -> float | None:
    """Seconds a server asks to wait: given as such or as a date; None if it does not say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() - now)
