"""Encoding gives each distinct picture and text one vector, and each key the vector of its content.

Vectors depend on encoder and content alone (see :mod:`kgrec.features.encoders.base`); what the cache knows is not
encoded again, and contents shared by several keys are encoded once.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field

from kgrec.config import Settings
from kgrec.data import schemas
from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import DataError
from kgrec.features.cache import FeatureCache
from kgrec.features.encoders import Encoder, Modality, open_encoder
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)


class FeaturesSettings(Settings):
    """Which encoders are used, and how fast."""

    image: str | None = "efficientnet-lite0"
    """Image encoder, ``<library>:<model>``; null leaves the modality out."""
    text: str | None = "all-MiniLM-L6-v2"
    """Text encoder, ``<library>:<model>``; null leaves the modality out."""
    batch_size: int | None = Field(default=None, gt=0)
    """Contents per batch; null is 8 pictures or 16 texts on a CPU, 128 on a GPU. Part of what a cached vector is known
    by, because sums are rounded by the shape they run in."""
    device: str = "auto"
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:<n>``."""


def encode_features(
    media: Path, out: Path, settings: FeaturesSettings, cache: Path, device: str = "auto"
) -> dict[str, Any]:
    """Write ``image.parquet`` and ``text.parquet`` (:func:`~kgrec.data.schemas.features`, sorted by key).

    A key without a usable medium has no row. Files of a modality that is left out are removed.

    :param media: folder written by :func:`kgrec.media.collect.collect_media`
    :param cache: folder of the feature cache, outside ``out``; deleting it changes no output
    :param device: overrides ``settings.device`` unless ``auto``
    :return: per modality the encoder, its fingerprint, the width, and counts: ``keys``, ``duplicates`` (keys that share
        the content of another), ``encoded``, ``from_cache`` (distinct contents)
    :raises EncoderUnavailable: if an encoder cannot be had; nothing is written then
    :raises DataError: if the media tables are missing or damaged, or a vector is not finite
    """
    device = settings.device if device == "auto" else device
    names: dict[Modality, str | None] = {"image": settings.image, "text": settings.text}
    encoders = {m: open_encoder(name, m, device, settings.batch_size) for m, name in names.items() if name}
    report: dict[str, Any] = {}
    for modality in names:
        path = out / f"{modality}.parquet"
        if modality in encoders:
            contents = _Images(media / "images") if modality == "image" else _Texts(media / "texts.parquet")
            report[modality] = _encode_modality(encoders.pop(modality), contents, path, cache / modality)
        else:
            path.unlink(missing_ok=True)
    return report


def _encode_modality(encoder: Encoder, contents: _Images | _Texts, path: Path, cache: Path) -> dict[str, Any]:
    hashes = dict(contents.hashes())
    distinct = sorted(set(hashes.values()))
    with FeatureCache(cache, encoder.fingerprint, encoder.width, encoder.description) as store:
        vectors = store.get(distinct)
        wanted = set(distinct) - vectors.keys()
        from_cache = len(vectors)
        if wanted:
            for done in _encode(encoder, contents.read(wanted), len(wanted)):
                store.put(done)
                vectors.update(done)
    _write(path, encoder, hashes, vectors)
    counts = {
        "encoder": encoder.name, "fingerprint": encoder.fingerprint[:12], "width": encoder.width, "keys": len(hashes),
        "duplicates": len(hashes) - len(distinct), "encoded": len(wanted), "from_cache": from_cache,
    }  # fmt: skip
    log.info("encoded features", modality=encoder.modality, **counts)
    return counts


def _write(path: Path, encoder: Encoder, hashes: dict[str, str], vectors: dict[str, NDArray[np.float16]]) -> None:
    keys = sorted(hashes)
    flat = np.concatenate([vectors[hashes[key]] for key in keys]) if keys else np.empty(0, np.float16)
    label = f"{encoder.name}@{encoder.fingerprint[:12]}"
    schema = schemas.features(encoder.width)
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat, type=pa.float16()), encoder.width)
    table = pa.table([keys, [hashes[key] for key in keys], [label] * len(keys), values], schema=schema)
    write_parquet(
        table, path, row_group_size=16_384, use_dictionary=["encoder"],
        column_encoding={"vector.list.element": "BYTE_STREAM_SPLIT"}, write_statistics=["key"],
    )  # fmt: skip


