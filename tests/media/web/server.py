"""A web server that does everything wrong, on request, and counts what it was asked.

Its answers are written to the socket byte by byte as the test says, so that they can be cut, slowed down, or never end.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from kgrec.media.sources.base import Credential, Found, Modality, Nothing, Request, Search, Source, Subject


@dataclass(frozen=True)
class Asked:
    """A request as the server saw it."""

    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass(frozen=True)
class Answer:
    """What the server says. Without ``declared`` and ``chunked`` a body has its own length."""

    body: bytes | Callable[[], AsyncIterator[bytes]] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Content-Length that is stated, whatever is sent
    declared: int | None = None
    chunked: bool = False
    #: the connection is closed behind the body, whatever should follow; ``garbage`` is sent before
    broken: bool = False
    garbage: bytes = b""
    #: seconds before the head, and between parts of the body
    wait: float = 0.0
    drip: float = 0.0
    #: never answers
    silent: bool = False


Handler = Callable[[Asked], Answer]


class BadServer:
    """Runs in a thread of its own. Paths without an answer are 404."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.now = self.most = 0
        self._answers: dict[str, Handler] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def answer(self, path: str, *answers: Answer | Handler) -> str:
        """The answers to requests for ``path`` in their order, the last one for all that follow; returns its address."""

        def handler(asked: Asked) -> Answer:
            one = answers[min(self.hits[path], len(answers)) - 1]
            return one if isinstance(one, Answer) else one(asked)

        self._answers[path] = handler
        return self.url(path)

    def default(self, handler: Handler) -> None:
        """The answer to requests for all other paths."""
        self._answers[""] = handler

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
                }
                asked = Asked(head[0].split(" ")[1], headers)
                self.hits[asked.path] += 1
                self.asked.append(asked)
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    handler = self._answers.get(asked.path) or self._answers.get("")
                    whole = await self._write(writer, handler(asked) if handler else Answer(status=404))
                finally:
                    self.now -= 1
                if not whole:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        """Send an answer. :return: whether it was whole, so that the connection can be used again"""
        if answer.silent:
            await asyncio.sleep(3600)
        await asyncio.sleep(answer.wait)
        phrase = HTTPStatus(answer.status).phrase
        headers = dict(answer.headers)
        fixed = isinstance(answer.body, bytes)
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif answer.declared is not None:
            headers["Content-Length"] = str(answer.declared)
        elif isinstance(answer.body, bytes) and answer.status != 304:
            headers["Content-Length"] = str(len(answer.body))
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        sent = 0
        async for part in self._parts(answer):
            sent += len(part)
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if answer.chunked else part)
            await writer.drain()
            await asyncio.sleep(answer.drip)
        if answer.broken:
            writer.write(answer.garbage)
            return False
        if answer.chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return answer.chunked or answer.status == 304 or (fixed and answer.declared in (None, sent))

    @staticmethod
    async def _parts(answer: Answer) -> AsyncIterator[bytes]:
        if not isinstance(answer.body, bytes):
            async for part in answer.body():
                yield part
        elif answer.drip:
            for at in range(len(answer.body)):
                yield answer.body[at : at + 1]
        elif answer.body:
            yield answer.body


async def endless() -> AsyncIterator[bytes]:
    """A body without an end."""
    while True:
        yield b"\xff\xd8\xff" + bytes(65_536)


def gzip(data: bytes) -> bytes:
    """``data`` compressed."""
    squeeze = zlib.compressobj(9, wbits=31)
    return squeeze.compress(data) + squeeze.flush()


def bomb(size: int) -> bytes:
    """A short gzip file that is ``size`` zeros long, behind the first bytes of a JPEG."""
    squeeze = zlib.compressobj(9, wbits=31)
    parts = [squeeze.compress(b"\xff\xd8\xff")]
    parts += [squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, squeeze.flush()])


class Links(Source):
    """Pictures at given addresses: the first that answers."""

    def __init__(
        self,
        hosts: set[str] | frozenset[str],
        links: Mapping[str, list[str]] | None = None,
        *,
        name: str = "links",
        accept: tuple[str, ...] = ("image/",),
        credential: Credential | None = None,
        scrapes: bool = False,
        max_age_days: int | None = None,
        licence: str = "for tests",
    ) -> None:
        self.name, self.hosts, self.modalities = name, frozenset(hosts), frozenset({"image"})
        self.licence, self.max_age_days = licence, max_age_days
        self._links, self._accept, self._credential, self._scrapes = links, accept, credential, scrapes

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        links = [subject.ids["url"]] if self._links is None else self._links.get(subject.key, [])
        nothing = Nothing("image", "missing", "no address")
        for url in links:
            reply = yield Request(url, self._accept, self._credential, self._scrapes)
            if reply.outcome == "ok":
                return [Found("image", url, lambda limit, reply=reply: reply.body()[: limit + 1])]  # type: ignore[misc]
            nothing = Nothing("image", reply.outcome, reply.reason, url)
        return [nothing]
