"""Encoding gives each distinct content of the media tables one vector, and each key the vector of its content.

Vectors depend on encoder and content alone (see :mod:`kgrec.features.encoders.base`); what the cache knows is not
encoded again, and contents shared by several keys are encoded once. First what the cache lacks is encoded into it, then
the tables are written from it, so that memory is bounded by a batch and a row group.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import EMPTY, atomic_folder
from kgrec.errors import ConfigError, DataError
from kgrec.features.cache import CacheDamaged, FeatureCache, cache_path
from kgrec.features.contents import Contents, open_contents
from kgrec.features.drift import DriftSettings, measure_drift
from kgrec.features.encoders import Precision
from kgrec.features.imports import ImportSettings, import_features
from kgrec.features.local_engine import BadContent, Batch, EncoderCard, EncoderSpec, LocalEngine
from kgrec.features.tables import GROUP_BYTES, GROUP_ROWS, TokenWriter, VectorWriter
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: modalities of the media tables
MODALITIES = ("image", "text", "audio", "video")

#: rows, or seconds, after which what was encoded goes into the cache
_PUT_ROWS, _PUT_SECONDS = 256, 2.0


class FeaturesSettings(Settings):
    """Which encoders are used, and how fast."""

    image: str | None = "efficientnet-lite0"
    """Image encoder, ``<library>:<model>``; null leaves the modality out."""
    text: str | None = "all-MiniLM-L6-v2"
    """Text encoder, ``<library>:<model>``; null leaves the modality out."""
    audio: str | None = None
    """Encoder of audio clips, ``mel-cnn`` or ``<library>:<model>``; null leaves the modality out."""
    video: str | None = None
    """Encoder of videos, ``video-cnn`` or ``frames:<image encoder>``; null leaves the modality out."""
    imports: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], ImportSettings] = Field(default_factory=dict)
    """Vectors from files, by the modality they become."""
    tokens: tuple[str, ...] = ()
    """Modalities of which the states of tokens, or patches, are written too."""
    precision: Precision = "float32"
    """``bfloat16`` is faster on a GPU, and on a CPU that has instructions for it; ``auto`` takes it where vectors stay
    the same to a cosine of 0.9999."""
    engine: Literal["local", "ray"] = "local"
    """``local`` encodes on this machine; ``ray`` on the cluster of ``RAY_ADDRESS``, with the same output."""
    batch_size: int | None = Field(default=None, gt=0)
    """Contents per batch; null is 8 pictures or 16 texts on a CPU, 128 on a GPU. Part of what a cached vector is known
    by, because sums are rounded by the shape they run in."""
    device: str = "auto"
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:<n>``."""
    drift: DriftSettings = DriftSettings()
    """How a refresh is compared with the baseline."""
    baseline: Path | None = None
    """What ``kgrec features pin`` wrote, to compare vectors with; null: nothing is compared."""

    def encoders(self) -> dict[str, str]:
        """Encoder of each modality that has one."""
        return {modality: name for modality in MODALITIES if (name := getattr(self, modality))}


class Engine(Protocol):
    """Where contents are encoded. :class:`~kgrec.features.local_engine.LocalEngine` says what is owed."""

    card: EncoderCard
    tokens: bool

    def encode(self, contents: Contents, positions: NDArray[np.int64]) -> Iterator[Batch]: ...