class _Images:
    """Pictures of the media shards, read one row group at a time."""

    def __init__(self, folder: Path) -> None:
        self.shards = sorted(folder.glob("images-*.parquet"))
        if not self.shards:
            raise DataError("holds no images-*.parquet; run the media stage first", path=folder)

    def hashes(self) -> Iterator[tuple[str, str]]:
        for shard in self.shards:
            table = read_parquet(shard, columns=["key", "sha256"])
            yield from zip(table["key"].to_pylist(), table["sha256"].to_pylist(), strict=True)

    def read(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        """(hash, bytes) of each of ``wanted``, once."""
        left = set(wanted)
        for shard in self.shards:
            file = pq.ParquetFile(shard)
            for group in range(file.num_row_groups):
                hashes = file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
                if left.isdisjoint(hashes):
                    continue
                data = file.read_row_group(group, columns=["bytes"])["bytes"]
                for index, sha256 in enumerate(hashes):
                    if sha256 in left:
                        left.discard(sha256)
                        yield sha256, data[index].as_py()


class _Texts:
    """Texts of the media table."""

    def __init__(self, path: Path) -> None:
        table = read_parquet(path, schemas.TEXTS)
        self.texts = dict(zip(table["key"].to_pylist(), table["text"].to_pylist(), strict=True))

    def hashes(self) -> Iterator[tuple[str, str]]:
        for key, text in self.texts.items():
            yield key, hashlib.sha256(text.encode()).hexdigest()

    def read(self, wanted: set[str]) -> Iterator[tuple[str, str]]:
        by_hash = {sha256: self.texts[key] for key, sha256 in self.hashes()}
        for sha256 in sorted(wanted):
            yield sha256, by_hash[sha256]


_Batch = tuple[int, list[tuple[str, Any]]]


def _encode(
    encoder: Encoder, contents: Iterator[tuple[str, Any]], total: int
) -> Iterator[list[tuple[str, NDArray[np.float16]]]]:
    """Encode in worker threads; yields (hash, vector) rows in chunks fit for one cache transaction.

    On a CPU each worker runs whole batches with one thread of its own: sums split over several threads would depend on
    their number. On a GPU the workers decode and the calling thread runs the model.
    """
    on_cpu = encoder.device.type == "cpu"
    workers = torch.get_num_threads() if on_cpu else os.cpu_count() or 1
    rows: list[tuple[str, NDArray[np.float16]]] = []

    def work(batch: _Batch) -> Any:
        length, pairs = batch
        try:
            inputs = encoder.collate([content for _, content in pairs], length)
        except ValueError as error:
            raise DataError(f"content {pairs[0][0]} or a neighbour cannot be preprocessed ({error})") from error
        return encoder.encode(inputs) if on_cpu else inputs

    def finish(batch: _Batch, future: Future[Any]) -> None:
        result = future.result()
        vectors = (result if on_cpu else encoder.encode(result)).vectors.numpy()[: len(batch[1])]
        with np.errstate(over="ignore"):  # told below, with the content's name
            halves = vectors.astype(np.float16)
        if not np.isfinite(halves).all():
            row = int(np.flatnonzero(~np.isfinite(halves).all(1))[0])
            raise DataError(
                f"{encoder.name} gave a vector that is not finite in float16 for content {batch[1][row][0]}"
            )
        rows.extend((sha256, vector) for (sha256, _), vector in zip(batch[1], halves, strict=True))

    with (
        _steady_numerics(on_cpu),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        item_progress(f"encoding {encoder.modality}s", total, f"{encoder.modality}s") as bar,
    ):
        ahead: deque[tuple[_Batch, Future[Any]]] = deque()
        try:
            for batch in _batches(encoder, contents):
                ahead.append((batch, pool.submit(work, batch)))
                if len(ahead) > 2 * workers:
                    finish(*ahead[0])
                    bar.advance(len(ahead.popleft()[0][1]))
                if len(rows) >= 256:
                    yield rows
                    rows = []
            while ahead:
                finish(*ahead[0])
                bar.advance(len(ahead.popleft()[0][1]))
        finally:
            for _, future in ahead:
                future.cancel()
    yield rows


def _batches(encoder: Encoder, contents: Iterator[tuple[str, Any]]) -> Iterator[_Batch]:
    waiting: dict[int, list[tuple[str, Any]]] = defaultdict(list)
    for pair in contents:
        length = encoder.padded_length(pair[1])
        waiting[length].append(pair)
        if len(waiting[length]) == encoder.batch_size:
            yield length, waiting.pop(length)
    for length in sorted(waiting):
        yield length, waiting[length]


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
