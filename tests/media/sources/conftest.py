"""Drives a source by hand: answers are looked up by address, and what was asked is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from kgrec.media.sources import Found, Nothing, Reply, Request, Source, Subject

TIME = "2026-01-31T10:00:00Z"


class Driven:
    """Outcomes by modality, and the requests in their order."""

    def __init__(self, outcomes: Iterable[Found | Nothing], asked: list[Request]) -> None:
        self.outcomes = list(outcomes)
        self.by = {outcome.modality: outcome for outcome in self.outcomes}
        self.asked = asked
        self.urls = [request.url for request in asked]

    def found(self, modality: str) -> Found:
        outcome = self.by[modality]  # type: ignore[index]
        assert isinstance(outcome, Found), outcome
        return outcome

    def nothing(self, modality: str) -> tuple[str, str]:
        outcome = self.by[modality]  # type: ignore[index]
        assert isinstance(outcome, Nothing), outcome
        return outcome.outcome, outcome.reason


def reply(content: Any, content_type: str = "") -> Reply:
    """An answer: a reply as it is, bytes, or what JSON can say."""
    if isinstance(content, Reply):
        return content
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply("ok", content_type=content_type, time=TIME, body=lambda: body)


def drive_by(source: Source, subject: Subject, modalities: Iterable[str], answer: Callable[[Request], Any]) -> Driven:
    asked: list[Request] = []
    search = source.find(subject, frozenset(modalities))  # type: ignore[arg-type]
    try:
        request = next(search)
        while True:
            asked.append(request)
            request = search.send(reply(answer(request)))
    except StopIteration as stop:
        return Driven(stop.value, asked)


@pytest.fixture
def drive() -> Callable[..., Driven]:
    """``drive(source, ids, answers)``; an address that is not among the answers is missing."""

    def run(
        source: Source, ids: Mapping[str, str], answers: Mapping[str, Any], modalities: str = "image text"
    ) -> Driven:
        gone = Reply("missing", "HTTP 404")
        return drive_by(
            source, Subject("item:1", ids=ids), modalities.split(), lambda request: answers.get(request.url, gone)
        )

    return run


@pytest.fixture
def drive_any() -> Callable[..., Driven]:
    """``drive_any(source, subject, modalities, answer)`` with ``answer(request)``."""
    return drive_by
