"""The local engine encodes on this machine and keeps its processor, or its GPU, always at the model.

On a CPU as many workers as torch has threads run whole batches, decoding included, with one thread each: sums split over
several threads would depend on their number. On a GPU the workers decode into pinned memory; the calling thread copies a
batch up while the one before it is computed and takes results down two batches later, so that the GPU never waits.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec.features.contents import Contents
from kgrec.features.encoders import Encoded, Encoder, Precision, open_encoder

_T = TypeVar("_T")


@dataclass(frozen=True)
class EncoderSpec:
    """What opens an encoder, here or elsewhere. See :func:`~kgrec.features.encoders.open_encoder`."""

    name: str
    modality: str
    device: str = "auto"
    batch_size: int | None = None
    precision: Precision = "float32"

    def open(self) -> Encoder:
        return open_encoder(self.name, self.modality, self.device, self.batch_size, self.precision)


@dataclass(frozen=True)
class EncoderCard:
    """What is known of an open encoder by those who do not hold it."""

    name: str
    modality: str
    fingerprint: str
    description: dict[str, Any]
    width: int
    token_width: int | None

    @classmethod
    def of(cls, encoder: Encoder) -> EncoderCard:
        return cls(
            encoder.name, encoder.modality, encoder.fingerprint, encoder.description, encoder.width,
            encoder.token_width,
        )  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Some contents, encoded."""

    #: shape: (n,)
    positions: NDArray[np.int64]
    #: shape: (n, width)
    vectors: NDArray[np.float16]
    #: tokens left out of each text. shape: (n,)
    cut: NDArray[np.int32]
    #: per content, shape: (its tokens, token_width); None unless asked for
    tokens: list[NDArray[np.float16]] | None = None


