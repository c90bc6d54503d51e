"""Requests per second of fetching media, beside a bare aiohttp loop with as many connections against the same server.

    python benchmarks/fetch_media.py [--files 2000] [--bytes 20000] [--connections 8] [--rounds 5]

A server in a process of its own answers with small files of the given size. The bare loop reads them and forgets them; ours
checks addresses and types, keeps a rate (set so high that it does not bind), and puts every answer into a new store. The two
take turns; the median of the rounds is shown. ``again`` is a second run over the full store, which asks nothing. The last
line is ``ratio <ours over bare>``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import structlog
from aiohttp import web

from kgrec.media.sources.base import Found, Modality, Nothing, Request, Search, Source, Subject
from kgrec.media.web.client import WebSettings
from kgrec.media.web.run import fetch_all
from kgrec.media.web.store import ResponseStore

IMAGE: frozenset[Modality] = frozenset({"image"})


class Files(Source):
    """``item:<n>`` has its picture at ``/<n>``."""

    name, modalities = "files", IMAGE

    def __init__(self, host: str) -> None:
        self.hosts = frozenset({host})
        self._base = f"http://{host}"

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """One request."""
        reply = yield Request(f"{self._base}/{subject.key.removeprefix('item:')}", ("image/",))
        if reply.outcome != "ok":
            return [Nothing("image", reply.outcome, reply.reason)]
        return [Found("image", reply.url, lambda limit: reply.body()[: limit + 1])]


def serve(size: int, port: Connection) -> None:
    """Answer every request with a file of ``size`` bytes; the port is sent through ``port``."""

    async def run() -> None:
        async def answer(request: web.Request) -> web.Response:
            head = b"\xff\xd8\xff" + request.path.encode()
            return web.Response(body=head + bytes(size - len(head)), content_type="image/jpeg")

        app = web.Application()
        app.router.add_get("/{name}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.sleep(86_400)

    asyncio.run(run())


async def bare(host: str, files: int, connections: int) -> None:
    """Read all files with ``connections`` workers."""
    numbers = iter(range(files))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.get(f"http://{host}/{number}") as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(work(session) for _ in range(connections)))


def ours(host: str, files: int, connections: int, store: ResponseStore) -> None:
    """Fetch all files into ``store``."""
    settings = WebSettings(
        contact="benchmark@example.org", connections=connections, per_second={"default": 1e6}, allow_local=(host,)
    )
    subjects = ((Subject(f"item:{number}"), IMAGE) for number in range(files))
    fetch_all(subjects, [Files(host)], store, settings, usable=_anything, check="anything", total=files)


def _anything(found: Found) -> str:
    return ""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=2000)
    options.add_argument("--bytes", type=int, default=20_000)
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    ready, port = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(given.bytes, port), daemon=True)
    server.start()
    host = f"127.0.0.1:{ready.recv()}"
    rates: dict[str, list[float]] = {"bare": [], "ours": [], "again": []}
    for _ in range(given.rounds):
        with TemporaryDirectory() as folder, ResponseStore(Path(folder)) as store:
            for name in rates:
                began = time.perf_counter()
                if name == "bare":
                    asyncio.run(bare(host, given.files, given.connections))
                else:
                    ours(host, given.files, given.connections, store)
                rates[name].append(given.files / (time.perf_counter() - began))
            assert store.summary()["addresses"] == {"ok": given.files}
    server.terminate()
    print(
        f"{given.files} files of {given.bytes} bytes, {given.connections} connections, median of {given.rounds} rounds"
    )
    for name, values in rates.items():
        print(f"{name:6} {statistics.median(values):9,.0f} files/s   {min(values):,.0f} to {max(values):,.0f}")
    print(f"ratio {statistics.median(o / b for o, b in zip(rates['ours'], rates['bare'], strict=True)):.3f}")


if __name__ == "__main__":
    main()
