"""One way to look for media, over the network or over what it once said: a source asks, and is answered.

:func:`fetch_all` answers from the network and keeps what it says; :func:`replay` answers from what was kept, and finds
the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kgrec.errors import ConfigError, DataError
from kgrec.media.sources.base import Found, Modality, Nothing, Reply, Request, Source, Subject
from kgrec.media.web.client import Client, Clock, Only, Traffic, WebSettings
from kgrec.media.web.store import DamagedBody, ResponseStore
from kgrec.progress import ItemProgress, get_logger, item_progress

log = get_logger(__name__)

#: workers per connection: while one waits for the turn of its host, another asks elsewhere
_WORKERS = 4
#: fewer failures than this are no sign of a network that does not work
_HANDFUL = 5
_LOG_SECONDS = 60.0


@dataclass
class FetchReport:
    """What a run did."""

    subjects: int = 0
    #: requests of this run, each attempt one, redirects not counted
    tries: int = 0
    #: how they ended: ok, unchanged, missing, refused, failed
    by_status: dict[str, int] = field(default_factory=dict)
    #: of bodies, as they came over the wire
    bytes: int = 0
    seconds: float = 0.0
    #: what sources gave, by source: ok, unusable, missing, refused, failed, pending
    found: dict[str, dict[str, int]] = field(default_factory=dict)
    #: answers sources got, from the network or the store: ok, missing, refused, failed, pending
    answers: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


async def _drive(
    source: Source,
    subject: Subject,
    modalities: frozenset[Modality],
    answer: Callable[[Request], Awaitable[Reply]],
) -> list[Found | Nothing]:
    search = source.find(subject, modalities)
    try:
        request = next(search)
        while True:
            request = search.send(await answer(request))
    except StopIteration as end:
        return list(end.value)
    finally:
        search.close()


def replay(
    source: Source,
    subject: Subject,
    modalities: frozenset[Modality],
    store: ResponseStore,
    as_of: date | None = None,
) -> list[Found | Nothing]:
    """What a source finds in the answers that are kept. What was not asked yet is ``pending``.

    :param as_of: what the source's ``max_age_days`` let expire by this date is told as failed
    :raises DataError: if a content in the store is damaged
    """

    async def answer(request: Request) -> Reply:
        return store.reply(request.url, source.max_age_days, as_of)

    try:
        _drive(source, subject, modalities, answer).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the store answers at once")


def fetch_all(
    subjects: Iterable[tuple[Subject, frozenset[Modality]]],
    sources: Sequence[Source],
    store: ResponseStore,
    settings: WebSettings,
    *,
    usable: Callable[[Found], str],
    check: str = "",
    only: Only = "due",
    total: int | None = None,
    clock: Clock | None = None,
) -> FetchReport:
    """Look for the media of all subjects, and keep every answer.

    For each modality of a subject the sources are tried in their order until one gives something usable. The subjects are
    read as they are worked on; nothing is kept of those that are done. A run that is cut off, in whatever way, goes on
    where it was when it is started again.

    :param usable: why a find will not do, or ""; called from several threads
    :param check: names ``usable`` and its settings; what it said of the same answers is then remembered in the store, and
        it is not called again
    :param only: which addresses to ask, see :data:`~kgrec.media.web.client.Only`
    :param total: of subjects, for the progress
    :raises ConfigError: if ``settings.contact`` or a key is missing
    :raises DataError: if more than ``settings.max_failed`` of the answers failed; all others are kept
    """
    if not settings.offline and settings.contact is None and (web := [one.name for one in sources if one.hosts]):
        raise ConfigError(
            f"media.web.contact is not set, and {', '.join(web)} would be asked; give a mail address or a URL where the people "
            "behind the servers can reach you"
        )
    return asyncio.run(_Run(sources, store, settings, usable, check, only, clock or Clock()).all(subjects, total))


class _Run:
    def __init__(
        self,
        sources: Sequence[Source],
        store: ResponseStore,
        settings: WebSettings,
        usable: Callable[[Found], str],
        check: str,
        only: Only,
        clock: Clock,
    ) -> None:
        self._sources, self._store, self._settings = sources, store, settings
        self._usable, self._check, self._only, self._clock = usable, check, only, clock
        self._found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._answers: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._done = 0

    async def all(self, subjects: Iterable[tuple[Subject, frozenset[Modality]]], total: int | None) -> FetchReport:
        began = self._told = time.monotonic()
        queue = iter(subjects)
        async with Client(self._store, self._settings, self._only, self._clock) as self._client:
            with item_progress("fetch media", total) as bar:
                workers = [
                    asyncio.create_task(self._work(queue, bar, began, total))
                    for _ in range(_WORKERS * self._settings.connections)
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
            self._client.finish()
        report = self._report(self._client.traffic, time.monotonic() - began)
        log.info("fetched media", **report.to_dict())
        self._judge()
        return report

    async def _work(self, queue: Any, bar: ItemProgress, began: float, total: int | None) -> None:
        for subject, modalities in queue:
            await self._subject(subject, modalities)
            self._done += 1
            failed = self._answers["failed"]
            bar.advance(1, failed=failed, asked=self._client.traffic.tries)
            if (now := time.monotonic()) - self._told >= _LOG_SECONDS:
                self._told = now
                rate = self._done / (now - began)
                left = None if total is None else round((total - self._done) / rate)
                log.info("fetching media", done=self._done, failed=failed, per_second=round(rate, 2), seconds_left=left)
            # an interrupt is seen here, also where all answers are in the store
            await asyncio.sleep(0)

    async def _subject(self, subject: Subject, modalities: frozenset[Modality]) -> None:
        followed = False
        for source in self._sources:
            if not (wanted := modalities & source.modalities):
                continue
            for last in (False, False, True):
                try:
                    found, asked = await self._search(source, subject, wanted, followed)
                    break
                except DamagedBody as damaged:
                    if last or self._settings.offline:
                        raise
                    log.warning("a damaged content is asked for again", path=str(damaged.path))
                    self._store.discard(damaged)
                    followed = True
            followed |= asked
            modalities -= found

    async def _search(
        self, source: Source, subject: Subject, modalities: frozenset[Modality], followed: bool
    ) -> tuple[frozenset[Modality], bool]:
        """Modalities for which a source gave something usable, and whether it asked the network."""
        asked, replies, digest = False, [], hashlib.sha256()

        async def answer(request: Request) -> Reply:
            nonlocal asked
            reply, fresh = await self._client.answer(request, source, subject.key, followed or asked)
            asked |= fresh
            replies.append(reply)
            digest.update(f"{request.url}\0{reply.outcome}\0{reply.sha256}\n".encode())
            return reply

        results = await _drive(source, subject, modalities, answer)
        remembered = bool(self._check) and any(reply.sha256 for reply in replies)
        outcomes, good = [], set()
        for result in results:
            outcome = "ok"
            if isinstance(result, Nothing):
                outcome = result.outcome
            elif await self._verdict(result, source, subject, digest.digest() if remembered else b""):
                outcome = "unusable"
            else:
                good.add(result.modality)
            outcomes.append(outcome)
        self._found[source.name].update(outcomes)
        for reply in replies:
            self._answers[reply.outcome] += 1
            if reply.outcome == "failed":
                self._reasons[reply.reason] += 1
        return frozenset(good), asked

    async def _verdict(self, found: Found, source: Source, subject: Subject, answers: bytes) -> str:
        if not answers:
            return await asyncio.to_thread(self._usable, found)
        parts = (self._check, source.name, subject.key, found.modality, found.origin)
        digest = hashlib.sha256("\0".join(parts).encode() + answers).digest()
        if (reason := self._store.verdict(digest)) is None:
            reason = await asyncio.to_thread(self._usable, found)
            self._store.record_verdict(digest, reason)
        return reason

    def _report(self, traffic: Traffic, seconds: float) -> FetchReport:
        return FetchReport(
            subjects=self._done,
            tries=traffic.tries,
            by_status=dict(sorted(traffic.by_status.items())),
            bytes=traffic.received,
            seconds=round(seconds, 3),
            found={name: dict(sorted(counts.items())) for name, counts in sorted(self._found.items())},
            answers=dict(sorted(self._answers.items())),
        )

    def _judge(self) -> None:
        """Failures must not pass for media that do not exist."""
        failed = self._answers["failed"]
        answers = sum(self._answers.values()) - self._answers["pending"]
        if self._settings.offline or failed < _HANDFUL or failed <= self._settings.max_failed * answers:
            return
        reason, often = min(self._reasons.items(), key=lambda one: (-one[1], one[0]))
        raise DataError(
            f"{failed} of {answers} answers failed (most often, {often} times: {reason}), more than media.web.max_failed allows; "
            "nothing is lost: what was answered is kept, and the next run asks for the rest. See to the network and the "
            "keys, and run it again, or raise max_failed",
            path=self._store.folder,
        )