class BadContent(Exception):
    """A content cannot be encoded."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(position, reason)
        self.position, self.reason = position, reason


class LocalEngine:
    """Encodes in threads of this process.

    :param tokens: whether token states are wanted
    :raises EncoderUnavailable: if the encoder cannot be had
    """

    def __init__(self, spec: EncoderSpec, tokens: bool = False) -> None:
        self.encoder, self.tokens = spec.open(), tokens
        self.card = EncoderCard.of(self.encoder)

    def encode(self, contents: Contents, positions: NDArray[np.int64]) -> Iterator[Batch]:
        """Encode the contents at ``positions``, which are rising; batches come as they are done.

        :raises BadContent: if one cannot be preprocessed, or its vector is zero or not finite
        """
        return encode_contents(self.encoder, contents.read(positions), self.tokens)


@dataclass(frozen=True)
class _Rows:
    """A batch before it is encoded: contents of one padded length."""

    length: int
    positions: list[int]
    contents: list[Any]
    cut: list[int]


def encode_contents(
    encoder: Encoder, contents: Iterable[tuple[int, Any]], tokens: bool = False, workers: int | None = None
) -> Iterator[Batch]:
    """Encode (position, content) pairs in threads. See :meth:`LocalEngine.encode`.

    :param workers: None: torch's threads on a CPU, all processors for a GPU
    """
    on_cpu = _on_cpu(encoder)
    if workers is None:
        workers = torch.get_num_threads() if on_cpu else os.cpu_count() or 1

    def measure(pairs: list[tuple[int, Any]]) -> list[tuple[int, int, Any, int]]:
        return [(encoder.padded_length(one), position, one, encoder.cut(one)) for position, one in pairs]

    def work(rows: _Rows) -> Any:
        batch = _collate(encoder, rows)
        if on_cpu:
            return _finish(rows, encoder.encode(batch, tokens))
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if _on_cuda(encoder) else batch

    with (
        _steady_numerics(on_cpu),
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            chunks = _ahead(reader, _chunks(contents, encoder.batch_size))
            measured = _in_order(((pool.submit(measure, chunk), chunk) for chunk in chunks), depth=2)
            batches = _batches((row for rows, _ in measured for row in rows), encoder.batch_size)
            depth = 2 * workers if on_cpu else workers + 2
            done = _in_order(((pool.submit(work, rows), rows) for rows in batches), depth)
            if on_cpu:
                yield from (batch for batch, _ in done)
            else:
                yield from _on_device(encoder, done, tokens)
        finally:
            pool.shutdown(cancel_futures=True)


def _collate(encoder: Encoder, rows: _Rows) -> dict[str, Tensor]:
    try:
        return encoder.collate(rows.contents, rows.length)
    except ValueError:
        for position, content in zip(rows.positions, rows.contents, strict=True):
            try:
                encoder.collate([content], rows.length)
            except ValueError as error:
                raise BadContent(position, f"cannot be preprocessed ({error})") from error
        raise


def _on_device(encoder: Encoder, batches: Iterator[tuple[dict[str, Tensor], _Rows]], tokens: bool) -> Iterator[Batch]:
    """Run the model on batches that workers made, two under way at any time."""
    copies = torch.cuda.Stream(encoder.device) if _on_cuda(encoder) else None
    running: deque[tuple[_Rows, Callable[[], Encoded]]] = deque()
    for batch, rows in batches:
        running.append((rows, encoder.begin(_upload(batch, encoder.device, copies), tokens)))
        if len(running) > 2:
            first, wait = running.popleft()
            yield _finish(first, wait())
    for first, wait in running:
        yield _finish(first, wait())


def _upload(batch: dict[str, Tensor], device: torch.device, copies: torch.cuda.Stream | None) -> dict[str, Tensor]:
    """The batch on the GPU, copied on a stream of its own: behind no computation."""
    if copies is None:
        return batch
    with torch.cuda.stream(copies):
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    current = torch.cuda.current_stream(device)
    current.wait_stream(copies)
    for tensor in moved.values():
        tensor.record_stream(current)
    return moved


def _finish(rows: _Rows, encoded: Encoded) -> Batch:
    count = len(rows.positions)
    with np.errstate(over="ignore"):  # told below
        vectors = encoded.vectors[:count].numpy().astype(np.float16)
        tokens = None
        if encoded.tokens is not None and encoded.token_mask is not None:
            tokens = [
                states[mask].numpy().astype(np.float16)
                for states, mask in zip(encoded.tokens[:count], encoded.token_mask, strict=False)
            ]
    finite = np.isfinite(vectors).all(1)
    if tokens is not None:
        finite &= [bool(np.isfinite(states).all()) for states in tokens]
    if not finite.all():
        raise BadContent(rows.positions[int(np.argmin(finite))], "got a vector that is not finite in float16")
    if not (present := vectors.any(1)).all():
        raise BadContent(rows.positions[int(np.argmin(present))], "got a vector of zeros")
    return Batch(np.array(rows.positions), vectors, np.array(rows.cut, np.int32), tokens)


def _batches(contents: Iterable[tuple[int, int, Any, int]], size: int) -> Iterator[_Rows]:
    """Batches of contents of one length each; those that are left over come last, longest first."""
    waiting: dict[int, _Rows] = defaultdict(lambda: _Rows(0, [], [], []))
    for length, position, content, cut in contents:
        rows = waiting[length]
        rows.positions.append(position)
        rows.contents.append(content)
        rows.cut.append(cut)
        if len(rows.positions) == size:
            del waiting[length]
            yield _Rows(length, rows.positions, rows.contents, rows.cut)
    for length, rows in sorted(waiting.items(), key=lambda item: -item[0]):
        yield _Rows(length, rows.positions, rows.contents, rows.cut)


def _chunks(pairs: Iterable[_T], size: int) -> Iterator[list[_T]]:
    pairs = iter(pairs)
    while chunk := list(islice(pairs, size)):
        yield chunk


def _ahead(thread: ThreadPoolExecutor, items: Iterator[_T]) -> Iterator[_T]:
    """``items``, the next one made while the caller is busy with this one."""
    end: Any = object()
    coming = thread.submit(next, items, end)
    while (item := coming.result()) is not end:
        coming = thread.submit(next, items, end)
        yield item


def _in_order(tasks: Iterable[tuple[Future[Any], _T]], depth: int) -> Iterator[tuple[Any, _T]]:
    """Results of tasks in the order they were begun, ``depth`` of them under way while the caller is busy."""
    begun: deque[tuple[Future[Any], _T]] = deque()
    for future, what in tasks:
        begun.append((future, what))
        if len(begun) > depth:
            first, its = begun.popleft()
            yield first.result(), its
    while begun:
        first, its = begun.popleft()
        yield first.result(), its


def _on_cpu(encoder: Encoder) -> bool:
    return encoder.device.type == "cpu"


def _on_cuda(encoder: Encoder) -> bool:
    return encoder.device.type == "cuda"


@contextmanager
def _steady_numerics(on_cpu: bool) -> Iterator[None]:
    """One thread per operation on a CPU; full float32 and chosen, not timed, kernels on a GPU. Restored afterwards."""
    if on_cpu:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
    else:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            matmul = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = False
            try:
                yield
            finally:
                torch.backends.cuda.matmul.allow_tf32 = matmul