def encode_features(
    media: Path, out: Path, settings: FeaturesSettings, cache: Path, device: str = "auto",
    *, imports: Path | None = None, baseline: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write ``vectors/<modality>.parquet`` (:func:`~kgrec.data.schemas.features`, sorted by key), for modalities in
    ``settings.tokens`` ``tokens/<modality>.parquet`` (:func:`~kgrec.data.schemas.feature_tokens`), and what
    :func:`~kgrec.features.drift.measure_drift` finds.

    A key without a usable medium has no row, a modality that is left out no file. The folders ``vectors`` and ``tokens``
    are replaced whole, at the end; a run that is killed leaves them as they were and finds what it encoded in the cache.

    :param media: folder written by :func:`kgrec.media.collect.collect_media`
    :param cache: folder of the feature cache, outside ``out``; deleting it changes no output
    :param device: overrides ``settings.device`` unless ``auto``
    :param imports: folder of the files that ``settings.imports`` names
    :param baseline: what :func:`~kgrec.features.drift.pin_baseline` wrote
    :return: per modality the encoder, its fingerprint, the width, and counts: ``keys``, ``duplicates`` (keys that share
        the content of another), ``encoded``, ``from_cache`` (distinct contents), and of texts ``texts_cut`` (keys whose
        text is too long for the encoder) and ``tokens_cut`` (what was left out of them); of imported modalities what
        :func:`~kgrec.features.imports.import_features` says
    :raises EncoderUnavailable: if an encoder cannot be had; nothing is written then
    :raises ConfigError: if ``settings.tokens`` names a modality without an encoder, or a modality is both encoded and imported
    :raises DataError: if the media tables are missing or damaged, a content cannot be preprocessed, or a vector is zero or
        not finite
    """
    names = settings.encoders()
    if missing := set(settings.tokens) - names.keys():
        raise ConfigError(f"features.tokens names {', '.join(sorted(missing))}, which features gives no encoder")
    if twice := settings.imports.keys() & names.keys():
        raise ConfigError(f"features.imports names {', '.join(sorted(twice))}, which has an encoder; set that to null")
    if settings.imports and imports is None:
        raise ConfigError("features.imports names files, but no folder of imported features is given")
    device = settings.device if device == "auto" else device
    engines = {modality: _open_engine(name, modality, device, settings) for modality, name in names.items()}
    report: dict[str, Any] = {}
    with ExitStack() as stack:
        vectors = stack.enter_context(atomic_folder(out / "vectors"))
        tokens = stack.enter_context(atomic_folder(out / "tokens"))
        if not settings.tokens:
            (tokens / EMPTY).touch()
        for modality in names:
            contents = open_contents(media, modality)
            report[modality] = _encode_modality(engines.pop(modality), contents, vectors, tokens, cache)
        for modality, file in settings.imports.items():
            report[modality] = import_features(file, Path(imports or ""), modality, vectors)
    measure_drift(out / "vectors", baseline, out, settings.drift)
    return report


def _open_engine(name: str, modality: str, device: str, settings: FeaturesSettings) -> Engine:
    spec = EncoderSpec(name, modality, device, settings.batch_size, settings.precision)
    with_tokens = modality in settings.tokens
    if settings.engine == "ray":
        from kgrec.features.ray_engine import RayEngine

        engine: Engine = RayEngine(spec, with_tokens)
    else:
        engine = LocalEngine(spec, with_tokens)
    if with_tokens and engine.card.token_width is None:
        raise ConfigError(f"encoder {name!r} has no token outputs; leave {modality} out of features.tokens")
    return engine


def _encode_modality(engine: Engine, contents: Contents, vectors: Path, tokens: Path, cache: Path) -> dict[str, Any]:
    card = engine.card
    digests = contents.digests()
    order = np.argsort(digests, kind="stable")
    new = np.ones(len(order), bool)
    np.not_equal(digests[order[1:]], digests[order[:-1]], out=new[1:])
    distinct = np.sort(order[new])
    path = cache_path(cache, card.modality, card.fingerprint, engine.tokens)
    with FeatureCache(path, card.width, card.description, card.token_width if engine.tokens else None) as store:
        try:
            encoded, cut = _fill_and_write(engine, contents, digests, distinct, store, vectors, tokens)
        except CacheDamaged as error:
            store.clear(str(error))
            encoded, cut = _fill_and_write(engine, contents, digests, distinct, store, vectors, tokens)
    counts = {
        "encoder": card.name, "fingerprint": card.fingerprint[:12], "width": card.width, "keys": len(digests),
        "duplicates": len(digests) - len(distinct), "encoded": encoded, "from_cache": len(distinct) - encoded,
    }  # fmt: skip
    if card.modality == "text":
        counts |= {"texts_cut": int((cut > 0).sum()), "tokens_cut": int(cut.sum())}
    log.info("encoded features", modality=card.modality, **counts)
    return counts


def _fill_and_write(
    engine: Engine, contents: Contents, digests: NDArray[Any], distinct: NDArray[np.int64], store: FeatureCache,
    vectors: Path, tokens: Path,
) -> tuple[int, NDArray[np.int32]]:  # fmt: skip
    """Number of contents encoded; tokens left out of each key's text, shape: (n,)"""
    wanted = distinct[store.find(digests[distinct]) < 0]
    if len(wanted):
        _fill(engine, contents, digests, wanted, store)
        store.refresh()
    return len(wanted), _write(engine, contents, digests, store, vectors, tokens)


def _fill(
    engine: Engine, contents: Contents, digests: NDArray[Any], wanted: NDArray[np.int64], store: FeatureCache
) -> None:
    """Encode the contents at ``wanted`` into the cache; what is encoded when an error comes is kept."""
    modality = engine.card.modality
    waiting: list[Batch] = []
    last_put = time.monotonic()

    def put() -> None:
        nonlocal last_put
        if waiting:
            tokens = [states for batch in waiting for states in batch.tokens or ()] if engine.tokens else None
            store.put(
                digests[np.concatenate([batch.positions for batch in waiting])],
                np.concatenate([batch.vectors for batch in waiting]), np.concatenate([batch.cut for batch in waiting]),
                tokens,
            )  # fmt: skip
        waiting.clear()
        last_put = time.monotonic()

    unit = "clips" if modality == "audio" else f"{modality}s"
    with (
        item_progress(f"encoding {unit}", len(wanted), unit) as bar,
        closing(_encoding(engine, contents, wanted, digests)) as batches,
    ):
        try:
            for batch in batches:
                waiting.append(batch)
                rows = sum(len(one.positions) for one in waiting)
                if rows >= _PUT_ROWS or time.monotonic() > last_put + _PUT_SECONDS:
                    put()
                bar.advance(len(batch.positions))
        finally:
            put()


def _encoding(
    engine: Engine, contents: Contents, wanted: NDArray[np.int64], digests: NDArray[Any]
) -> Generator[Batch, None, None]:
    try:
        yield from engine.encode(contents, wanted)
    except BadContent as error:
        digest = digests[error.position : error.position + 1].tobytes().hex()
        raise DataError(
            f"{engine.card.name}: {contents.modality} content {digest} of {contents.key(error.position)} {error.reason}"
        ) from error


def _write(
    engine: Engine, contents: Contents, digests: NDArray[Any], store: FeatureCache, vectors: Path, tokens: Path
) -> NDArray[np.int32]:
    """Write the tables from the cache; gives the tokens left out of each key's text, shape: (n,)"""
    card = engine.card
    label, name = f"{card.name}@{card.fingerprint[:12]}", f"{card.modality}.parquet"
    cut = np.zeros(len(digests), np.int32)
    with ExitStack() as stack:
        table = stack.enter_context(VectorWriter(vectors / name, card.width, label))
        token_table = None
        if engine.tokens and card.token_width is not None:
            token_table = stack.enter_context(TokenWriter(tokens / name, card.token_width, label))
        start = 0
        for keys in contents.keys(GROUP_ROWS):
            rows = slice(start, start + len(keys))
            entries = store.find(digests[rows])
            if (entries < 0).any():
                raise CacheDamaged("what was put is not there")
            values = np.empty((len(keys), card.width), np.float16)
            for part in _parts(store.tokens(entries), card.token_width or 0):
                values[part], states = store.read(entries[part])
                if token_table is not None:
                    token_table.write(keys[part], digests[rows][part], store.tokens(entries[part]), states)
            table.write(keys, digests[rows], values)
            cut[rows] = store.cut(entries)
            start += len(keys)
    return cut


def _parts(counts: NDArray[np.int32], width: int) -> Iterator[slice]:
    """Rows of about ``GROUP_BYTES`` of token states each, one row at least."""
    ends = np.cumsum(2 * width * counts.astype(np.int64)) // GROUP_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(counts)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield slice(start, stop)
